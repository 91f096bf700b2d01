//! The RAM window: all of RAM at a fixed distance from its physical addresses, writable but for the kernel's text and
//! read-only data, and never executable.

use super::Live;
use super::regions::{self, Region};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::frame::{FrameRun, FrameSource, FrameState, OutOfFrames};
use crate::memory::page_size::Size4KiB;
use crate::memory::page_table::attributes::KernelAccess;
use crate::memory::page_table::level::{L4, Level};
use crate::memory::page_table::{Kva, KvaRun, VaRange, VirtRange};
use crate::memory::{AddressRange, PAGE_LEN, covering_pages};
use core::ptr::NonNull;
use guest_interface::layout::HIGH_RAM_START;
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

/// First address at which a PC may have firmware tables below 1 MiB: the least that an extended BIOS data area begins at.
const LOW_FIRMWARE_START: u64 = 0x8_0000;

/// The addresses of the window, once it is mapped: firmware tables are added to it.
static WINDOW: Mutex<Option<VaRange<Kva, Live>>> = Mutex::new(None);

/// Where the window shows a physical address. Not checked: it means something for RAM below 64 TiB alone.
#[must_use]
#[inline]
pub const fn in_ram_window(address: PhysAddr) -> *mut u8 {
    core::ptr::with_exposed_provenance_mut((RAM_WINDOW.as_u64() + address.as_u64()) as usize)
}

/// Keeps the range of the mapped window.
pub(super) fn keep(range: VaRange<Kva, Live>) {
    *WINDOW.lock() = Some(range);
}

/// Makes firmware tables readable for ever. They lie where the VMM's map has memory that it keeps to itself (`is_kept`), or
/// below 1 MiB, where PCs have them; `None` anywhere else, so that nobody here writes what is read as a table. That no
/// device registers lie there is what the caller's `is_kept` makes sure of.
///
/// What is not RAM by the memory map becomes RAM that is never handed out, mapped read-only.
pub(crate) fn show_firmware(
    machine: Live,
    is_kept: impl Fn(&AddressRange) -> bool,
    address: u64,
    len_bytes: u64,
) -> Option<NonNull<u8>> {
    let end = address.checked_add(len_bytes)?;
    let pages = covering_pages(&(address..end));
    if address == 0 || len_bytes == 0 || pages.end > machine.frames().frame_count() * PAGE_LEN {
        return None;
    }
    let low = LOW_FIRMWARE_START..HIGH_RAM_START;
    let mut window = WINDOW.lock();
    let window = window.as_mut()?;
    for page in pages.step_by(PAGE_LEN as usize) {
        let start = PhysAddr::new(page);
        if !low.contains(&page) && !is_kept(&(page..page + PAGE_LEN)) {
            return None;
        }
        let at = VirtAddr::new(RAM_WINDOW.as_u64() + page);
        if window.query(at).is_some() {
            continue;
        }
        if machine.frames().state(start.frame_number()) == FrameState::Hole {
            // SAFETY: 2, the lock on the window; nobody else registers frames after the start. 3 and 4, device windows come
            // later, and then refuse what is RAM.
            unsafe { machine.frames().reserve(start.frame_number(), 1) }.ok()?;
        }
        let run = KvaRun::<Size4KiB>::new(&machine, start, 1).ok()?;
        window.map(at, run, KernelAccess::ReadOnly).ok()?;
        regions::add(Region::new("firmware tables", VirtRange::new(at, PAGE_LEN)));
    }
    NonNull::new(in_ram_window(PhysAddr::new(address)))
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
