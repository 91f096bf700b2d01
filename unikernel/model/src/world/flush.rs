//! Flushing and releasing, on both.

use super::apply::agreed;
use super::ground::squeezed;
use super::modelled::Modelled;
use super::{Cpu, Outcome, Waiting, World};
use crate::operation::Release;
use crate::oracle::{Block, Dead, Debt};
use crate::place::Place;
use crate::size::Size;
use core::cell::Cell;
use unikernel::memory::page_table::{Detached, FlushRequest, Flushed, Shootdown, VaRange, VirtRange, flush};

/// A shootdown on a machine that no processor walks, which checks what it is asked for.
struct Checked<'d> {
    debts: Vec<&'d Debt>,
    asked: Cell<usize>,
}

// SAFETY: 1 to 3, no processor ever loaded a simulated table, so none has a translation.
unsafe impl Shootdown<Cpu<'_>> for Checked<'_> {
    fn invalidate(&self, request: &FlushRequest) {
        self.asked.set(self.asked.get() + 1);
        self.debts.iter().for_each(|debt| debt.check(request));
    }
}

impl<'d> Checked<'d> {
    fn new(debts: Vec<&'d Debt>) -> Self {
        Self { debts, asked: Cell::new(0) }
    }

    /// It must be asked once if there is something to flush, and else not at all.
    fn check(&self) {
        let owing = self.debts.iter().any(|debt| debt.hull.is_some());
        assert_eq!(self.asked.get(), usize::from(owing), "shootdowns for {:?}", self.debts);
    }
}

/// Flushes by a shootdown, which must be asked for all of the debt.
pub(super) fn shot_down<'a, O: Modelled>(
    detached: Detached<O, Cpu<'a>>,
    debt: &Debt,
) -> Flushed<Detached<O, Cpu<'a>>> {
    let by = Checked::new(vec![debt]);
    let flushed = flush(detached, &by);
    by.check();
    flushed
}

impl<'a> World<'a> {
    fn pick_waiting<O: Modelled>(&mut self, which: u8) -> Option<Waiting<'a, O>> {
        let waiting = &mut O::side(&mut self.sides).waiting;
        (!waiting.is_empty()).then(|| waiting.swap_remove(usize::from(which) % waiting.len()))
    }

    pub(super) fn flush<O: Modelled>(&mut self, which: u8, release: Release, spare: Option<u64>) -> Outcome {
        let Some(Waiting { detached, debt, owned }) = self.pick_waiting::<O>(which) else {
            return Outcome::Skipped;
        };
        let mut flushed = if release == Release::Inactive {
            match self.ground.inactive.flush(detached) {
                Ok(flushed) => flushed,
                Err(_) => panic!("{owned:?} belongs to this address space"),
            }
        } else {
            shot_down(detached, &debt)
        };
        if let Release::Take(size, place) = release {
            self.take::<O>(&mut flushed, &debt, owned, size, place);
            self.check_frames();
        }
        self.released(flushed, &debt, owned, spare);
        agreed(Ok(()))
    }

    fn take<O: Modelled>(
        &mut self,
        flushed: &mut Flushed<Detached<O, Cpu<'a>>>,
        debt: &Debt,
        owned: Block,
        size: Size,
        place: Place,
    ) {
        let tree = self.oracle.tree(O::KIND);
        let around = debt.hull.unwrap_or(owned);
        // A place that counts leaves means what was taken out, or else what was not and lies among it.
        let at = match place {
            Place::Leaf(index) if index % 4 == 3 => place.resolve(around, tree, size, size),
            Place::Leaf(index) => {
                let dead = tree.dead_in(around);
                let start = dead.get(usize::from(index) % dead.len().max(1)).copied();
                Block::new(start.unwrap_or(around.start), 1).range().start
            }
            _ => place.resolve(owned, tree, size, size),
        };
        let leaf = Block::check(VirtRange::new(at, size.len_bytes()), size.len_bytes()).ok();
        let leaf = leaf.filter(|leaf| debt.hull.is_some_and(|hull| hull.contains(*leaf)));
        let expected = leaf.and_then(|block| match tree.dead.get(&block.start) {
            Some(Dead::Leaf(leaf)) if leaf.size == size && tree.owns() => Some((block.start, leaf.phys)),
            _ => None,
        });
        if let Some((start, _)) = expected {
            tree.dead.remove(&start);
        }
        let found = O::take(flushed, &mut self.ground, size, at);
        assert_eq!(found, expected.map(|(_, phys)| phys), "the {size:?} frame taken at {at}");
        self.oracle.held = self.ground.taken.len() as u64;
    }

    pub(super) fn released<O: Modelled>(
        &mut self,
        flushed: Flushed<Detached<O, Cpu<'a>>>,
        debt: &Debt,
        owned: Block,
        spare: Option<u64>,
    ) {
        let (range, freed): (VaRange<O, _>, _) =
            squeezed(self.ground.cpu, spare, |_| flushed.release_counted());
        assert_eq!(range.range(), owned.range(), "the range that comes back");
        self.put_back(range);
        assert_eq!(freed, self.oracle.tree(O::KIND).release(debt), "what is freed of {owned:?}");
        self.settled(debt);
    }

    /// The debt is paid.
    pub(super) fn settled(&mut self, debt: &Debt) {
        self.oracle.retired -= debt.retired;
        self.oracle.outstanding -= usize::from(debt.hull.is_some());
    }

    pub(super) fn flush_pair<A: Modelled, B: Modelled>(
        &mut self,
        which: [u8; 2],
        second_first: bool,
    ) -> Outcome {
        let Some(first) = self.pick_waiting::<A>(which[0]) else { return Outcome::Skipped };
        let Some(second) = self.pick_waiting::<B>(which[1]) else {
            A::side(&mut self.sides).waiting.push(first);
            return self.flush::<A>(0, Release::Shootdown, None);
        };
        let by = Checked::new(vec![&first.debt, &second.debt]);
        let (one, two) = flush((first.detached, second.detached), &by).split();
        by.check();
        if second_first {
            self.released(two, &second.debt, second.owned, None);
            self.check_frames();
            self.released(one, &first.debt, first.owned, None);
        } else {
            self.released(one, &first.debt, first.owned, None);
            self.check_frames();
            self.released(two, &second.debt, second.owned, None);
        }
        Outcome::Done
    }

    pub(super) fn forget<O: Modelled>(&mut self, which: u8) -> Outcome {
        let Some(Waiting { detached, .. }) = self.pick_waiting::<O>(which) else { return Outcome::Skipped };
        drop(detached);
        self.leaked = true;
        Outcome::Done
    }

    /// Flushes and releases all that waits.
    pub(super) fn flush_all<O: Modelled>(&mut self) {
        while self.flush::<O>(0, Release::Shootdown, None) != Outcome::Skipped {}
    }
}
