//! Page faults that are no mistakes: the first access to a page of the heap.

use super::exceptions::ExceptionFrame;
use super::host::Host;
use super::interrupts;
use crate::memory::address::VirtAddr;
use crate::memory::live;
use x86::irq::PageFaultError;

/// Maps the page that an access has missed, if it is one that the heap has handed out.
///
/// On PVM an interrupt may come between the fault and the reading of CR2, whose handler may fault itself. Then CR2 names a
/// page that is mapped already; the access is tried again, faults again, and this time CR2 is its own.
pub(super) fn handle(frame: &ExceptionFrame) -> bool {
    let error = PageFaultError::from_bits_truncate(frame.error_code as u32);
    // A page that is there was used in a way that it does not allow, and nothing is executed on the heap.
    if error.intersects(PageFaultError::P | PageFaultError::RSVD | PageFaultError::ID) {
        return false;
    }
    // SAFETY: reading CR2 changes nothing. At level 3 the host hands it over on a trap.
    let address = VirtAddr::new(unsafe { x86::controlregs::cr2() } as u64);
    // An interrupt gate has masked interrupts, on hosts that have such.
    if Host::of_machine().handlers_start_unmasked() {
        return interrupts::shortly_without(|| live::heap::page_in(address)).is_ok();
    }
    live::heap::page_in(address).is_ok()
}
