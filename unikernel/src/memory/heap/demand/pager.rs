//! Credit, page faults and unmapping in one region.

use super::page_map::{BLOCK_LEN, PageMap, granules_of};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::atomic::{AtomicU64, Ordering};
use crate::memory::frame::{FrameBatch, FrameCredit};
use crate::memory::heap::GRANULE_LEN;
use crate::memory::page_size::{PARTS, PageSize, Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::DataAccess;
use crate::memory::page_table::span::Span;
use crate::memory::page_table::{Error, LeafCounts, Machine, Rejected, Tracked, VaRange, VirtRange};
use core::ops::Range;

/// Frames in a granule.
pub(super) const GRANULE_FRAMES: u64 = GRANULE_LEN as u64 / PAGE_LEN;

/// A machine whose frames can be cleared before they are mapped.
///
/// # Safety
/// After [`clear`](Self::clear) the memory is all zeros, as every mapping shows it.
pub unsafe trait ClearFrames: Machine {
    /// Clears physical memory.
    ///
    /// # Safety
    /// The caller owns all of it, as frames.
    unsafe fn clear(&self, start: PhysAddr, len_bytes: u64);
}

/// Why an access can't be helped by mapping a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPaged {
    /// The address is none of the region's.
    Outside,
    /// The address is not handed out.
    NotHandedOut,
    /// There was no frame in spite of the credit: somebody has given one away that was promised.
    CreditBroken,
}

/// How often pages came: by faults, or asked for beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Some pages of 4 KiB.
    pub small: u64,
    /// A page of 2 MiB.
    pub large: u64,
    /// How often 2 MiB would have been mapped, had a large frame been free.
    pub large_missed: u64,
}

/// A region of the tracked subtree, whose pages come on demand.
pub struct Pager<'a, M: ClearFrames> {
    pub(super) machine: M,
    /// Whole blocks.
    pub(super) region: Span,
    pub(super) map: PageMap<'a>,
    /// How much small pages of a block are mapped at once, in bytes.
    around_bytes: u64,
    /// Frames that are promised and not yet mapped: a page each for all that is handed out, and one for the table of each
    /// block that is in use and has neither a table nor a large leaf.
    credit: AtomicU64,
    small: AtomicU64,
    large: AtomicU64,
    large_missed: AtomicU64,
}

impl<'a, M: ClearFrames> Pager<'a, M> {
    /// A pager of a range that begins and ends at multiples of [`BLOCK_LEN`], in which nothing is mapped, and as many blocks
    /// of which can be handed out as the map has. Makes the tables of level 2 and up. `around_bytes`, a power of two between
    /// [`GRANULE_LEN`] and [`BLOCK_LEN`], is what small pages are mapped of at once: the more, the more a fault costs.
    ///
    /// # Errors
    /// The range, with [`Error::OutOfFrames`], [`Error::Unaligned`].
    pub fn new(
        machine: M,
        mut range: VaRange<Tracked, M>,
        map: PageMap<'a>,
        around_bytes: u64,
    ) -> Result<Self, Rejected<VaRange<Tracked, M>>> {
        let region = range.span();
        if !region.start.is_multiple_of(BLOCK_LEN) || !region.end.is_multiple_of(BLOCK_LEN) {
            let error = Error::Unaligned { range: range.range(), align_bytes: BLOCK_LEN };
            return Err(Rejected::new(error, range));
        }
        if let Err(error) = range.build_tables() {
            return Err(Rejected::new(error, range));
        }
        // The rules of the module stand in for the range, which ends here.
        let zero = || AtomicU64::new(0);
        let (credit, small, large, large_missed) = (zero(), zero(), zero(), zero());
        let around_bytes = around_bytes.clamp(GRANULE_LEN as u64, BLOCK_LEN).next_power_of_two();
        Ok(Self { machine, region, map, around_bytes, credit, small, large, large_missed })
    }

    /// The machine.
    pub fn machine(&self) -> M {
        self.machine
    }

    /// Its addresses.
    #[must_use]
    pub fn region(&self) -> VirtRange {
        self.region.range()
    }

    /// Frames that are promised and not yet mapped.
    #[must_use]
    pub fn credit_frames(&self) -> u64 {
        self.credit.load(Ordering::Relaxed)
    }

    /// Bytes that are handed out.
    #[must_use]
    pub fn handed_out_bytes(&self) -> u64 {
        let blocks = self.map.blocks() as u64;
        self.map.count(0..blocks * (BLOCK_LEN / GRANULE_LEN as u64)) * GRANULE_LEN as u64
    }

    /// What is mapped.
    #[must_use]
    pub fn mapped(&self) -> LeafCounts {
        // SAFETY: 1, it is the region's. 2, the piece only reads.
        unsafe { self.piece(self.region) }.count_leaves()
    }

    /// The credit that there should be by what is handed out and mapped: for the audit. Exact while nobody is at work.
    #[must_use]
    pub fn expected_credit_frames(&self) -> u64 {
        let (mut promised, mut tables) = (0, 0);
        for block in 0..self.map.blocks() {
            let start = block as u64 * BLOCK_LEN;
            let granules = self.map.count(granules_of(&(start..start + BLOCK_LEN)));
            if granules > 0 {
                let first = Span::page(self.region.start + start);
                // SAFETY: 1, it is the region's. 2, the piece only reads.
                tables += u64::from(unsafe { self.piece(first) }.has_leaf_table());
                promised += granules * GRANULE_FRAMES + 1;
            }
        }
        let LeafCounts { small, large, huge } = self.mapped();
        promised.wrapping_sub(small + large * (PARTS + 1) + huge * PARTS * PARTS + tables)
    }

