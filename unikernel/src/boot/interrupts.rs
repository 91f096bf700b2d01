//! Gets interrupts going: old controllers masked, the local APIC enabled.

use crate::cpu::{interrupts, local_apic};
use crate::device::pic;
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::live::{MmioError, MmioWindow};
use crate::memory::page_table::attributes::{DataAccess, DeviceCache, MmioAttributes};

/// Enables interrupts, or says why there are none; the kernel runs on without. `expected` is where ACPI says that the
/// registers of the local APIC are.
pub(super) fn start(has_pic: bool, expected: Option<u64>) {
    if has_pic {
        pic::mask();
    }
    let map = |registers: PhysAddr| {
        // The processor decodes what its MSR says.
        if let Some(other) = expected.filter(|expected| *expected != registers.as_u64()) {
            log::warn!("ACPI has the local APIC at {other:#x}, but IA32_APIC_BASE has it at {registers}");
        }
        map_registers(registers)
    };
    match local_apic::enable(map) {
        Ok(features) => {
            let mode = if features.x2apic { "x2APIC" } else { "xAPIC" };
            let timer = if features.tsc_deadline { "takes TSC deadlines" } else { "counts down" };
            log::debug!("local APIC in {mode} mode, its timer {timer}");
            interrupts::enable();
        }
        Err(error) => log::warn!("{error}; without it there are no timers"),
    }
}

/// Maps the registers of the local APIC, for ever.
fn map_registers(registers: PhysAddr) -> Result<VirtAddr, MmioError> {
    let attributes = MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };
    // SAFETY: the local APIC reads and writes no memory.
    let window = unsafe { MmioWindow::map("local APIC", registers, PAGE_LEN, attributes) }?;
    let start = window.start();
    // Dropping it would unmap them.
    core::mem::forget(window);
    Ok(start)
}
