//! Whether the source, the pager, the frames and the tables agree with the model.

use super::operation::Hold;
use super::{Ground, Held, World};
use core::alloc::Layout;
use core::ptr::NonNull;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::audit::{MappedLeaf, audit, look_up};
use unikernel::memory::frame::FrameSource;
use unikernel::memory::heap::demand::{BLOCK_LEN, NotPaged};
use unikernel::memory::heap::{End, GRANULE_LEN, RangeSource};
use unikernel::memory::page_table::{LeafCounts, VirtRange};

/// Every so many steps all frames and tables are looked at.
const AUDIT_EVERY: u64 = 8;

/// What a step that is refused leaves as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    credit: u64,
    handed_out_bytes: u64,
    promised: u64,
    free: u64,
    mapped: LeafCounts,
    /// Of free frames, or of free addresses if those are fewer.
    largest_free_bytes: u64,
}

impl Ledger {
    /// What is mapped, and how many frames are free.
    pub(super) fn pages(&self) -> (LeafCounts, u64) {
        (self.mapped, self.free)
    }

    pub(super) fn of(ground: &Ground<'_, '_>) -> Self {
        let statistics = ground.cpu.frames().statistics();
        Self {
            credit: ground.pager.credit_frames(),
            handed_out_bytes: ground.pager.handed_out_bytes(),
            promised: statistics.promised,
            free: statistics.free,
            mapped: ground.pager.mapped(),
            largest_free_bytes: ground.source.largest_free_bytes(),
        }
    }
}

impl Ground<'_, '_> {
    /// The address of a byte of the region.
    pub(super) fn address(&self, byte: usize) -> VirtAddr {
        VirtAddr::new(self.pager.region().start.as_u64() + byte as u64)
    }

    /// The byte of the region that a range starts with.
    pub(super) fn byte(&self, start: NonNull<u8>) -> usize {
        start.addr().get() - self.base
    }

    /// Where a range starts that the source has given out at this byte of the region.
    pub(super) fn start(&self, byte: usize) -> NonNull<u8> {
        match NonNull::new(self.source.at(self.base + byte)) {
            Some(start) => start,
            None => panic!("the source leads nowhere"),
        }
    }

    pub(super) fn is_handed_out(&self, byte: usize, len_bytes: usize) -> bool {
        self.pager.is_handed_out(VirtRange::new(self.address(byte), len_bytes as u64))
    }

    /// What hardware would find at the byte.
    pub(super) fn leaf_at(&self, byte: usize) -> Option<MappedLeaf> {
        look_up(&self.cpu, self.address(byte))?.leaf
    }

    /// The end of the large leaf that the byte lies inside of, or else the byte.
    pub(super) fn end_of_leaf(&self, byte: usize) -> usize {
        match self.leaf_at(byte) {
            Some(leaf) if leaf.range.len_bytes == BLOCK_LEN => byte.next_multiple_of(BLOCK_LEN as usize),
            _ => byte,
        }
    }

    /// What the source has for its notes, at the start of the region.
    pub(super) fn notes_bytes(&self) -> usize {
        let granules = (0..self.len_bytes).step_by(GRANULE_LEN);
        granules.take_while(|at| self.is_handed_out(*at, GRANULE_LEN)).count() * GRANULE_LEN
    }
}

