//! Which device a port access goes to.

use crate::devices::console::Console;
use crate::devices::doorbell::Doorbell;
use crate::devices::fw_cfg::{self, FwCfg};
use crate::devices::result::ResultDoorbell;
use crate::devices::serial::Serial;
use crate::devices::sleep;
use crate::memory::GuestMemory;
use crate::result::Published;
use guest_interface::ports;
use guest_interface::status::{ExitStatus, VmmStatus};
use std::io::Write;

/// What a read finds where nothing answers.
pub(crate) const NOBODY: u8 = 0xff;

const SERIAL_LAST: u16 = ports::SERIAL + ports::SERIAL_LEN - 1;

/// Whose port was accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Serial,
    Doorbell,
    Result,
    Exit,
    Sleep,
    FwCfg,
    Nobody,
}

impl Device {
    const fn at(port: u16) -> Self {
        match port {
            ports::SERIAL..=SERIAL_LAST => Self::Serial,
            ports::DOORBELL => Self::Doorbell,
            ports::RESULT => Self::Result,
            ports::EXIT => Self::Exit,
            ports::SLEEP_CONTROL => Self::Sleep,
            fw_cfg::FIRST..=fw_cfg::LAST => Self::FwCfg,
            _ => Self::Nobody,
        }
    }
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whose port it was.
    pub(crate) device: Device,
    /// The status that ends the machine, if the write was to the exit port or powered it off.
    pub(crate) ended: Option<ExitStatus>,
}

/// All devices of a machine.
pub(crate) struct PortBus<W: Write> {
    serial: Serial<W>,
    doorbell: Doorbell,
    /// There if somebody asked for a result; its port ignores what is written otherwise.
    result: Option<ResultDoorbell>,
    /// There for firmware; nothing answers at its ports otherwise.
    fw_cfg: Option<FwCfg>,
}

impl<W: Write> PortBus<W> {
    pub(crate) fn new(
        memory: GuestMemory,
        console: Console<W>,
        wants_result: bool,
        fw_cfg: Option<FwCfg>,
    ) -> Self {
        let result = wants_result.then(|| ResultDoorbell::new(memory.clone()));
        Self { serial: Serial::new(console), doorbell: Doorbell::new(memory), result, fw_cfg }
    }

    /// The guest wrote `data`, little-endian, to a port.
    pub(crate) fn write(&mut self, port: u16, data: &[u8]) -> Written {
        let device = Device::at(port);
        let mut ended = None;
        match device {
            Device::Serial => self.serial.write(port - ports::SERIAL, data),
            Device::Doorbell => self.doorbell.ring(data, self.serial.console()),
            Device::Result => {
                if let Some(result) = &mut self.result {
                    result.ring(data);
                }
            }
            Device::Exit => ended = Some(ExitStatus::from_guest(number(data))),
            Device::Sleep => ended = sleep::powers_off(data).then_some(ExitStatus::Vmm(VmmStatus::Halted)),
            Device::FwCfg => {
                if let Some(fw_cfg) = &mut self.fw_cfg {
                    fw_cfg.write(port, data);
                }
            }
            Device::Nobody => {}
        }
        Written { device, ended }
    }

    /// The guest reads `data` from a port.
    pub(crate) fn read(&mut self, port: u16, data: &mut [u8]) -> Device {
        let device = Device::at(port);
        match device {
            Device::Serial => self.serial.read(port - ports::SERIAL, data),
            Device::Sleep => data.fill(sleep::IDLE),
            Device::FwCfg => match &mut self.fw_cfg {
                Some(fw_cfg) => fw_cfg.read(port, data),
                None => data.fill(NOBODY),
            },
            Device::Doorbell | Device::Result | Device::Exit | Device::Nobody => data.fill(NOBODY),
        }
        device
    }

    /// The machine has ended: what it has printed is complete.
    pub(crate) fn finish(&mut self) {
        self.serial.console().flush();
    }

    /// What the guest has published; nothing if nobody asked for it.
    pub(crate) fn take_published(&mut self) -> Published {
        self.result.as_mut().map(ResultDoorbell::take).unwrap_or_default()
    }

    /// Bytes that could not be printed.
    pub(crate) fn lost_bytes(&mut self) -> u64 {
        self.serial.console().lost_bytes()
    }

    /// Whether the last that was printed is no whole line.
    pub(crate) fn is_in_line(&mut self) -> bool {
        self.serial.console().is_in_line()
    }

    /// Doorbell writes that named no line.
    pub(crate) const fn dropped_records(&self) -> u64 {
        self.doorbell.dropped_records()
    }
}

