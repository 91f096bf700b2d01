//! Ranges that were given back and are kept as they are, mapped, for who asks for one of just that length next.

use core::alloc::Layout;

/// How many are kept.
const RANGES_MAX: usize = 128;

/// A range that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// Its first address.
    pub(super) start: usize,
    /// The length that it was handed out with.
    pub(super) len_bytes: usize,
}

/// The ranges that are kept, the oldest first.
pub(super) struct Spare {
    ranges: [Option<Kept>; RANGES_MAX],
    len_bytes: usize,
    max_bytes: usize,
}

impl Spare {
    /// Nothing, and room for ranges of so many bytes together.
    pub(super) const fn new(max_bytes: usize) -> Self {
        Self { ranges: [None; RANGES_MAX], len_bytes: 0, max_bytes }
    }

    /// Bytes of all that is kept.
    pub(super) const fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Takes out the newest that has this length and alignment.
    pub(super) fn take(&mut self, layout: Layout) -> Option<Kept> {
        let fits = |kept: &Kept| kept.len_bytes == layout.size() && kept.start.is_multiple_of(layout.align());
        let index = self.ranges.iter().rposition(|kept| kept.as_ref().is_some_and(fits))?;
        self.remove(index)
    }

    /// Takes out the oldest.
    pub(super) fn take_oldest(&mut self) -> Option<Kept> {
        self.remove(0)
    }

    /// Whether a range of this length would be kept at all: no single one takes most of the room.
    pub(super) const fn is_wanted(&self, len_bytes: usize) -> bool {
        len_bytes <= self.max_bytes / 2
    }

    /// Whether there is room for a range of this length.
    pub(super) fn has_room(&self, len_bytes: usize) -> bool {
        self.len_bytes + len_bytes <= self.max_bytes && self.ranges.last() == Some(&None)
    }

    /// Keeps a range, for which there is room.
    pub(super) fn keep(&mut self, kept: Kept) {
        if let Some(place) = self.ranges.iter_mut().find(|range| range.is_none()) {
            *place = Some(kept);
            self.len_bytes += kept.len_bytes;
        }
    }

    fn remove(&mut self, index: usize) -> Option<Kept> {
        let kept = self.ranges[index].take()?;
        self.ranges[index..].rotate_left(1);
        self.len_bytes -= kept.len_bytes;
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(len_bytes: usize, align: usize) -> Layout {
        Layout::from_size_align(len_bytes, align).unwrap()
    }

    #[test]
    fn the_newest_that_fits_is_taken_and_the_oldest_goes_first() {
        let mut spare = Spare::new(100 << 10);
        let kept = |number: usize, len_bytes| Kept { start: number << 14, len_bytes };
        let ranges = [kept(1, 16 << 10), kept(2, 32 << 10), kept(3, 16 << 10)];
        ranges.into_iter().for_each(|range| spare.keep(range));
        assert_eq!(spare.len_bytes(), 64 << 10);
        assert_eq!(spare.take(layout(16 << 10, 32 << 10)), None, "neither is aligned so");
        assert_eq!(spare.take(layout(16 << 10, 16 << 10)), Some(ranges[2]));
        assert_eq!(spare.take(layout(48 << 10, 16 << 10)), None);
        assert_eq!([spare.take_oldest(), spare.take_oldest()], [Some(ranges[0]), Some(ranges[1])]);
        assert_eq!((spare.take_oldest(), spare.len_bytes()), (None, 0));
    }

    #[test]
    fn it_holds_no_more_bytes_and_ranges_than_it_may() {
        let mut spare = Spare::new(64 << 10);
        assert!(spare.is_wanted(32 << 10) && !spare.is_wanted(33 << 10));
        spare.keep(Kept { start: 0, len_bytes: 48 << 10 });
        assert!(spare.has_room(16 << 10) && !spare.has_room(17 << 10));
        let mut spare = Spare::new(usize::MAX);
        for number in 0..RANGES_MAX {
            assert!(spare.has_room(1));
            spare.keep(Kept { start: number, len_bytes: 1 });
        }
        assert!(!spare.has_room(1));
        assert!(!Spare::new(0).is_wanted(1));
    }
}
