//! What awaits a flush.

use super::Block;
use std::collections::BTreeSet;
use unikernel::memory::page_table::FlushRequest;

/// What one owner of a range has to flush.
#[derive(Debug, Default)]
pub(crate) struct Debt {
    /// Around all of it: nothing may be mapped there.
    pub(crate) hull: Option<Block>,
    /// Blocks with a stale translation each, or entry that led to a table.
    pub(crate) stale: Vec<Block>,
    /// Whether something was taken out by an entry that does not translate 2 MiB.
    pub(crate) unmovable: bool,
    /// Tables that were replaced.
    pub(crate) retired: u64,
}

/// More pages than that are flushed together by any host.
const PAGES_NAMED: u64 = 4096;

impl Debt {
    /// `stale` has to be flushed, and nothing may be mapped in `around` meanwhile.
    pub(crate) fn owe(&mut self, stale: Block, around: Block) {
        self.stale.push(stale);
        self.hull = Some(self.hull.map_or(around, |hull| hull.hull(around)));
    }

    /// Checks that a shootdown was asked for all of it.
    pub(crate) fn check(&self, request: &FlushRequest) {
        let Some(ranges) = request.ranges() else { return };
        let ranges: Vec<Block> = ranges.map(Block::of).collect();
        let pages: Option<BTreeSet<u64>> =
            request.pages(PAGES_NAMED).map(|pages| pages.map(|page| page.as_u64() % (1 << 48)).collect());
        for stale in &self.stale {
            assert!(ranges.iter().any(|range| range.contains(*stale)), "{stale:?} is not in {request:?}");
            if let Some(pages) = &pages {
                let named = pages.range(stale.start..stale.end).next().is_some();
                assert!(named, "no page of {stale:?} is named by {request:?}");
            }
        }
    }
}
