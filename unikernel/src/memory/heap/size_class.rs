//! The lengths that small blocks have, and which part of the heap a layout is for.

use super::arena::{MIDDLE_ALIGN_MAX, MIDDLE_MAX};
use core::alloc::Layout;

/// The length of the largest small blocks. With 16 KiB the mixed sizes of `just bench heap` take half as long again, with
/// 8 KiB twice as long, as more of them go to arenas.
pub(super) const SMALL_MAX: usize = 32 << 10;
/// How many lengths there are.
pub(super) const CLASSES: usize = 40;

/// Up to here lengths are the multiples of [`STEP`]; from here on there are four to a doubling, so that a fifth of a
/// block is wasted at most.
const LINEAR_MAX: usize = 128;
const STEP: usize = 16;

/// One of the lengths of small blocks. Always less than [`CLASSES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(u8);

/// Which part of the heap a block is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A span.
    Small(Class),
    /// An arena, or a range of its own where no arena is to be had.
    Middle,
    /// A range of its own.
    Large,
}

const LENS: [u16; CLASSES] = {
    let mut lens = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        lens[class] = if class < LINEAR_MAX / STEP {
            (class as u16 + 1) * STEP as u16
        } else {
            let above = class - LINEAR_MAX / STEP;
            ((above % 4 + 5) << (above / 4 + 5)) as u16
        };
        class += 1;
    }
    lens
};

impl Class {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CLASSES).map(Self::nth)
    }

    /// The class with this place in arrays.
    pub(super) const fn nth(index: usize) -> Self {
        assert!(index < CLASSES);
        Self(index as u8)
    }

    /// The least that holds so many bytes, 1 to [`SMALL_MAX`]. Has no branch, since lengths follow each other at random.
    #[inline(always)]
    const fn holding(len_bytes: usize) -> Self {
        let last = len_bytes - 1;
        // The doubling from 64 to 127 has the step of all below, which the formula for it holds for, too.
        let doubling = (last | 64).ilog2() - 6;
        Self((4 * doubling as usize + (last >> (doubling + 4))) as u8)
    }

    /// Its place in arrays of one item a class.
    #[inline(always)]
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }

    /// How long its blocks are.
    #[inline(always)]
    pub(super) const fn len_bytes(self) -> usize {
        LENS[self.0 as usize] as usize
    }

    /// What its blocks' addresses are multiples of.
    pub(super) const fn align_bytes(self) -> usize {
        self.len_bytes() & self.len_bytes().wrapping_neg()
    }
}

impl Kind {
    /// The kind of blocks of this layout. A block is freed by the layout it was asked for with, so this alone decides.
    #[inline(always)]
    pub(super) fn of(layout: Layout) -> Self {
        let (size, align) = (layout.size(), layout.align());
        debug_assert!(size > 0, "blocks without a size are none of the heap's");
        if size <= SMALL_MAX && align <= STEP {
            return Self::Small(Class::holding(size));
        }
        Self::of_rare(size, align)
    }

    /// The rest of [`Self::of`], kept out of the common path.
    #[inline(never)]
    fn of_rare(size: usize, align: usize) -> Self {
        let least = size.max(align);
        if least <= SMALL_MAX {
            let mut class = Class::holding(least);
            // Ends at a power of two at the latest.
            while class.align_bytes() < align {
                class.0 += 1;
            }
            return Self::Small(class);
        }
        if size <= MIDDLE_MAX && align <= MIDDLE_ALIGN_MAX { Self::Middle } else { Self::Large }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_has_the_least_class_that_holds_it() {
        for len in 1..=SMALL_MAX {
            let class = Class::holding(len);
            assert!(class.len_bytes() >= len, "{len}");
            let below = class.index().checked_sub(1).map_or(0, |index| LENS[index] as usize);
            assert!(below < len, "{len} would fit into {below}");
            assert!(len <= LINEAR_MAX || (class.len_bytes() - len) * 5 <= class.len_bytes(), "{len}");
        }
        assert_eq!(Class::holding(SMALL_MAX).index(), CLASSES - 1);
    }

    #[test]
    fn alignment_is_kept_by_every_kind() {
        for (size, align, kind) in [
            (100, 64, Kind::Small(Class::holding(128))),
            (1, 4096, Kind::Small(Class::holding(4096))),
            (SMALL_MAX, SMALL_MAX, Kind::Small(Class::holding(SMALL_MAX))),
            (SMALL_MAX + 1, 8, Kind::Middle),
            (SMALL_MAX + 1, 128, Kind::Large),
            (1, SMALL_MAX * 2, Kind::Large),
            (MIDDLE_MAX + 1, 8, Kind::Large),
        ] {
            let layout = Layout::from_size_align(size, align).unwrap();
            assert_eq!(Kind::of(layout), kind, "{layout:?}");
        }
    }
}
