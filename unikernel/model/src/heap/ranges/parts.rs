//! Parts of ranges that go back and come again.

use super::World;
use super::check::Ledger;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::heap::GRANULE_LEN;
use unikernel::memory::heap::demand::BLOCK_LEN;

impl World<'_, '_> {
    pub(super) fn give_back_part(&mut self, which: u8, at: usize, len_bytes: usize) {
        let Some(byte) = self.ranges.pick(which, |owned| owned.in_parts) else { return };
        let Some(owned) = self.ranges.owned.get_mut(&byte) else { return };
        let first = byte + at % owned.len_bytes;
        let end = (first + len_bytes).min(byte + owned.len_bytes);
        // Whole granules, and no large leaf that reaches beyond them.
        let whole_start = self.ground.end_of_leaf(first.next_multiple_of(GRANULE_LEN));
        let mut whole_end = end - end % GRANULE_LEN;
        if self.ground.end_of_leaf(whole_end) != whole_end {
            whole_end -= whole_end % BLOCK_LEN as usize;
        }
        let base = self.ground.base;
        // SAFETY: the range was reserved, and nobody uses the part.
        let gone = unsafe { self.ground.source.give_back_part(base + first..base + end) };
        if whole_start < whole_end {
            assert_eq!(gone, base + whole_start..base + whole_end);
            owned.missing.extend((whole_start - byte) / GRANULE_LEN..(whole_end - byte) / GRANULE_LEN);
            self.fault(whole_start);
            self.fault(whole_end - 1);
        } else {
            assert!(gone.is_empty(), "{gone:#x?} of {first:#x}..{end:#x}");
        }
    }

    pub(super) fn hand_out_again(&mut self, which: u8, at: usize, granules: usize) {
        let pick = self.ranges.pick(which, |owned| !owned.missing.is_empty());
        let Some(byte) = pick.or_else(|| self.ranges.pick(which, |owned| owned.in_parts)) else { return };
        let Some(owned) = self.ranges.owned.get_mut(&byte) else { return };
        let first = at % owned.len_bytes;
        let end = (first + granules * GRANULE_LEN).min(owned.len_bytes);
        let part = first / GRANULE_LEN..end.div_ceil(GRANULE_LEN);
        let missing = part.clone().filter(|granule| owned.missing.contains(granule)).count() as u64;
        let blocks = (end - first) as u64 / BLOCK_LEN + 2;
        let (before, free) = (Ledger::of(&self.ground), self.ground.free_frames());
        let address = self.ground.base + byte;
        // SAFETY: the part lies in a range that was reserved.
        if unsafe { self.ground.source.hand_out_again(address + first..address + end) } {
            part.for_each(|granule| {
                owned.missing.remove(&granule);
            });
            self.fault(byte + first);
        } else {
            // What was kept has gone, to make room, and nothing else: whether it has all gone is checked after each step.
            let after = Ledger::of(&self.ground);
            let was_kept = !core::mem::take(&mut self.ranges.loose).is_empty();
            assert!(
                after == before || was_kept && after.pages().1 >= before.pages().1,
                "{after:?} after {before:?}"
            );
            let enough = missing * (GRANULE_LEN as u64 / PAGE_LEN) + blocks;
            assert!(free < enough, "{missing} granules were refused, and {free} frames were free");
        }
    }
}
