//! What contestants do.

use crate::Result;
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use system_tests::contest::nanoseconds;
use system_tests::random::Random;

/// Replacements that are timed, after as many that are not.
const REPLACEMENTS: usize = 100_000;
/// Elements of a vector, and how often one is grown.
const ELEMENTS: usize = 1_000_000;
const VECTORS: usize = 10;

/// Which blocks are replaced by which sizes.
pub(crate) struct Trace {
    live: Vec<Layout>,
    replacements: Vec<(usize, Layout)>,
}

/// The traces, the same for each contestant and in each run.
pub(crate) struct Traces {
    /// 10,000 blocks of 16 to 256 B.
    pub(crate) small: Trace,
    /// 2,000 blocks of 16 B to 64 KiB, as many of each doubling.
    pub(crate) mixed: Trace,
}

impl Traces {
    pub(crate) fn new() -> Self {
        let mut random = Random::new(0x5eed);
        Self {
            small: Trace::new(10_000, &mut random, |random| 16 + random.below(241)),
            mixed: Trace::new(2_000, &mut random, |random| {
                let exponent = 4.0 + 12.0 * random.below(1 << 24) as f64 / f64::from(1 << 24);
                exponent.exp2() as usize
            }),
        }
    }
}

impl Trace {
    fn new(live: usize, random: &mut Random, mut size: impl FnMut(&mut Random) -> usize) -> Self {
        let mut layout = |random: &mut Random| {
            let layout = Layout::from_size_align(size(random), 8);
            layout.unwrap_or(Layout::new::<[u64; 2]>())
        };
        Self {
            live: (0..live).map(|_| layout(random)).collect(),
            replacements: (0..2 * REPLACEMENTS).map(|_| (random.below(live), layout(random))).collect(),
        }
    }
}

/// A block whose first word says where it is.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    #[inline]
    fn new(allocator: &impl GlobalAlloc, layout: Layout) -> Result<Self> {
        // SAFETY: the layouts of traces have sizes.
        let start = NonNull::new(unsafe { allocator.alloc(layout) }).ok_or("no memory")?;
        // SAFETY: the block was just allocated, is as long as a word and aligned to it.
        unsafe { start.cast::<usize>().write(start.addr().get()) };
        Ok(Self { start, layout })
    }

    #[inline]
    fn free(self, allocator: &impl GlobalAlloc) -> Result<()> {
        // SAFETY: the block is allocated, and its first word was written.
        if unsafe { self.start.cast::<usize>().read() } != self.start.addr().get() {
            return Err("a block was overwritten".into());
        }
        // SAFETY: allocated with this layout, and not used again.
        unsafe { allocator.dealloc(self.start.as_ptr(), self.layout) };
        Ok(())
    }
}

/// Does the replacements of a trace. Nanoseconds for an allocation or a deallocation.
pub(crate) fn replace(allocator: &impl GlobalAlloc, trace: &Trace) -> Result<f64> {
    let mut blocks =
        trace.live.iter().map(|layout| Block::new(allocator, *layout)).collect::<Result<Vec<_>>>()?;
    let mut replace = |replacements: &[(usize, Layout)]| -> Result<()> {
        for &(index, layout) in replacements {
            let new = Block::new(allocator, layout)?;
            std::mem::replace(&mut blocks[index], new).free(allocator)?;
        }
        Ok(())
    };
    let (first, timed) = trace.replacements.split_at(REPLACEMENTS);
    replace(first)?;
    let time = nanoseconds(|| replace(timed))?;
    blocks.into_iter().try_for_each(|block| block.free(allocator))?;
    Ok(time / (2 * REPLACEMENTS) as f64)
}

/// Grows vectors from nothing, one after another. Nanoseconds for an element.
pub(crate) fn grow(allocator: &impl GlobalAlloc) -> Result<f64> {
    let time = nanoseconds(|| (0..VECTORS).try_for_each(|_| grow_one(allocator)))?;
    Ok(time / (VECTORS * ELEMENTS) as f64)
}

/// A vector as the standard library's: twice the capacity each time. That one takes no allocator on stable Rust.
fn grow_one(allocator: &impl GlobalAlloc) -> Result<()> {
    let mut layout = Layout::array::<usize>(4)?;
    // SAFETY: the layout has a size.
    let mut start = NonNull::new(unsafe { allocator.alloc(layout) }).ok_or("no memory")?;
    let mut capacity = 4;
    for number in 0..ELEMENTS {
        if number == capacity {
            capacity *= 2;
            let new_layout = Layout::array::<usize>(capacity)?;
            // SAFETY: allocated with this layout, and the new one is of more elements.
            start = unsafe { reallocate(allocator, start, layout, new_layout) }?;
            layout = new_layout;
        }
        // SAFETY: the number is less than the capacity.
        unsafe { start.cast::<usize>().add(number).write_volatile(number) };
    }
    for number in [0, 3, 4, ELEMENTS / 2, ELEMENTS - 1] {
        // SAFETY: all elements were written.
        if unsafe { start.cast::<usize>().add(number).read() } != number {
            return Err("growing has lost an element".into());
        }
    }
    // SAFETY: allocated with this layout, and not used again.
    unsafe { allocator.dealloc(start.as_ptr(), layout) };
    Ok(())
}

/// Kept out of the loop, as in the standard library.
///
/// # Safety
/// Those of `realloc`.
#[cold]
#[inline(never)]
unsafe fn reallocate(
    allocator: &impl GlobalAlloc,
    start: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Result<NonNull<u8>> {
    // SAFETY: the caller's promise.
    let moved = unsafe { allocator.realloc(start.as_ptr(), old, new.size()) };
    NonNull::new(moved).ok_or("no memory to grow".into())
}