impl World<'_, '_> {
    /// What must hold after every step.
    pub(super) fn check(&mut self) {
        let Ground { cpu, pager, source, kept_max, .. } = &self.ground;
        let others: u64 = self.held.iter().map(Held::promised).sum();
        assert_eq!(pager.credit_frames(), pager.expected_credit_frames());
        assert_eq!(pager.credit_frames() + others, cpu.frames().promised());
        let (notes, handed_out) = (self.ground.notes_bytes() as u64, pager.handed_out_bytes());
        let kept = handed_out.checked_sub(self.ranges.handed_out_bytes() as u64 + notes);
        assert!(
            kept.is_some_and(|kept| kept <= *kept_max && (kept == 0 || !self.ranges.loose.is_empty())),
            "{handed_out} bytes are handed out, {notes} of them for notes; {kept:?} of at most {kept_max} are kept"
        );
        for (start, owned) in self.ranges.owned.iter().filter(|(_, owned)| owned.missing.is_empty()) {
            assert!(self.ground.is_handed_out(*start, owned.handed_out), "{owned:?} at {start:#x}");
        }
        let free = self.ground.free_frames() * PAGE_LEN;
        assert_eq!(source.len_bytes(), handed_out - notes + free);
        assert!(source.free_bytes() >= free && source.largest_free_bytes() <= source.free_bytes());
        self.steps += 1;
        if self.steps.is_multiple_of(AUDIT_EVERY) {
            self.audit();
        }
    }

    pub(super) fn audit(&self) {
        let report = audit(self.ground.cpu);
        assert!(report.is_clean(), "{report}");
    }

    /// A page fault at a byte that lies in a range, or in none.
    pub(super) fn fault(&self, byte: usize) {
        let address = self.ground.address(byte);
        let known = self.ranges.at(byte).map(|(start, owned)| owned.is_handed_out(byte - start));
        if known.is_none() && (self.ranges.is_loose(byte) || byte < self.ground.notes_bytes()) {
            return;
        }
        let paged = self.ground.pager.page_in(address);
        if known == Some(true) {
            let found = self.ground.leaf_at(byte).map(|leaf| leaf.range.len_bytes);
            assert!(paged.is_ok() && paged.ok() == found, "{paged:?} at {byte:#x}, and there is {found:?}");
        } else if byte < self.ground.len_bytes {
            assert_eq!(paged, Err(NotPaged::NotHandedOut), "at {byte:#x}");
            assert_eq!(self.ground.leaf_at(byte), None, "at {byte:#x}");
        } else {
            assert_eq!(paged, Err(NotPaged::Outside), "at {byte:#x}");
        }
    }

    /// All that is handed out can be touched, when others have all frames that they can have.
    pub(super) fn touch_all(&mut self) {
        let free_frames = self.ground.free_frames();
        self.held.extend(Held::take(self.ground.cpu, Hold::BatchBut(0), free_frames));
        for (start, owned) in &self.ranges.owned {
            let mut at = *start;
            while at < start + owned.handed_out {
                self.fault(at);
                at = self.ground.end_of_leaf(at + 1).max(at + GRANULE_LEN);
            }
        }
        self.check();
        self.audit();
    }

    /// All goes back. What is left is what the notes take.
    pub(super) fn finish(mut self) {
        self.audit();
        while let Some(start) = self.ranges.pick(0, |_| true) {
            self.give_back(start);
        }
        self.held.clear();
        self.trim();
        self.check();
        self.check_largest();
        self.audit();
        let (left, first) = (Ledger::of(&self.ground), self.at_first);
        let notes = left.mapped.small + u64::from(left.mapped.small > 0);
        assert_eq!(left.handed_out_bytes, first.handed_out_bytes);
        assert_eq!(left.largest_free_bytes, first.largest_free_bytes, "addresses are missing or in pieces");
        assert_eq!([left.credit + notes, left.free + notes], [first.credit, first.free]);
        assert_eq!((left.mapped.large, left.mapped.huge), (0, 0));
    }

    /// What the source says could be had can be had, but for what longer notes may take.
    fn check_largest(&mut self) {
        let largest = self.ground.source.largest_free_bytes() as usize;
        let len_bytes = largest.saturating_sub(2 * GRANULE_LEN);
        let Ok(layout) = Layout::from_size_align(len_bytes, GRANULE_LEN) else { return };
        if len_bytes == 0 {
            return;
        }
        let Some(start) = self.ground.source.take(layout, End::Low) else {
            panic!("{len_bytes} bytes could not be had, of {largest} that were said to be free as one")
        };
        // SAFETY: just taken, with this length.
        unsafe { self.ground.source.give_back(start, len_bytes) };
        self.trim();
    }
}
