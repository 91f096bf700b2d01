//! The machine that the tests run on, for tests that change its live address space.

use crate::walk::{Leaf, leaf_of, leaves};
use unikernel::heap;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::address_space::Placed;
use unikernel::memory::audit::AuditReport;
use unikernel::memory::frame::FrameSource;
use unikernel::memory::live::{self, Live, LocalFlush, in_ram_window};
use unikernel::memory::page_table::{Detached, Kva, Machine, Mmio, Rejected, Tracked, VaRange, flush};
use unikernel::memory::subtree::Subtree;

pub(crate) fn machine() -> Live {
    let Some(machine) = live::machine() else { panic!("there is no address space") };
    machine
}

/// What came of an operation that must not be refused.
pub(crate) fn done<T, E>(result: Result<T, Rejected<E>>) -> T {
    result.unwrap_or_else(|rejected| panic!("{}", rejected.error))
}

pub(crate) fn reserve<O: Placed>(len_bytes: u64, align_bytes: u64) -> VaRange<O, Live> {
    let range = Subtree::<O>::reserve(machine(), len_bytes, align_bytes);
    range.unwrap_or_else(|error| panic!("{error}"))
}

/// Flushes this CPU's TLB, and frees what was taken out.
pub(crate) fn released<O: Placed>(detached: Detached<O, Live>) -> VaRange<O, Live> {
    flush(detached, &LocalFlush).release()
}

pub(crate) fn give_back<O: Placed>(range: VaRange<O, Live>) {
    done(Subtree::give_back(range));
}

/// Frees the tables that nothing is mapped by.
pub(crate) fn trim() {
    done(Subtree::<Tracked>::trim(machine(), &LocalFlush));
    done(Subtree::<Mmio>::trim(machine(), &LocalFlush));
    done(Subtree::<Kva>::trim(machine(), &LocalFlush));
}

/// Frames that are free, and promised to nobody: what the heap has handed out may be touched meanwhile.
pub(crate) fn free_frames() -> u64 {
    heap::trim();
    machine().frames().statistics().free - machine().frames().promised()
}

pub(crate) fn audit() -> AuditReport {
    let Some(report) = live::audit_now() else { panic!("there is no address space") };
    report
}

/// A word at a virtual address that the test has mapped.
pub(crate) fn read(address: VirtAddr) -> u64 {
    // SAFETY: the test has mapped it. Volatile, since to the compiler two addresses are two memories.
    unsafe { core::ptr::with_exposed_provenance::<u64>(address.as_u64() as usize).read_volatile() }
}

/// # Safety
/// The test has mapped the address, writable, to memory that is its own.
pub(crate) unsafe fn write(address: VirtAddr, word: u64) {
    let cell = core::ptr::with_exposed_provenance_mut::<u64>(address.as_u64() as usize);
    // SAFETY: the caller's promise.
    unsafe { cell.write_volatile(word) };
}

/// Where the RAM window shows memory.
pub(crate) fn shown(phys: PhysAddr) -> VirtAddr {
    VirtAddr::new(in_ram_window(phys) as u64)
}

/// The address so many bytes further up.
pub(crate) const fn behind(address: VirtAddr, bytes: u64) -> VirtAddr {
    VirtAddr::new(address.as_u64() + bytes)
}

/// A leaf that maps the address, by a walk of the test's own.
pub(crate) fn walked(address: VirtAddr) -> Option<Leaf> {
    leaf_of(&leaves(), address.as_u64()).copied()
}

/// All that a test has to leave as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Balance {
    /// Bytes of blocks.
    pub(crate) allocated_bytes: u64,
    /// Frames that are free, and not promised to what is handed out: touching that changes nothing.
    pub(crate) unpromised_frames: u64,
    /// Free addresses of each kind, in bytes.
    free_addresses: [u64; 3],
    double_frees: u64,
    awaiting_a_flush: usize,
}

impl Balance {
    /// As it is without what is kept for later: tables, blocks and ranges.
    pub(crate) fn now() -> Self {
        heap::trim();
        trim();
        let machine = machine();
        let frames = machine.frames().statistics();
        let space = machine.space();
        Self {
            allocated_bytes: heap::statistics().allocated_bytes,
            unpromised_frames: free_frames(),
            free_addresses: [
                space.subtree::<Tracked>().free_bytes(),
                space.subtree::<Mmio>().free_bytes(),
                space.subtree::<Kva>().free_bytes(),
            ],
            double_frees: frames.double_frees,
            awaiting_a_flush: space.outstanding(),
        }
    }
}