/// A port's 1, 2 or 4 bytes as a number; what KVM may give beyond 4 does not fit any status, and saturates.
fn number(data: &[u8]) -> u32 {
    let mut bytes = [0; 4];
    match bytes.get_mut(..data.len()) {
        Some(low) => {
            low.copy_from_slice(data);
            u32::from_le_bytes(bytes)
        }
        None => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::fw_cfg::items::Items;
    use guest_interface::record::Record;
    use guest_interface::status::KernelStatus;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use vm_memory::{Bytes, GuestAddress};

    fn bus() -> PortBus<Vec<u8>> {
        bus_that(true)
    }

    fn bus_that(wants_result: bool) -> PortBus<Vec<u8>> {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
        memory.write_slice(b"by bell\n", GuestAddress(0x2000)).unwrap();
        let record = Record { address: 0x2000, len_bytes: 8 };
        memory.write_slice(&record.encode(), GuestAddress(0x1000)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let fw_cfg = FwCfg::new(Items::new(), memory.clone(), stop.clone());
        PortBus::new(memory, Console::new(Vec::new(), stop), wants_result, Some(fw_cfg))
    }

    fn printed(bus: &mut PortBus<Vec<u8>>) -> Vec<u8> {
        bus.finish();
        bus.serial.console().output().clone()
    }

    #[test]
    fn unknown_ports_read_as_ones_and_ignore_writes() {
        let mut bus = bus();
        for port in [
            0,
            0x61,
            ports::DEBUGCON,
            ports::SERIAL - 1,
            SERIAL_LAST + 1,
            ports::EXIT,
            ports::DOORBELL,
            ports::RESULT,
            0xffff,
        ] {
            for len in [1, 2, 4] {
                let mut data = [0; 4];
                bus.read(port, &mut data[..len]);
                assert!(data[..len].iter().all(|&byte| byte == NOBODY), "port {port:#x}");
            }
        }
        for port in [0, 0x61, ports::DEBUGCON, SERIAL_LAST + 1, ports::DOORBELL + 1, 0xffff] {
            let nobody = Written { device: Device::Nobody, ended: None };
            assert_eq!(bus.write(port, &[0; 4]), nobody, "port {port:#x}");
        }
        assert!(printed(&mut bus).is_empty());
    }

    #[test]
    fn every_port_takes_every_width() {
        let mut bus = bus();
        for port in 0..=u16::MAX {
            for len in [0, 1, 2, 4, 8, 1024] {
                bus.write(port, &vec![0xa5; len]);
                bus.read(port, &mut vec![0; len]);
            }
        }
    }

    #[test]
    fn both_consoles_print_in_the_order_of_the_guest() {
        let mut bus = bus();
        for byte in b"by port, " {
            bus.write(ports::SERIAL, &[*byte]);
        }
        assert_eq!(bus.write(ports::DOORBELL, &0x1000_u32.to_le_bytes()).device, Device::Doorbell);
        bus.write(ports::SERIAL, b"!");
        assert_eq!(printed(&mut bus), b"by port, by bell\n!");
    }

    #[test]
    fn a_document_is_kept_only_if_somebody_asked_for_it() {
        for (wants_result, expected) in [(true, Some(b"by bell\n".to_vec())), (false, None)] {
            let mut bus = bus_that(wants_result);
            assert_eq!(bus.write(ports::RESULT, &0x1000_u32.to_le_bytes()).device, Device::Result);
            assert_eq!(bus.take_published(), Published { document: expected, dropped: 0 });
            bus.write(ports::RESULT, &u32::MAX.to_le_bytes());
            assert_eq!(bus.take_published().dropped, u64::from(wants_result));
            assert!(printed(&mut bus).is_empty());
        }
    }

    #[test]
    fn firmware_is_given_items_and_nobody_else() {
        let mut bus = bus();
        for (fw_cfg, expected) in [(true, *b"QEMU CFG"), (false, [NOBODY; 8])] {
            if !fw_cfg {
                bus.fw_cfg = None;
            }
            let mut data = [0; 8];
            let (high, low) = data.split_at_mut(4);
            assert_eq!(bus.read(0x514, high), Device::FwCfg);
            assert_eq!(bus.read(0x518, low), Device::FwCfg);
            assert_eq!(data, expected);
            assert_eq!(bus.write(0x510, &[0, 0]), Written { device: Device::FwCfg, ended: None });
            bus.read(0x511, &mut data[..4]);
            assert_eq!(data[..4], expected[..4]);
        }
        assert_eq!(bus.read(0x50f, &mut [0]), Device::Nobody);
        assert_eq!(bus.read(0x51c, &mut [0]), Device::Nobody);
    }

    #[test]
    fn a_write_to_the_exit_port_ends_the_machine_with_its_status() {
        let mut bus = bus();
        let mut ended = |data: &[u8]| bus.write(ports::EXIT, data).ended.map(ExitStatus::code);
        assert_eq!(ended(&7_u32.to_le_bytes()), Some(7));
        assert_eq!(ended(&[KernelStatus::Panic.code()]), Some(KernelStatus::Panic.code()));
        for invalid in [112_u32, 200, 256, u32::MAX] {
            assert_eq!(ended(&invalid.to_le_bytes()), Some(VmmStatus::InvalidGuestStatus.code()));
        }
        assert_eq!(ended(&[0; 5]), Some(VmmStatus::InvalidGuestStatus.code()));
    }

    #[test]
    fn powering_off_ends_the_machine_without_a_status() {
        let mut bus = bus();
        let mut write = |data: &[u8]| bus.write(ports::SLEEP_CONTROL, data);
        let halted = Some(ExitStatus::Vmm(VmmStatus::Halted));
        assert_eq!(write(&[0x34]), Written { device: Device::Sleep, ended: halted });
        for ignored in [&[0x14][..], &[0x20], &[0x3c], &[0x80], &[0x34, 0], &[]] {
            assert_eq!(write(ignored), Written { device: Device::Sleep, ended: None }, "{ignored:x?}");
        }
        let mut data = [NOBODY; 4];
        assert_eq!(bus.read(ports::SLEEP_CONTROL, &mut data), Device::Sleep);
        assert_eq!(data, [0; 4]);
        assert_eq!(bus.write(ports::SLEEP_CONTROL + 1, &[0x34]).device, Device::Nobody);
    }
}
