//! Gets interrupts going: old controllers masked, the local APIC enabled.

use crate::cpu::{interrupts, local_apic};
use crate::device::pic;
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::live::{MmioError, MmioWindow};
use crate::memory::page_table::attributes::{DataAccess, DeviceCache, MmioAttributes};

/// Enables interrupts, or says why there are none; the kernel runs on without.
pub(super) fn start(has_pic: bool) {
    if has_pic {
        pic::mask();
    }
    match local_apic::enable(map_registers) {
        Ok(()) => interrupts::enable(),
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
