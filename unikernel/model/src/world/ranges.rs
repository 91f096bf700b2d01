//! Ranges of addresses: given out, given back, cut and joined, on both.

use super::apply::agreed;
use super::modelled::Modelled;
use super::{Cpu, Outcome, World};
use crate::oracle::Block;
use crate::place::{Length, Part, edges};
use unikernel::memory::PAGE_LEN;
use unikernel::memory::page_table::{Carved, Error, Rejected, VaRange, VirtRange};
use unikernel::memory::subtree::Subtree;

/// At most so many ranges of a kind, so that they meet.
const RANGES_MAX: usize = 6;

impl<'a> World<'a> {
    /// Whether the program has so many ranges that it gets no more.
    fn enough<O: Modelled>(&mut self) -> bool {
        O::side(&mut self.sides).ranges.len() >= RANGES_MAX
    }

    pub(super) fn reserve<O: Modelled>(&mut self, len: Length, align_bytes: u64) -> Outcome {
        if self.enough::<O>() {
            return Outcome::Skipped;
        }
        let len_bytes = match len {
            Length::Bytes(len_bytes) | Length::AtMost(len_bytes) => len_bytes,
            Length::Rest | Length::OfLeaf => PAGE_LEN,
        };
        let result = Subtree::<O>::reserve(self.ground.cpu, len_bytes, align_bytes);
        let expected = self.oracle.addresses(O::KIND).reserve(len_bytes, align_bytes);
        self.reserved(result, expected)
    }

    pub(super) fn reserve_at<O: Modelled>(&mut self, part: Part) -> Outcome {
        if self.enough::<O>() {
            return Outcome::Skipped;
        }
        let hot = Block::new(edges(O::KIND)[0] - (1 << 31), 1 << 32);
        let range = part.resolve(hot, self.oracle.tree(O::KIND));
        self.reserve_just::<O>(range)
    }

    /// Reserves two neighbours around the boundary of two root slots, which share tables of each level.
    pub(super) fn reserve_hot<O: Modelled>(&mut self) {
        let edge = edges(O::KIND)[0];
        let ends = [
            edge - (2 << 20) - 3 * PAGE_LEN,
            edge + (4 << 20) + 7 * PAGE_LEN,
            edge + (2 << 30) + (6 << 20) + 5 * PAGE_LEN,
        ];
        for pair in ends.windows(2) {
            self.reserve_just::<O>(Block { start: pair[0], end: pair[1] }.range());
        }
    }

    fn reserve_just<O: Modelled>(&mut self, range: VirtRange) -> Outcome {
        let result = Subtree::<O>::reserve_at(self.ground.cpu, range);
        let expected = self.oracle.addresses(O::KIND).reserve_at(range);
        self.reserved(result, expected)
    }

    fn reserved<O: Modelled>(
        &mut self,
        result: Result<VaRange<O, Cpu<'a>>, Error>,
        expected: Result<Block, Error>,
    ) -> Outcome {
        let found = result.as_ref().map(|range| Block::of(range.range())).map_err(|error| *error);
        assert_eq!(found, expected, "the addresses that were reserved");
        if let Ok(range) = result {
            self.put_back(range);
        }
        agreed(expected.map(|_| ()))
    }

    pub(super) fn give_back<O: Modelled>(&mut self, index: u8) -> Outcome {
        let Some(range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let result = Subtree::give_back(range);
        let expected = self.oracle.tree(O::KIND).unused(owned);
        let error = result.as_ref().err().map(|rejected| rejected.error);
        assert_eq!(error, expected.err(), "giving {owned:?} back");
        match result {
            Ok(()) => self.oracle.addresses(O::KIND).give_back(owned),
            Err(Rejected { input, .. }) => self.put_back(input),
        }
        agreed(expected)
    }

    pub(super) fn carve<O: Modelled>(&mut self, index: u8, part: Part) -> Outcome {
        if self.enough::<O>() {
            return Outcome::Skipped;
        }
        let Some(range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let middle = part.resolve(owned, self.oracle.tree(O::KIND));
        let expected = owned.part_of(middle, PAGE_LEN);
        match range.carve(middle) {
            Ok(Carved { below, middle, above }) => {
                let mut next = owned.start;
                let pieces = [below, Some(middle), above].into_iter().flatten();
                for piece in pieces {
                    let block = Block::of(piece.range());
                    assert_eq!(block.start, next, "pieces of {owned:?} carved by {expected:?}");
                    next = block.end;
                    self.put_back(piece);
                }
                assert_eq!(next, owned.end, "the last piece of {owned:?} carved by {expected:?}");
                let has = |range: &VaRange<O, _>| Ok(Block::of(range.range())) == expected;
                assert!(O::side(&mut self.sides).ranges.iter().any(has), "{expected:?} was carved out");
            }
            Err(Rejected { error, input }) => {
                assert_eq!(Err(error), expected, "carving {owned:?}");
                assert_eq!(input.range(), owned.range(), "the range that comes back");
                self.put_back(input);
            }
        }
        agreed(expected.map(|_| ()))
    }

    pub(super) fn join<O: Modelled>(&mut self, index: u8, other: u8) -> Outcome {
        let Some(first) = self.pick::<O>(index) else { return Outcome::Skipped };
        let Some(second) = self.pick::<O>(other) else {
            self.put_back(first);
            return Outcome::Skipped;
        };
        let [one, two] = [Block::of(first.range()), Block::of(second.range())];
        let adjacent = one.end == two.start || two.end == one.start;
        let error = Error::NotAdjacent { first: one.range(), second: two.range() };
        match first.join(second) {
            Ok(both) => {
                assert!(adjacent, "{one:?} and {two:?} were joined");
                assert_eq!(Block::of(both.range()), one.hull(two));
                self.put_back(both);
                Outcome::Done
            }
            Err(Rejected { error: found, input: (first, second) }) => {
                assert!(!adjacent, "{one:?} and {two:?} were not joined");
                assert_eq!(found, error);
                self.put_back(first);
                self.put_back(second);
                Outcome::Refused(error)
            }
        }
    }
}
