//! Operations, on the core and on the oracle.

use super::ground::squeezed;
use super::modelled::Modelled;
use super::supply::{Attempt, Holder, Order, permitted};
use super::{Cpu, Outcome, Waiting, World};
use crate::operation::{Change, Step, Supply};
use crate::oracle::{Block, Concrete, Debt, Rights, Tree};
use crate::place::{Part, Place};
use crate::size::{PARTS, Size};
use core::ops::Range;
use unikernel::memory::frame::FrameBatch;
use unikernel::memory::kind::Kind;
use unikernel::memory::page_size::{Size1GiB, Size2MiB};
use unikernel::memory::page_table::{Cursor, Detached, Error, Rejected, VaRange};

/// The outcome of what both did alike.
pub(super) fn agreed(result: Result<(), Error>) -> Outcome {
    result.map_or_else(Outcome::Refused, |()| Outcome::Done)
}

impl<'a> World<'a> {
    /// Takes a range out of those that the program owns: mostly one of the two longest, where large leaves fit.
    pub(super) fn pick<O: Modelled>(&mut self, choice: u8) -> Option<VaRange<O, Cpu<'a>>> {
        let ranges = &mut O::side(&mut self.sides).ranges;
        ranges.sort_by_key(|range| (core::cmp::Reverse(range.range().len_bytes), range.range().start));
        let among = if choice < 160 { ranges.len().min(2) } else { ranges.len() };
        (among > 0).then(|| ranges.remove(usize::from(choice) % among))
    }

    pub(super) fn put_back<O: Modelled>(&mut self, range: VaRange<O, Cpu<'a>>) {
        O::side(&mut self.sides).ranges.push(range);
    }

    pub(super) fn await_flush<O: Modelled>(
        &mut self,
        detached: Detached<O, Cpu<'a>>,
        debt: Debt,
        owned: Block,
    ) {
        assert_eq!(detached.range(), owned.range(), "the range that awaits a flush");
        assert_eq!(detached.flush_range(), debt.hull.map(Block::range), "what awaits a flush");
        self.oracle.outstanding += usize::from(debt.hull.is_some());
        O::side(&mut self.sides).waiting.push(Waiting { detached, debt, owned });
    }

    pub(super) fn map<O: Modelled>(
        &mut self,
        index: u8,
        place: Place,
        supply: &Supply,
        tables: Option<u8>,
        spare: Option<u64>,
    ) -> Outcome {
        let mut tables = match tables {
            Some(count) => {
                let Ok(tables) = FrameBatch::allocate(self.ground.cpu, count.into()) else {
                    return Outcome::Skipped;
                };
                Some(tables)
            }
            None => None,
        };
        let Some(mut range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let order = self.order(O::KIND, owned, place, supply, spare);
        let brought = tables.as_ref().map(FrameBatch::count);
        let attempt = O::offer(&mut self.ground, Holder::Range(&mut range, tables.as_mut()), &order);
        self.put_back(range);
        let Some(mut attempt) = attempt else { return Outcome::Skipped };
        attempt.free = brought.unwrap_or(attempt.free);
        let before = self.oracle.tree(O::KIND).table_frames();
        let expected = self.mapped(O::KIND, owned, &attempt, &Debt::default());
        if let (Some(brought), Some(left)) = (brought, tables) {
            let new = self.oracle.tree(O::KIND).table_frames() - before;
            assert_eq!(left.count(), brought - new, "frames for tables that are left");
        }
        agreed(expected)
    }

    fn order(&self, kind: Kind, owned: Block, place: Place, supply: &Supply, spare: Option<u64>) -> Order {
        let Supply { size, count, form, memory, rights, exact } = *supply;
        // The heap has frames of 1 GiB on large machines only.
        let size = if kind == Kind::Tracked && !self.ground.large { size.min(Size::Large) } else { size };
        // So many small leaves are meant to become one large leaf.
        let align = if count == PARTS && size == Size::Small { Size::Large } else { size };
        let at = place.resolve(owned, &self.oracle.trees[kind as usize], align, size);
        let room = owned.end.saturating_sub(at.as_u64() % (1 << 48)) / size.len_bytes();
        let count = if exact || room == 0 { count } else { count.min(room) };
        Order { at, size, count, form, memory, rights: Rights::choose(kind, rights), spare }
    }

    /// Does to the oracle what an attempt did to the core, and compares.
    fn mapped(&mut self, kind: Kind, owned: Block, attempt: &Attempt, debt: &Debt) -> Result<(), Error> {
        let Attempt { mapped, free, result } = attempt;
        self.oracle.held = self.ground.taken.len() as u64;
        let tree = self.oracle.tree(kind);
        let expected = debt.admits(mapped.range).and_then(|()| tree.map(self.host, owned, *free, mapped));
        assert_eq!(*result, expected, "mapping {mapped:?} in {owned:?}");
        expected
    }

    /// Does a change to the oracle, and compares.
    pub(super) fn changed(
        &mut self,
        kind: Kind,
        owned: Block,
        (free, result): (u64, Result<(), Error>),
        change: Concrete,
        debt: &mut Debt,
    ) -> Result<(), Error> {
        let retired = debt.retired;
        let expected = self.oracle.tree(kind).change(self.host, owned, free, change, debt);
        assert_eq!(result, expected, "{change:?} in {owned:?}");
        self.oracle.retired += debt.retired - retired;
        expected
    }

    pub(super) fn change<O: Modelled>(&mut self, index: u8, change: Change, spare: Option<u64>) -> Outcome {
        let Some(range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let change = self.concrete(O::KIND, owned, change, Part::WHOLE);
        let (free, result) = squeezed(self.ground.cpu, spare, |free| (free, change_range(range, change)));
        let error = result.as_ref().err().map(|rejected| rejected.error);
        let mut debt = Debt::default();
        let expected = self.changed(O::KIND, owned, (free, error.map_or(Ok(()), Err)), change, &mut debt);
        match result {
            Ok(detached) => self.await_flush(detached, debt, owned),
            Err(Rejected { input, .. }) => {
                assert_eq!(input.range(), owned.range(), "the range that comes back");
                self.put_back(input);
            }
        }
        agreed(expected)
    }

    pub(super) fn cursor<O: Modelled>(&mut self, index: u8, steps: &[Step], spare: Option<u64>) -> Outcome {
        let Some(range) = self.pick::<O>(index) else { return Outcome::Skipped };
        let owned = Block::of(range.range());
        let mut cursor = range.cursor();
        let mut debt = Debt::default();
        let mut all = Ok(());
        for step in steps {
            let result = match step {
                Step::Change(change, part) => {
                    let change = self.concrete(O::KIND, owned, *change, *part);
                    let result =
                        squeezed(self.ground.cpu, spare, |free| (free, change_part(&mut cursor, change)));
                    self.changed(O::KIND, owned, result, change, &mut debt)
                }
                Step::Map(place, supply) => {
                    let order = self.order(O::KIND, owned, *place, supply, spare);
                    let attempt = O::offer(&mut self.ground, Holder::Cursor(&mut cursor), &order);
                    attempt.map_or(Ok(()), |attempt| self.mapped(O::KIND, owned, &attempt, &debt))
                }
                Step::Query(place) => {
                    let at = place.resolve(owned, self.oracle.tree(O::KIND), Size::Small, Size::Small);
                    self.compare_query::<O>(owned, at, cursor.query(at));
                    Ok(())
                }
            };
            all = all.and(result);
            self.check_frames();
        }
        self.await_flush(cursor.finish(), debt, owned);
        agreed(all)
    }

    /// The change with all its values.
    pub(super) fn concrete(&mut self, kind: Kind, owned: Block, change: Change, part: Part) -> Concrete {
        let tree = self.oracle.tree(kind);
        let range = part.resolve(owned, tree);
        match change {
            Change::Unmap => Concrete::Unmap(range),
            Change::Detach => Concrete::Detach(range),
            Change::DetachLeafTables => Concrete::DetachLeafTables(range),
            Change::Trim => Concrete::Trim,
            Change::Protect(byte) => {
                let rights = Rights::choose(kind, byte);
                let memory = memory_of(tree, Block::check(range, 1).unwrap_or(owned));
                let rights =
                    if kind == Kind::Kva { permitted(&self.ground, rights, &memory) } else { rights };
                Concrete::Protect(range, rights)
            }
            Change::Split(size, place) => Concrete::Split(size, place.resolve(owned, tree, size, size)),
            Change::Promote(size, place) => {
                // A place that counts leaves means one where all parts are mapped, if there is any.
                let full = tree.full_tables_in(owned, size.part());
                let at = match place {
                    Place::Leaf(index) if !full.is_empty() => full[usize::from(index) % full.len()],
                    _ => place.resolve(owned, tree, size, size.part()),
                };
                Concrete::Promote(size, at)
            }
        }
    }
}

/// What the leaves of a block map.
fn memory_of(tree: &Tree, block: Block) -> Vec<Range<u64>> {
    let leaves = tree.leaves_in(block);
    leaves.map(|(_, leaf)| leaf.phys..leaf.phys + leaf.size.len_bytes()).collect()
}

/// One change to a whole range.
fn change_range<'a, O: Modelled>(
    range: VaRange<O, Cpu<'a>>,
    change: Concrete,
) -> Result<Detached<O, Cpu<'a>>, Rejected<VaRange<O, Cpu<'a>>>> {
    match change {
        Concrete::Unmap(_) => range.unmap(),
        Concrete::Detach(_) => range.detach(),
        Concrete::DetachLeafTables(_) => range.detach_leaf_tables(),
        Concrete::Trim => Ok(range.trim()),
        Concrete::Protect(_, rights) => range.protect(O::attributes(rights)),
        Concrete::Split(Size::Huge, at) => range.split::<Size1GiB>(at),
        Concrete::Split(_, at) => range.split::<Size2MiB>(at),
        Concrete::Promote(Size::Huge, at) => range.promote::<Size1GiB>(at),
        Concrete::Promote(_, at) => range.promote::<Size2MiB>(at),
    }
}

/// One change to a part of a cursor's range.
pub(super) fn change_part<'a, O: Modelled>(
    cursor: &mut Cursor<O, Cpu<'a>>,
    change: Concrete,
) -> Result<(), Error> {
    match change {
        Concrete::Unmap(range) => cursor.unmap(range),
        Concrete::Detach(range) => cursor.detach(range),
        Concrete::DetachLeafTables(range) => cursor.detach_leaf_tables(range),
        Concrete::Trim => {
            cursor.trim();
            Ok(())
        }
        Concrete::Protect(range, rights) => cursor.protect(range, O::attributes(rights)),
        Concrete::Split(Size::Huge, at) => cursor.split::<Size1GiB>(at),
        Concrete::Split(_, at) => cursor.split::<Size2MiB>(at),
        Concrete::Promote(Size::Huge, at) => cursor.promote::<Size1GiB>(at),
        Concrete::Promote(_, at) => cursor.promote::<Size2MiB>(at),
    }
}
