//! What the model knows: which bytes of the region are handed out, and to whom.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use unikernel::memory::heap::GRANULE_LEN;
use unikernel::memory::heap::demand::BLOCK_LEN;

/// From this length on a range has whole blocks of addresses.
const LARGE_FROM: usize = BLOCK_LEN as usize;

/// A range that was taken. It knows its start only as the key that it is found by.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) len_bytes: usize,
    /// How much is handed out from its start on: more than its length if that ends in a large leaf.
    pub(super) handed_out: usize,
    /// Whether parts of it may go back.
    pub(super) in_parts: bool,
    /// Granules of it that are not handed out.
    pub(super) missing: BTreeSet<usize>,
    /// Whether it ever was so long that it may have whole blocks of addresses.
    pub(super) was_large: bool,
}

/// All ranges, by the bytes from the start of the region at which they begin.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    pub(super) owned: BTreeMap<usize, Owned>,
    /// What was given back, and may still be handed out: the source keeps some for a while.
    pub(super) loose: Vec<Range<usize>>,
    /// The one that was entered last.
    recent: usize,
}

impl Owned {
    pub(super) fn new(len_bytes: usize, in_parts: bool) -> Self {
        let was_large = len_bytes >= LARGE_FROM;
        Self { len_bytes, handed_out: len_bytes, in_parts, missing: BTreeSet::new(), was_large }
    }

    /// It has another length, and so much is handed out.
    pub(super) fn set_len(&mut self, len_bytes: usize, handed_out: usize) {
        self.was_large |= len_bytes >= LARGE_FROM;
        (self.len_bytes, self.handed_out) = (len_bytes, handed_out);
    }

    pub(super) fn handed_out_bytes(&self) -> usize {
        self.handed_out - self.missing.len() * GRANULE_LEN
    }

    pub(super) fn is_handed_out(&self, at: usize) -> bool {
        at < self.handed_out && !self.missing.contains(&(at / GRANULE_LEN))
    }
}

impl Ranges {
    /// The start of one of them: half of all numbers are of the recent one, so that much happens to one range.
    pub(super) fn pick(&self, which: u8, fits: impl Fn(&Owned) -> bool) -> Option<usize> {
        if which >= 0x80 && self.owned.get(&self.recent).is_some_and(&fits) {
            return Some(self.recent);
        }
        let starts: Vec<usize> =
            self.owned.iter().filter(|(_, owned)| fits(owned)).map(|(start, _)| *start).collect();
        (!starts.is_empty()).then(|| starts[usize::from(which) % starts.len()])
    }

    /// Enters a range, which overlaps no other.
    pub(super) fn add(&mut self, start: usize, owned: Owned) {
        let end = start + owned.handed_out;
        if let Some((other, last)) = self.owned.range(..end).next_back() {
            let other_end = other + last.handed_out;
            assert!(other_end <= start, "{start:#x}..{end:#x} overlaps {other:#x}..{other_end:#x}");
        }
        self.owned.insert(start, owned);
        self.recent = start;
    }

    /// The range that a byte lies in.
    pub(super) fn at(&self, byte: usize) -> Option<(usize, &Owned)> {
        let (start, owned) = self.owned.range(..=byte).next_back()?;
        (byte < start + owned.handed_out).then_some((*start, owned))
    }

    pub(super) fn is_loose(&self, byte: usize) -> bool {
        self.loose.iter().any(|loose| loose.contains(&byte))
    }

    pub(super) fn handed_out_bytes(&self) -> usize {
        self.owned.values().map(Owned::handed_out_bytes).sum()
    }

    /// Whether a range of this length surely fits between the others, in these bytes of the region.
    pub(super) fn has_addresses(&self, all: Range<usize>, len_bytes: usize, align_bytes: usize) -> bool {
        let (len, align) = match len_bytes >= LARGE_FROM {
            true => (len_bytes.next_multiple_of(LARGE_FROM), align_bytes.max(LARGE_FROM)),
            false => (len_bytes, align_bytes),
        };
        let fits = |free: Range<usize>| free.start.next_multiple_of(align) + len <= free.end;
        let mut free = all.start;
        for (start, owned) in &self.owned {
            if fits(free..*start) {
                return true;
            }
            let end = start + owned.handed_out;
            free = if owned.was_large { end.next_multiple_of(LARGE_FROM) } else { end };
        }
        fits(free..all.end)
    }
}
