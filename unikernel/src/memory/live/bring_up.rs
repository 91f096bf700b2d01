//! From the VMM's memory map to an address space that is loaded, in order.

use super::frame_arrays::{self, Layout};
use super::kernel_map::{self, Plan, Stack};
use super::ram_window::{self, RAM_WINDOW, in_ram_window};
use super::regions::{self, Region};
use super::{FRAMES, HOST, LIVE, Live, ROOT_MASK, SPACE};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::AddressSpace;
use crate::memory::frame::{FrameAllocator, FrameArraysError, OutOfFrames, RegisterError};
use crate::memory::guarded_stack::GuardedStack;
use crate::memory::image::{self, Section};
use crate::memory::page_size::PARTS;
use crate::memory::page_table::level::{L4, Level};
use crate::memory::page_table::{Error, Paging, VirtRange};
use crate::memory::ram::Ram;
use crate::memory::range_set::TooManyRanges;
use crate::memory::{AddressRange, PAGE_LEN};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

/// How much of memory the page tables of the head, and those that a VMM gives, map one to one.
pub(crate) const MAPPED_AT_START: u64 = 1 << 30;

/// What follows from the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PagingPolicy {
    /// How tables are to be.
    pub(crate) paging: Paging,
    /// Number of pages from which flushing the whole TLB costs less than flushing them one by one.
    pub(crate) flush_all_threshold_pages: usize,
    /// How much of the heap a page fault maps by small pages, in bytes.
    pub(crate) fault_around_bytes: u64,
}

/// Why there is no address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BringUpError {
    /// The memory map has no RAM where the image runs.
    ImageNotRam {
        /// Where the image starts.
        start: u64,
        /// Where it ends.
        end: u64,
    },
    /// There is no free RAM in the first GiB for what the allocator notes about frames.
    NoRoomForFrameArrays,
    /// What the memory map says is RAM does not keep what is written to it.
    NotMemory {
        /// Where it was tried.
        address: u64,
    },
    /// The arrays do not fit together.
    Arrays(FrameArraysError),
    /// RAM can't be registered.
    Register(RegisterError),
    /// There is no frame for the root, or for the heap.
    OutOfFrames(OutOfFrames),
    /// A mapping was refused.
    Map(Error),
    /// RAM lies in too many pieces.
    TooScattered(TooManyRanges),
}

impl fmt::Display for BringUpError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ImageNotRam { start, end } => write!(
                formatter,
                "the memory map has no RAM from {start:#x} to {end:#x}, where the image lies: correct the map"
            ),
            Self::NoRoomForFrameArrays => formatter.write_str(
                "the memory map leaves no free RAM from 1 MiB to 1 GiB: give the guest more there",
            ),
            Self::NotMemory { address } => write!(
                formatter,
                "the memory map has RAM at {address:#x}, where there is none: correct the map"
            ),
            Self::Arrays(cause) => cause.fmt(formatter),
            Self::Register(cause) => cause.fmt(formatter),
            Self::OutOfFrames(cause) => write!(formatter, "too little RAM to boot in: {cause}"),
            Self::Map(cause) => write!(formatter, "the kernel can't be mapped: {cause}"),
            Self::TooScattered(cause) => {
                write!(formatter, "RAM lies in more than {} pieces", cause.capacity)
            }
        }
    }
}

macro_rules! from {
    ($($error:ty => $variant:ident,)+) => {
        $(impl From<$error> for BringUpError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })+
    };
}

from! {
    FrameArraysError => Arrays,
    RegisterError => Register,
    OutOfFrames => OutOfFrames,
    Error => Map,
    TooManyRanges => TooScattered,
}

/// Makes the address space and loads it. RAM beyond what can be kept account of is taken out of `ram`; then the second
/// value says from where on.
///
/// # Safety
/// 1. The tables that CR3 leads to map the first GiB one to one, writable, and are in it, as RAM that `ram` does not have
///    for free.
/// 2. All that `ram` has for free is RAM, and nobody's; the running image is where [`image`] says.
/// 3. The processor takes no-execute bits, and its PAT is as [`PAT_MSR_VALUE`] says.
/// 4. It is called once.
///
/// [`PAT_MSR_VALUE`]: crate::memory::page_table::attributes::PAT_MSR_VALUE
pub(crate) unsafe fn bring_up<const LEN: usize>(
    host: PagingPolicy,
    ram: &mut Ram,
    boot_stack: &'static GuardedStack<LEN>,
    stacks: &[Stack],
) -> Result<(Live, Option<u64>), BringUpError> {
    HOST.call_once(|| host);
    // SAFETY: 1.
    unsafe { borrow_boot_tables() };
    let sections = image::sections();
    let image = image::range();
    if !ram.all().ranges().iter().any(|range| range.start <= image.start && image.end <= range.end) {
        return Err(BringUpError::ImageNotRam { start: image.start, end: image.end });
    }

    let end = ram.all().ranges().last().map_or(0, |range| range.end);
    let place = frame_arrays::place(ram.free().ranges(), MAPPED_AT_START, end, PARTS, CPUS);
    let (arrays, frame_count) = place.ok_or(BringUpError::NoRoomForFrameArrays)?;
    let reach = frame_count * PAGE_LEN;
    ram.forget_from(reach)?;
    ram.use_up(&arrays)?;
    // SAFETY: 2, the arrays' range is free RAM, of this length, which is not free any more; the borrowed tables show it.
    let frames = unsafe { set_up_frames(frame_count, &arrays, ram) }?;
    let low = |range: &AddressRange| range.start..range.end.min(MAPPED_AT_START).max(range.start);
    let high = |range: &AddressRange| range.start.max(MAPPED_AT_START).min(range.end)..range.end;
    // SAFETY: 2. The frames that the boot tables show come first, since the first page tables are made of them.
    unsafe { release(frames, ram.free().ranges().iter().map(low)) }?;

    // The handle is used from here on.
    let machine = Live(());
    let (space, inactive) = AddressSpace::new(machine)?;
    SPACE.call_once(|| space);
    let guards = [boot_stack.guard()];
    let plan = Plan { ram: ram.all().ranges(), sections: &sections, guards: &guards, stacks };
    ram_window::keep(kernel_map::map_kernel(machine, &plan)?);
    // SAFETY: the tables map the running code, its data and its stack where they are, and all RAM in the window; 3 holds.
    unsafe { x86::controlregs::cr3_write(inactive.activate().as_u64()) };
    LIVE.call_once(|| machine);
    // SAFETY: 2; the window shows these, too.
    unsafe { release(frames, ram.free().ranges().iter().map(high)) }?;

    name_regions(ram, &arrays, &sections, boot_stack, stacks);
    Ok((machine, (reach < end).then_some(reach)))
}

