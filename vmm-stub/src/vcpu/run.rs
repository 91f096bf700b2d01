//! The loop that runs a vCPU until its machine ends.

use crate::devices::bus::PortBus;
use crate::error::Error;
use crate::statistics::ExitCounts;
use crate::vcpu::halt::HaltWatch;
use guest_interface::status::{ExitStatus, VmmStatus};
use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::errno::Errno;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// How a vCPU ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The guest gave a status, or made clear that it never will.
    Status(ExitStatus),
    /// KVM can't run the guest; with the reason.
    Unrunnable(String),
    /// It was told to stop.
    Stopped,
}

/// No guest can give this status.
const TRIPLE_FAULT: ExitStatus = ExitStatus::Vmm(VmmStatus::TripleFault);

impl End {
    /// Whether a triple fault was the end.
    pub(crate) fn is_triple_fault(&self) -> bool {
        matches!(self, Self::Status(status) if *status == TRIPLE_FAULT)
    }
}

/// Runs a vCPU until the guest ends its machine, or `stop` is set and a signal interrupts.
///
/// # Errors
/// [`Error::Run`] for an error of KVM that is not the guest's doing.
pub(crate) fn run_until_end<W: Write>(
    vcpu: &mut VcpuFd,
    bus: &mut PortBus<W>,
    stop: &AtomicBool,
    counts: &mut ExitCounts,
) -> Result<End, Error> {
    const HALTED: End = End::Status(ExitStatus::Vmm(VmmStatus::Halted));
    let mut halt_watch = HaltWatch::default();
    loop {
        // Relaxed suffices: the flag guards no data, and signals are sent until it is seen.
        if stop.load(Ordering::Relaxed) {
            return Ok(End::Stopped);
        }
        match vcpu.run() {
            Ok(VcpuExit::IoOut(port, data)) => {
                let written = bus.write(port, data);
                counts.port(written.device);
                if let Some(status) = written.ended {
                    return Ok(End::Status(status));
                }
            }
            Ok(VcpuExit::IoIn(port, data)) => counts.port(bus.read(port, data)),
            Ok(VcpuExit::MmioRead(_, data)) => {
                data.fill(crate::devices::bus::NOBODY);
                counts.mmio += 1;
            }
            Ok(VcpuExit::MmioWrite(..)) => counts.mmio += 1,
            Ok(VcpuExit::Shutdown) => {
                counts.other += 1;
                return Ok(End::Status(TRIPLE_FAULT));
            }
            Ok(VcpuExit::Intr | VcpuExit::IrqWindowOpen) => counts.interrupted += 1,
            Err(error) if matches!(Errno::from_raw(error.errno()), Errno::EINTR | Errno::EAGAIN) => {
                counts.interrupted += 1;
                if halt_watch.has_halted_for_ever(vcpu) {
                    return Ok(HALTED);
                }
            }
            // KVM could not reach memory on the guest's behalf.
            Err(error) if Errno::from_raw(error.errno()) == Errno::EFAULT => {
                return Ok(End::Unrunnable("KVM can't reach memory that it uses".to_owned()));
            }
            Err(error) => return Err(Error::Run(error.into())),
            Ok(exit) => {
                counts.other += 1;
                return Ok(End::Unrunnable(unrunnable(&exit)));
            }
        }
    }
}

/// What an exit says for which there is no device: with the machine's set-up, only guest code that KVM can't run leads
/// there.
fn unrunnable(exit: &VcpuExit<'_>) -> String {
    match exit {
        VcpuExit::FailEntry(reason, _) => format!("the processor refused to enter it (reason {reason:#x})"),
        VcpuExit::InternalError => "it has an instruction that KVM can't emulate".to_owned(),
        VcpuExit::MemoryFault { gpa, .. } => format!("its memory at {gpa:#x} can't be reached"),
        VcpuExit::Unsupported(reason) => format!("it made KVM exit for reason {reason}, unknown here"),
        other => format!("it made KVM exit for {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kvm_can_not_run_is_explained() {
        assert!(unrunnable(&VcpuExit::FailEntry(0x8000_0021, 0)).contains("0x80000021"));
        assert!(unrunnable(&VcpuExit::InternalError).contains("emulate"));
        assert!(unrunnable(&VcpuExit::Unsupported(99)).contains("99"));
        assert!(unrunnable(&VcpuExit::Nmi).contains("Nmi"));
    }
}
