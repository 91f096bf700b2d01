//! Moves, on both: a part of a range of heap is taken out, and put into another.

use super::apply::{agreed, change_part};
use super::flush::shot_down;
use super::ground::squeezed;
use super::{Cpu, Outcome, World};
use crate::operation::{Fit, Move};
use crate::oracle::{Block, Debt};
use crate::place::{Part, Place};
use crate::size::Size;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::frame::FrameBatch;
use unikernel::memory::kind::Kind;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::{Carved, Detached, Flushed, Moved, Tracked, VaRange};

type Heap<'a> = VaRange<Tracked, Cpu<'a>>;

/// What moves is a multiple of this.
const UNIT: u64 = Size::Large.len_bytes();
/// So many of it at most, so that most ranges have room.
const UNITS_MAX: u64 = 6;

impl<'a> World<'a> {
    pub(super) fn relocate(&mut self, order: &Move, spare: Option<u64>) -> Outcome {
        let Some(range) = self.pick::<Tracked>(order.range) else { return Outcome::Skipped };
        let whole = Block::of(range.range());
        let Some(part) = self.source_part(whole, order) else {
            self.put_back(range);
            return Outcome::Skipped;
        };
        let source = self.take_part(range, part);
        let (flushed, debt) = self.taken_out(source, part, order, spare);
        let outcome = match self.target(order, part) {
            Some((target, within)) => {
                let outcome = self.moved(flushed, &debt, part, target, order.tables, spare);
                self.rejoin(within);
                outcome
            }
            None => {
                self.released(flushed, &debt, part, spare);
                Outcome::Skipped
            }
        };
        self.rejoin(whole);
        outcome
    }

    /// The part that moves: a few whole blocks of 2 MiB around what was asked for, as far as they lie in the range.
    fn source_part(&mut self, whole: Block, order: &Move) -> Option<Block> {
        let asked = order.part.resolve(whole, self.oracle.tree(Kind::Tracked));
        if order.fit == Fit::OddSource {
            return whole.part_of(asked, PAGE_LEN).ok();
        }
        let asked = Block::check(asked, 1).ok()?;
        // The whole blocks of the range, of which it must be some.
        let blocks = Block { start: whole.start.next_multiple_of(UNIT), end: whole.end / UNIT * UNIT };
        let last = blocks.end.checked_sub(UNIT)?;
        let start = (asked.start / UNIT * UNIT).min(last).max(blocks.start);
        let end = asked.end.next_multiple_of(UNIT).clamp(start + UNIT, start + UNITS_MAX * UNIT);
        let part = Block { start, end }.intersection(blocks);
        (part.start < part.end).then_some(part)
    }

