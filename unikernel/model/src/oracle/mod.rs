//! What must come of each operation, by maps of pages.
//!
//! | file | about |
//! |---|---|
//! | `block` | checked ranges |
//! | `rights` | what mappings allow |
//! | `tree` | what is mapped in one kind, and which tables there are |
//! | `addresses` | which addresses of a kind are free |
//! | `mapping` | what mapping must do |
//! | `changes` | what must come of what can take something away |
//! | `relocation` | what a move must do |
//! | `debt` | what awaits a flush |

mod addresses;
mod block;
mod changes;
mod debt;
mod mapping;
mod relocation;
mod rights;
mod tree;

pub(crate) use addresses::Addresses;
pub(crate) use block::Block;
pub(crate) use changes::Concrete;
pub(crate) use debt::Debt;
pub(crate) use mapping::Mapped;
pub(crate) use rights::{Cache, Rights};
pub(crate) use tree::{Dead, Tree};

use unikernel::memory::audit::AuditReport;
use unikernel::memory::kind::Kind;

/// What the machine is like, as far as results depend on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub(crate) one_gib_leaves: bool,
}

/// The whole machine by plain maps.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) trees: [Tree; 3],
    pub(crate) addresses: [Addresses; 3],
    /// Frames of 4 KiB that were free after boot.
    pub(crate) free_at_boot: u64,
    /// Those that the world holds as values.
    pub(crate) held: u64,
    /// Tables that were replaced by a leaf, and not released.
    pub(crate) retired: u64,
    /// How many sets of things await a flush, those that were forgotten included.
    pub(crate) outstanding: usize,
}

impl Oracle {
    pub(crate) fn new(free_at_boot: u64) -> Self {
        Self {
            trees: Kind::ALL.map(Tree::new),
            addresses: Kind::ALL.map(Addresses::new),
            free_at_boot,
            held: 0,
            retired: 0,
            outstanding: 0,
        }
    }

    pub(crate) fn tree(&mut self, kind: Kind) -> &mut Tree {
        &mut self.trees[kind as usize]
    }

    pub(crate) fn addresses(&mut self, kind: Kind) -> &mut Addresses {
        &mut self.addresses[kind as usize]
    }

    /// Frames of 4 KiB that must be free.
    pub(crate) fn free(&self) -> u64 {
        let used: u64 = self.trees.iter().map(|tree| tree.table_frames() + tree.heap_frames()).sum();
        self.free_at_boot - used - self.held - self.retired
    }

    /// Compares with what an audit counted.
    pub(crate) fn check(&self, report: &AuditReport) {
        assert!(report.is_clean(), "{report}");
        for tree in &self.trees {
            assert_eq!(report.kind(tree.kind()), &tree.counts(), "tables and leaves of {}", tree.kind());
        }
        let heap: u64 = self.trees.iter().map(Tree::heap_frames).sum();
        let frames = &report.frames;
        assert_eq!(
            (frames.heap, frames.held, frames.retired),
            (heap, self.held, self.retired),
            "frames of heap leaves, held, replaced"
        );
        assert_eq!(report.outstanding, self.outstanding, "how many await a flush");
    }
}
