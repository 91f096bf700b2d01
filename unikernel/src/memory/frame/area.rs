//! The unit that free frames are counted in: an area is as large as a 2 MiB frame and aligned like one.

#[cfg(not(loom))]
use crate::memory::page_size::{PageSize, Size2MiB};

/// Frames in a word of the bitmap.
pub(super) const WORD_FRAMES: u64 = u64::BITS as u64;

/// 4 KiB frames in an area.
#[cfg(not(loom))]
pub(super) const AREA_FRAMES: u64 = Size2MiB::FRAMES;

/// The model checker tries every order of every access, so it gets the smallest area.
#[cfg(loom)]
pub(super) const AREA_FRAMES: u64 = 2 * WORD_FRAMES;

/// Words of the bitmap in an area.
pub(super) const AREA_WORDS: usize = (AREA_FRAMES / WORD_FRAMES) as usize;

/// The mask of `count` bits from bit `first` up, cut at bit 63.
pub(super) const fn bits(first: u64, count: u64) -> u64 {
    let ones = if count >= WORD_FRAMES { u64::MAX } else { (1 << count) - 1 };
    ones << first
}

/// The lowest `count` of the bits that are set in `word`, or all if there are not more.
pub(super) const fn lowest_bits(word: u64, count: u64) -> u64 {
    if word.count_ones() as u64 <= count {
        return word;
    }
    if word == u64::MAX {
        return bits(0, count);
    }
    let mut rest = word;
    let mut left = count;
    while left > 0 {
        rest &= rest - 1;
        left -= 1;
    }
    word & !rest
}

/// The words that `count` bits from bit number `first` on lie in, each with the mask of its part.
pub(super) fn masks(first: u64, count: u64) -> impl Iterator<Item = (usize, u64)> {
    let (mut next, end) = (first, first.saturating_add(count));
    core::iter::from_fn(move || {
        let (word, bit) = (next / WORD_FRAMES, next % WORD_FRAMES);
        let len = (WORD_FRAMES - bit).min(end - next);
        next += len;
        (len > 0).then_some((word as usize, bits(bit, len)))
    })
}

/// Calls `each` with the frame number of every run of set bits in a word of the bitmap, and its length.
pub(super) fn for_each_run(word: usize, mut mask: u64, mut each: impl FnMut(u64, u64)) {
    while mask != 0 {
        let first = u64::from(mask.trailing_zeros());
        let count = u64::from((mask >> first).trailing_ones());
        each(word as u64 * WORD_FRAMES + first, count);
        mask &= !bits(first, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_bits() {
        assert_eq!(bits(0, 64), u64::MAX);
        assert_eq!(bits(63, 1), 1 << 63);
        assert_eq!(bits(4, 3), 0b111_0000);
        assert_eq!(lowest_bits(u64::MAX, 5), 0b1_1111);
        assert_eq!(lowest_bits(0b1011_0100, 3), 0b0011_0100);
        assert_eq!(lowest_bits(0b11, 7), 0b11);
        assert_eq!(lowest_bits(0b11, 0), 0);
    }

    #[test]
    fn runs_of_a_word() {
        let runs = |mask| {
            let mut runs = alloc::vec::Vec::new();
            for_each_run(1, mask, |first, count| runs.push((first, count)));
            runs
        };
        assert_eq!(runs(u64::MAX), [(64, 64)]);
        assert_eq!(runs(0), []);
        assert_eq!(runs(0b1001_1100 | 1 << 63), [(66, 3), (71, 1), (127, 1)]);
    }
}