    /// Takes a part out of a range; the rest goes back.
    fn take_part(&mut self, range: Heap<'a>, part: Block) -> Heap<'a> {
        let Ok(Carved { below, middle, above }) = range.carve(part.range()) else {
            panic!("{part:?} lies in the range")
        };
        below.into_iter().chain(above).for_each(|rest| self.put_back(rest));
        middle
    }

    /// Makes one range again of all pieces of `whole`.
    fn rejoin(&mut self, whole: Block) {
        let ranges = core::mem::take(&mut self.sides.tracked.ranges);
        let (mut pieces, others): (Vec<_>, Vec<_>) =
            ranges.into_iter().partition(|range| whole.contains(Block::of(range.range())));
        pieces.sort_by_key(|piece| piece.range().start);
        self.sides.tracked.ranges = others;
        let joined = pieces.into_iter().reduce(|first, second| match first.join(second) {
            Ok(both) => both,
            Err(apart) => panic!("{:?}", apart.error),
        });
        let joined = joined.filter(|range| Block::of(range.range()) == whole);
        let Some(joined) = joined else { panic!("a piece of {whole:?} is missing") };
        self.put_back(joined);
    }

    /// Does the changes, and flushes.
    fn taken_out(
        &mut self,
        source: Heap<'a>,
        part: Block,
        order: &Move,
        spare: Option<u64>,
    ) -> (Flushed<Detached<Tracked, Cpu<'a>>>, Debt) {
        let mut cursor = source.cursor();
        let mut debt = Debt::default();
        for change in order.before.into_iter().chain([order.change]) {
            let change = self.concrete(Kind::Tracked, part, change, Part::WHOLE);
            let result = squeezed(self.ground.cpu, spare, |free| (free, change_part(&mut cursor, change)));
            // What is refused changed nothing; the move goes on with what there is.
            let _ = self.changed(Kind::Tracked, part, result, change, &mut debt);
            self.check_frames();
        }
        self.oracle.outstanding += usize::from(debt.hull.is_some());
        (shot_down(cursor.finish(), &debt), debt)
    }

    /// A target as long as the part, with the range that it is a piece of: that which was asked for, or the longest.
    fn target(&mut self, order: &Move, part: Block) -> Option<(Heap<'a>, Block)> {
        let len_bytes = part.end - part.start + if order.fit == Fit::Longer { UNIT } else { 0 };
        let shift = if order.fit == Fit::OddTarget { PAGE_LEN } else { 0 };
        for choice in [order.target, 0] {
            let range = self.pick::<Tracked>(choice)?;
            let whole = Block::of(range.range());
            let fitting = [order.at, Place::Behind(Size::Small, 0)].into_iter().find_map(|place| {
                let at = place.resolve(whole, self.oracle.tree(Kind::Tracked), Size::Large, Size::Large);
                let start = at.as_u64() % (1 << 48) + shift;
                let piece = Block { start, end: start.checked_add(len_bytes)? };
                (start.is_multiple_of(PAGE_LEN) && whole.contains(piece)).then_some(piece)
            });
            match fitting {
                Some(piece) => return Some((self.take_part(range, piece), whole)),
                None => self.put_back(range),
            }
        }
        None
    }

    fn moved(
        &mut self,
        flushed: Flushed<Detached<Tracked, Cpu<'a>>>,
        debt: &Debt,
        part: Block,
        target: Heap<'a>,
        tables: u8,
        spare: Option<u64>,
    ) -> Outcome {
        let brought = u64::from(tables).min(self.ground.free());
        let Ok(mut tables) = FrameBatch::<Size4KiB, _>::allocate(self.ground.cpu, brought) else {
            panic!("{brought} frames are free, and can't be had")
        };
        let into = Block::of(target.range());
        let free = self.ground.free();
        let before = self.oracle.tree(Kind::Tracked).table_frames();
        let (moved, refused) =
            squeezed(self.ground.cpu, spare, |_| match flushed.move_to(target, &mut tables) {
                Ok(moved) => (Some(moved), None),
                Err(rejected) => (None, Some(rejected)),
            });
        let expected = self.oracle.tree(Kind::Tracked).relocate(part, debt, into, brought);
        let error = refused.as_ref().map(|rejected| rejected.error);
        assert_eq!(error, expected.err(), "moving {part:?} to {into:?}");
        let new = self.oracle.tree(Kind::Tracked).table_frames() - before;
        assert_eq!(tables.count(), brought - new, "frames for tables that are left");
        if let Some(Moved { source, target }) = moved {
            assert_eq!(self.ground.free(), free + debt.retired, "frames that a move frees");
            assert_eq!([&source, &target].map(|range| Block::of(range.range())), [part, into]);
            self.put_back(source);
            self.put_back(target);
            self.settled(debt);
        }
        if let Some(rejected) = refused {
            assert_eq!(self.ground.free(), free, "frames after a move that was refused");
            let (flushed, target) = rejected.input;
            assert_eq!(Block::of(target.range()), into, "the target that comes back");
            self.put_back(target);
            self.released(flushed, debt, part, spare);
        }
        agreed(expected)
    }
}
