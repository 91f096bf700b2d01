//! The core of this repository on the arena: the machine that its page tables and frames run on.
//!
//! As in a guest, and as with the peers, going from a physical address to a pointer is one addition.

use crate::Result;
use crate::arena::{Arena, PAGE, RAM, pointer};
use crate::table::NodeFrames;
use std::cell::{OnceCell, RefCell};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::thread::LocalKey;
use unikernel::memory::address::PhysAddr;
use unikernel::memory::address_space::AddressSpace;
use unikernel::memory::frame::{Frame, FrameAllocator, FrameSource};
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::{FlushRequest, Machine, Paging, Shootdown, TableMemory};
use unikernel::memory::simulation::{RING_0, SimulatedRam};

/// How many CPUs a machine has.
const CPUS: usize = 2;
/// Entries of a table in a frame.
const ENTRIES: usize = 512;

/// Frames of the arena, to the end of the process.
pub(crate) struct Frames {
    allocator: FrameAllocator<'static>,
    /// Which CPUs have not been taken.
    left: std::sync::Mutex<Range<usize>>,
}

/// A CPU that takes frames: the handle of one thread.
#[derive(Clone, Copy)]
pub(crate) struct FrameCpu {
    frames: &'static Frames,
    number: usize,
    one_thread: PhantomData<*mut ()>,
}

/// A CPU that has an address space, too.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    frames: FrameCpu,
    space: &'static AddressSpace,
}

/// A machine in which this range of the arena is free RAM. It is never given back: there are some in a run.
///
/// # Errors
///
/// When the core refuses it.
pub(crate) fn frames(ram: &Range<u64>) -> Result<&'static Frames> {
    let memory = Box::leak(Box::new(SimulatedRam::new((RAM.end / PAGE) as usize, 0, CPUS)));
    // SAFETY: nobody else has the arrays, which are never given back.
    let allocator = unsafe { FrameAllocator::new(memory.parts().0) }?;
    // SAFETY: the memory belongs to the contestant whose turn it is, and this is one.
    unsafe { allocator.add(ram.start / PAGE, (ram.end - ram.start) / PAGE) }?;
    Ok(Box::leak(Box::new(Frames { allocator, left: (0..CPUS).into() })))
}

impl Frames {
    /// The next CPU, for the thread that asks.
    ///
    /// # Errors
    ///
    /// When all have been taken.
    pub(crate) fn cpu(&'static self) -> Result<FrameCpu> {
        let next = self.left.lock().map_err(|_| "a thread panicked")?.next();
        let number = next.ok_or("all CPUs have been taken")?;
        Ok(FrameCpu { frames: self, number, one_thread: PhantomData })
    }
}

// SAFETY: 1, a copy has the same reference. 2, each number is given out once, and stays with one thread, since the handle is
// not `Send`.
unsafe impl FrameSource for FrameCpu {
    #[inline]
    fn frames(&self) -> &FrameAllocator<'_> {
        &self.frames.allocator
    }

    #[inline]
    fn cpu(&self) -> usize {
        self.number
    }
}

// SAFETY: 1, a frame's memory is where the arena has it. 2, it is ordinary memory, used through atomics.
unsafe impl TableMemory for FrameCpu {
    type Cell = AtomicU64;

    #[inline]
    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; ENTRIES] {
        // SAFETY: by the caller's promise this is a frame of the arena, whose memory is mapped, aligned, and initialised.
        unsafe { &*pointer(frame.as_u64()).cast::<[AtomicU64; ENTRIES]>() }
    }

    #[inline]
    fn paging(&self) -> Paging {
        RING_0
    }
}

// SAFETY: as for the handle that it contains.
unsafe impl FrameSource for Cpu {
    #[inline]
    fn frames(&self) -> &FrameAllocator<'_> {
        self.frames.frames()
    }

    #[inline]
    fn cpu(&self) -> usize {
        self.frames.cpu()
    }
}

// SAFETY: as for the handle that it contains.
unsafe impl TableMemory for Cpu {
    type Cell = AtomicU64;

    #[inline]
    unsafe fn table(&self, frame: PhysAddr) -> &[AtomicU64; ENTRIES] {
        // SAFETY: the caller's promise.
        unsafe { self.frames.table(frame) }
    }

    #[inline]
    fn paging(&self) -> Paging {
        self.frames.paging()
    }
}

// SAFETY: the address space was made on the same frames, and the reference never changes.
unsafe impl Machine for Cpu {
    #[inline]
    fn space(&self) -> &AddressSpace {
        self.space
    }
}

/// No processor walks the tables of the arena, so there is nothing to flush, as with the peers.
pub(crate) struct NoTlb;

// SAFETY: 1 to 3, no processor ever loaded a table of these machines.
unsafe impl Shootdown<Cpu> for NoTlb {
    #[inline]
    fn invalidate(&self, _: &FlushRequest) {}
}

thread_local! {
    static BOOTED: OnceCell<Cpu> = const { OnceCell::new() };
    static CURRENT: RefCell<Option<OurFrames>> = const { RefCell::new(None) };
}

/// A CPU of the one machine that has an address space.
///
/// # Errors
///
/// When the core refuses it.
pub(crate) fn booted(_: Arena) -> Result<Cpu> {
    BOOTED.with(|booted| match booted.get() {
        Some(cpu) => Ok(*cpu),
        None => {
            let frames = frames(&RAM)?.cpu()?;
            let (space, _) = AddressSpace::new(frames)?;
            let cpu = Cpu { frames, space: Box::leak(Box::new(space)) };
            Ok(*booted.get_or_init(|| cpu))
        }
    })
}

/// The frame allocator of this repository, for the peers' nodes.
pub(crate) struct OurFrames(Cpu);

impl NodeFrames for OurFrames {
    const NAME: &'static str = "our frames";

    fn new(arena: Arena) -> Result<Self> {
        Ok(Self(booted(arena)?))
    }

    #[inline]
    fn allocate(&mut self) -> Option<u64> {
        Some(Frame::<Size4KiB, _>::allocate(self.0).ok()?.into_raw().as_u64())
    }

    #[inline]
    fn free(&mut self, phys: u64) {
        // SAFETY: the peer gives back what it got from `allocate`.
        drop(unsafe { Frame::<Size4KiB, _>::from_raw(self.0, PhysAddr::new(phys)) });
    }

    fn current() -> &'static LocalKey<RefCell<Option<Self>>> {
        &CURRENT
    }
}
