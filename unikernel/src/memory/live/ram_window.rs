//! The RAM window: all of RAM at a fixed distance from its physical addresses, writable but for the kernel's text and
//! read-only data, and never executable.

use super::Live;
use super::regions::{self, Region};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::frame::{FrameRun, OutOfFrames};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::level::{L4, Level};
use crate::memory::page_table::{Kva, VaRange, VirtRange};
use spin::Mutex;

/// First root slot of the window.
const FIRST_SLOT: u64 = 320;
/// Behind its last.
const END_SLOT: u64 = 448;

/// The address at which the window shows physical address 0.
pub const RAM_WINDOW: VirtAddr =
    crate::memory::page_table::span::canonical(FIRST_SLOT << <L4 as Level>::SHIFT);
/// How much physical memory the window can show, in bytes: 64 TiB.
pub(super) const RAM_WINDOW_LEN: u64 = (END_SLOT - FIRST_SLOT) << <L4 as Level>::SHIFT;

/// All addresses of the window.
pub(super) const RANGE: VirtRange = VirtRange::new(RAM_WINDOW, RAM_WINDOW_LEN);

/// The addresses of the window, once it is mapped: firmware tables are added to it.
static WINDOW: Mutex<Option<VaRange<Kva, Live>>> = Mutex::new(None);

/// Where the window shows a physical address, if that is RAM.
#[must_use]
#[inline]
pub const fn in_ram_window(address: PhysAddr) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((RAM_WINDOW.as_u64() + address.as_u64()) as usize)
}

/// Keeps the range of the mapped window.
pub(super) fn keep(range: VaRange<Kva, Live>) {
    *WINDOW.lock() = Some(range);
}

/// Contiguous memory that is the kernel's for ever, and that the host reads by its physical address.
#[derive(Debug)]
pub(crate) struct SharedPages {
    start: PhysAddr,
    len_bytes: u64,
}

impl SharedPages {
    /// Takes free frames; `name` is what messages call them.
    ///
    /// # Errors
    /// [`OutOfFrames`] if there are not as many side by side.
    pub(crate) fn take(machine: Live, name: &'static str, len_bytes: u64) -> Result<Self, OutOfFrames> {
        let frames = FrameRun::<Size4KiB, _>::allocate(machine, len_bytes.div_ceil(PAGE_LEN))?;
        let len_bytes = frames.len_bytes();
        let start = frames.leak();
        let shown = VirtAddr::new(RAM_WINDOW.as_u64() + start.as_u64());
        regions::add(Region::new(name, VirtRange::new(shown, len_bytes)));
        Ok(Self { start, len_bytes })
    }

    /// Writes bytes to its start, and gives back where in physical memory that is; `None` if there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<PhysAddr> {
        if bytes.len() as u64 > self.len_bytes {
            return None;
        }
        // SAFETY: the frames are this value's alone, the window shows them, and there are as many bytes.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), in_ram_window(self.start), bytes.len()) };
        Some(self.start)
    }
}
