//! Counts of VM exits by kind.

use crate::devices::bus::Device;

/// How often a vCPU came back from the guest, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExitCounts {
    /// Console doorbell.
    pub(crate) doorbell: u64,
    /// Result doorbell, whether or not somebody asked for a result.
    pub(crate) result: u64,
    /// 16550.
    pub(crate) serial: u64,
    /// Exit port.
    pub(crate) exit: u64,
    /// Sleep control port.
    pub(crate) sleep: u64,
    /// Firmware configuration device, whether or not there is one.
    pub(crate) fw_cfg: u64,
    /// Ports that nothing decodes.
    pub(crate) unknown_port: u64,
    /// Addresses outside RAM, and writes to what can only be read.
    pub(crate) mmio: u64,
    /// Signals to the vCPU's thread.
    pub(crate) interrupted: u64,
    /// Halt, shutdown, and what KVM can't run: each ends the machine.
    pub(crate) other: u64,
}

impl ExitCounts {
    /// Counts an access to a port.
    pub(crate) const fn port(&mut self, device: Device) {
        let count = match device {
            Device::Doorbell => &mut self.doorbell,
            Device::Result => &mut self.result,
            Device::Serial => &mut self.serial,
            Device::Exit => &mut self.exit,
            Device::Sleep => &mut self.sleep,
            Device::FwCfg => &mut self.fw_cfg,
            Device::Nobody => &mut self.unknown_port,
        };
        *count += 1;
    }

    /// All kinds, with the names of machine-readable output.
    pub(crate) const fn by_kind(&self) -> [(&'static str, u64); 10] {
        [
            ("doorbell", self.doorbell),
            ("result", self.result),
            ("serial", self.serial),
            ("exit", self.exit),
            ("sleep", self.sleep),
            ("fw_cfg", self.fw_cfg),
            ("unknown_port", self.unknown_port),
            ("mmio", self.mmio),
            ("interrupted", self.interrupted),
            ("other", self.other),
        ]
    }

    /// Number of exits.
    pub(crate) fn total(&self) -> u64 {
        self.by_kind().iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_counted_by_device() {
        let mut counts = ExitCounts { mmio: 4, ..Default::default() };
        let devices = [
            Device::Serial,
            Device::Doorbell,
            Device::Doorbell,
            Device::Result,
            Device::Exit,
            Device::Sleep,
            Device::FwCfg,
            Device::Nobody,
        ];
        devices.into_iter().for_each(|device| counts.port(device));
        assert_eq!((counts.serial, counts.doorbell, counts.result), (1, 2, 1));
        assert_eq!((counts.exit, counts.sleep, counts.fw_cfg, counts.unknown_port), (1, 1, 1, 1));
        assert_eq!(counts.total(), 12);
    }
}
