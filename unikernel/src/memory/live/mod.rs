//! The address space that the kernel lives in, as opposed to [simulated](super::simulation) ones: what CR3 points at.
//!
//! | file | about |
//! |---|---|
//! | `bring_up` | from the VMM's memory map to the loaded root, in order |
//! | `frame_arrays` | where the frame allocator's own memory lies |
//! | `kernel_map` | what is mapped where: image, stacks, all of RAM. Runs over simulated machines in tests, too |
//! | `ram_window` | all of RAM at a fixed distance, and firmware tables beside it |
//! | [`mmio_window`](MmioWindow) | device registers, mapped as long as somebody needs them |
//! | `heap` | the region that the heap is made of, and the heap |
//! | [`regions`] | what the parts are called |
//! | `tlb` | the shootdown of one CPU |
//!
//! [`Live`] is the machine that all of the memory core runs on here. It has no size, and none exists before the address
//! space does. What it reaches tables by, the RAM window, is there from the first moment on: `bring_up` borrows the entry
//! by which the boot tables map the first GiB one to one.

mod bring_up;
mod frame_arrays;
pub(crate) mod heap;
mod kernel_map;
mod mmio_window;
mod ram_window;
pub mod regions;
mod tlb;

pub use bring_up::BringUpError;
pub(crate) use bring_up::{MAPPED_AT_START, PagingPolicy, bring_up};
pub(crate) use kernel_map::Stack;
pub use mmio_window::{MmioError, MmioWindow};
pub use ram_window::{RAM_WINDOW, in_ram_window};
pub(crate) use ram_window::{SharedPages, show_firmware};
pub use tlb::LocalFlush;

use super::address::{PhysAddr, VirtAddr};
use super::address_space::AddressSpace;
use super::audit::{AuditReport, Violation, audit};
use super::frame::{FrameAllocator, FrameSource};
use super::page_table::level::ENTRIES;
use super::page_table::{Machine, Paging, TableMemory};
use core::sync::atomic::AtomicU64;
use spin::Once;

/// Bits 51 to 12 of CR3: where the root is.
const ROOT_MASK: u64 = 0x000f_ffff_ffff_f000;

static FRAMES: Once<FrameAllocator<'static>> = Once::new();
static SPACE: Once<AddressSpace> = Once::new();
static HOST: Once<PagingPolicy> = Once::new();
/// Set when the root is loaded.
static LIVE: Once<Live> = Once::new();

/// The handle of this machine, by the one CPU that runs.
#[derive(Clone, Copy, Debug)]
pub struct Live(());

/// The handle; `None` until the kernel lives in its address space.
#[must_use]
pub fn machine() -> Option<Live> {
    LIVE.get().copied()
}

/// Where in physical memory a mapped address leads.
#[must_use]
pub fn physical_address(address: VirtAddr) -> Option<PhysAddr> {
    let mapping = super::audit::look_up(&machine()?, address)?.leaf?;
    Some(PhysAddr::new(mapping.phys.as_u64() + (address.as_u64() - mapping.range.start.as_u64())))
}

/// Audits the live tables from CR3, all frames, and the heap's credit. No operation on memory may be under way.
#[must_use]
pub fn audit_now() -> Option<AuditReport> {
    let mut report = audit(machine()?);
    if let Some(pager) = heap::pager() {
        let (credit, expected) = (pager.credit_frames(), pager.expected_credit_frames());
        if credit != expected {
            report.violation(Violation::HeapCredit { credit, expected });
        }
    }
    Some(report)
}

// SAFETY: 1, there is one allocator. 2, one CPU runs, with index 0; its handlers end before what they interrupt goes on.
unsafe impl FrameSource for Live {
    #[inline]
    fn frames(&self) -> &FrameAllocator<'_> {
        // SAFETY: `bring_up` sets it before it makes the first handle.
        unsafe { FRAMES.get_unchecked() }
    }

    #[inline]
    fn cpu(&self) -> usize {
        0
    }
}

// SAFETY: 1, the window shows RAM at a fixed distance, by the boot tables for the frames that they reach, and those are all
// that are handed out before the window's own tables are loaded. 2, RAM is mapped write-back.
unsafe impl TableMemory for Live {
    type Cell = AtomicU64;

    #[inline]
    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; ENTRIES] {
        // SAFETY: by the caller's promise it is RAM, which the window shows, and a table, whose cells are atomics.
        unsafe { &*in_ram_window(frame).cast() }
    }

    #[inline]
    fn paging(&self) -> Paging {
        // SAFETY: as for the frames.
        unsafe { HOST.get_unchecked() }.paging
    }
}

// SAFETY: the address space is made once, by `bring_up`, on this memory.
unsafe impl Machine for Live {
    #[inline]
    fn space(&self) -> &AddressSpace {
        // SAFETY: `bring_up` sets it before it uses the handle as a machine.
        unsafe { SPACE.get_unchecked() }
    }

    fn loaded_root(&self) -> Option<PhysAddr> {
        // SAFETY: reading CR3 changes nothing. At level 3 the host hands it over on a trap.
        let cr3 = unsafe { x86::controlregs::cr3() };
        Some(PhysAddr::new(cr3 & ROOT_MASK))
    }
}