    /// Pages that have come so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let [small, large, large_missed] =
            [&self.small, &self.large, &self.large_missed].map(|count| count.load(Ordering::Relaxed));
        Faults { small, large, large_missed }
    }

    /// Whether all of these bytes are handed out, from the region's start on.
    #[must_use]
    pub fn is_handed_out(&self, range: VirtRange) -> bool {
        let Some(bytes) = self.bytes_of(range) else { return false };
        let granules = granules_of(&bytes);
        self.map.count(granules.clone()) == granules.end - granules.start
    }

    /// Maps the page at `address`, cleared, with those around it, or the block, if it is handed out; says how many bytes the
    /// leaf has that maps the address. What is mapped stays as it is. For page faults, and for who knows what will be touched.
    ///
    /// No handler may run meanwhile, one that faults in the same block would wait for ever: interrupts are masked, or only noted
    /// down.
    ///
    /// # Errors
    /// [`NotPaged`].
    pub fn page_in(&self, address: VirtAddr) -> Result<u64, NotPaged> {
        let at = self.region.address_inside(address).ok_or(NotPaged::Outside)?;
        let offset = at - self.region.start;
        let block = (offset / BLOCK_LEN) as usize;
        let _claim = self.map.claim(block).ok_or(NotPaged::NotHandedOut)?;
        if !self.map.is_handed_out(offset / GRANULE_LEN as u64) {
            return Err(NotPaged::NotHandedOut);
        }
        if self.map.wants_large(block) {
            let span = Span::block(at, BLOCK_LEN.trailing_zeros());
            // SAFETY: 1, it is the region's. 2, by rules 3 and 4 nobody else changes the block.
            let range = unsafe { self.piece(span) };
            if range.query(address).is_some() || self.map_large(range) {
                return Ok(BLOCK_LEN);
            }
            // From here on the block has a table.
            self.map.set_wants_large(block, false);
        }
        // SAFETY: 1, it is the region's. 2, by rules 2 and 3 nobody else changes pages of it that are handed out.
        let around = unsafe { self.piece(Span::block(at, self.around_bytes.trailing_zeros())) };
        match around.query(address) {
            Some(leaf) => Ok(leaf.range.len_bytes),
            None => self.map_small(around),
        }
    }

    /// Maps a block by a large leaf; says whether there was a frame for it.
    fn map_large(&self, mut block: VaRange<Tracked, M>) -> bool {
        let Some(mut credit) = self.withdraw(PARTS) else { return false };
        let frame = credit.take_large();
        self.deposit(credit);
        let Some(frame) = frame else {
            self.large_missed.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        // SAFETY: the frame is owned.
        unsafe { self.machine.clear(frame.start(), Size2MiB::LEN_BYTES) };
        let at = block.range().start;
        let Ok(()) = block.map(at, frame, DataAccess::ReadWrite) else {
            unreachable!("the block was handed out when it had no table, and got none since")
        };
        self.large.fetch_add(1, Ordering::Relaxed);
        // It needs no table any more.
        drop(self.withdraw(1));
        true
    }

    /// Maps all pages of a piece of a block that are handed out and not mapped, with the block's table if that is missing: a
    /// fault costs several times what a page does, and who touches one page mostly touches the next.
    fn map_small(&self, mut around: VaRange<Tracked, M>) -> Result<u64, NotPaged> {
        let mut tables = FrameBatch::<Size4KiB, M>::new(self.machine);
        if !around.has_leaf_table() {
            let table = self.withdraw(1).and_then(|mut credit| credit.take());
            // The batch is of the same machine.
            let _ = tables.push(table.ok_or(NotPaged::CreditBroken)?.into());
        }
        let VirtRange { start, len_bytes } = around.range();
        for offset in (0..len_bytes).step_by(PAGE_LEN as usize) {
            let at = VirtAddr::new(start.as_u64() + offset);
            if !self.is_handed_out(VirtRange::new(at, PAGE_LEN)) || around.query(at).is_some() {
                continue;
            }
            let frame =
                self.withdraw(1).and_then(|mut credit| credit.take()).ok_or(NotPaged::CreditBroken)?;
            // SAFETY: the frame is owned.
            unsafe { self.machine.clear(frame.start(), PAGE_LEN) };
            let mapped = around.map_with_tables(at, frame, DataAccess::ReadWrite, &mut tables);
            mapped.map_err(|_| NotPaged::CreditBroken)?;
        }
        self.small.fetch_add(1, Ordering::Relaxed);
        Ok(PAGE_LEN)
    }

    /// Bytes from the region's start on, if the range lies in it.
    fn bytes_of(&self, range: VirtRange) -> Option<Range<u64>> {
        let start = range.start.as_u64().checked_sub(self.region().start.as_u64())?;
        let end = start.checked_add(range.len_bytes)?;
        (end <= self.region.len_bytes()).then_some(start..end)
    }

    /// Takes frames out of the ledger.
    pub(super) fn withdraw(&self, frames: u64) -> Option<FrameCredit<M>> {
        let less = |credit: u64| credit.checked_sub(frames);
        self.credit.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok()?;
        // SAFETY: the number was taken out of the ledger, into which credit came by `deposit` alone.
        Some(unsafe { FrameCredit::from_frames(self.machine, frames) })
    }

    pub(super) fn deposit(&self, credit: FrameCredit<M>) {
        self.credit.fetch_add(credit.into_frames(), Ordering::Relaxed);
    }

    /// A piece of the region.
    ///
    /// # Safety
    /// 1. It lies in the region.
    /// 2. While it is used, nobody else changes what is mapped there, by the rules of the module.
    pub(super) unsafe fn piece(&self, span: Span) -> VaRange<Tracked, M> {
        // SAFETY: 1, the region is of this kind. 2, by the caller's promise.
        unsafe { VaRange::new(self.machine, span) }
    }
}