/// One CPU runs.
const CPUS: usize = 1;

/// Has the boot tables show the first GiB in the RAM window as well, by the entry that maps it one to one.
///
/// # Safety
/// The root that CR3 leads to is mapped one to one, and so is the first GiB by it.
unsafe fn borrow_boot_tables() {
    let first_slot = (RAM_WINDOW.as_u64() >> L4::SHIFT) as usize % PARTS as usize;
    // SAFETY: the caller's promise. The entry was absent, so that no translation of it is cached.
    unsafe {
        let root = x86::controlregs::cr3() & ROOT_MASK;
        let root: &[AtomicU64; PARTS as usize] = &*core::ptr::with_exposed_provenance(root as usize);
        root[first_slot].store(root[0].load(Ordering::Relaxed), Ordering::SeqCst);
    }
}

/// Makes the frame allocator, in which all RAM is reserved.
///
/// # Safety
/// `arrays` is memory for that many frames that nobody else uses, and the RAM window shows it.
unsafe fn set_up_frames(
    frame_count: u64,
    arrays: &AddressRange,
    ram: &Ram,
) -> Result<&'static FrameAllocator<'static>, BringUpError> {
    for address in [arrays.end - PAGE_LEN, arrays.start] {
        // SAFETY: the caller's promise.
        if !unsafe { keeps_what_is_written(address) } {
            return Err(BringUpError::NotMemory { address });
        }
    }
    let memory = in_ram_window(PhysAddr::new(arrays.start));
    // SAFETY: the caller's promise.
    let frames = unsafe { FrameAllocator::new(Layout::new(frame_count, CPUS).arrays(memory)) }?;
    for range in ram.all().ranges() {
        // SAFETY: one CPU runs, and nothing is mapped as device registers yet.
        unsafe { frames.reserve(range.start / PAGE_LEN, (range.end - range.start) / PAGE_LEN) }?;
    }
    Ok(FRAMES.call_once(|| frames))
}

/// Whether a word can be written and read back: a map that promises too much is found out here, at the first memory that the
/// kernel takes by it, and not by whatever comes of using what is not there.
///
/// # Safety
/// The RAM window shows the address, and nobody uses it, if it is RAM.
unsafe fn keeps_what_is_written(address: u64) -> bool {
    const PATTERN: u64 = 0x5aa5_f00d_0ff0_a55a;
    let word = in_ram_window(PhysAddr::new(address)).cast::<u64>();
    // SAFETY: the caller's promise. Volatile, since the question is whether there is memory.
    [PATTERN, !PATTERN].into_iter().all(|value| unsafe {
        word.write_volatile(value);
        word.read_volatile() == value
    })
}

/// Lets frames be handed out.
///
/// # Safety
/// They are RAM that nobody uses, and the RAM window shows them.
unsafe fn release(
    frames: &FrameAllocator<'_>,
    ranges: impl Iterator<Item = AddressRange>,
) -> Result<(), RegisterError> {
    for range in ranges {
        // SAFETY: the caller's promise; one CPU runs, and RAM is not mapped as device registers.
        unsafe { frames.release_reserved(range.start / PAGE_LEN, (range.end - range.start) / PAGE_LEN) }?;
    }
    Ok(())
}

/// Notes what is where, for messages.
fn name_regions<const LEN: usize>(
    ram: &Ram,
    arrays: &AddressRange,
    sections: &[Section],
    boot_stack: &GuardedStack<LEN>,
    stacks: &[Stack],
) {
    let range =
        |start: u64, range: &AddressRange| VirtRange::new(VirtAddr::new(start), range.end - range.start);
    for section in sections.iter().filter(|section| !section.range.is_empty()) {
        regions::add(Region::new(section.name, range(section.range.start, &section.range)));
    }
    let stack = boot_stack.stack();
    regions::add(Region::stack("boot stack", range(stack.start, &stack)).guarded(PAGE_LEN, 0));
    for stack in stacks {
        regions::add(
            Region::stack(stack.name, range(stack.window, &stack.memory)).guarded(PAGE_LEN, PAGE_LEN),
        );
    }
    let in_window = |phys: &AddressRange| range(RAM_WINDOW.as_u64() + phys.start, phys);
    for ram in ram.all().ranges() {
        regions::add(Region::new("RAM window", in_window(ram)));
    }
    regions::add(Region::new("frame metadata", in_window(arrays)));
}
