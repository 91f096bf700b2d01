//! Counting the leaves of a range, by the counts that tables have where those tell it.

use super::entry::EntryKind;
use super::level::{L1, L2, L3, Level, shift};
use super::machine::Machine;
use super::span::Span;
use super::view::View;

/// How many leaves are mapped, by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafCounts {
    /// Of 4 KiB.
    pub small: u64,
    /// Of 2 MiB.
    pub large: u64,
    /// Of 1 GiB.
    pub huge: u64,
}

/// The leaves that translate an address of `span`, in which nothing is detached: the caller has it as a range.
pub(crate) fn count<M: Machine>(machine: &M, span: Span) -> LeafCounts {
    let mut counts = LeafCounts::default();
    count_in(View::root(machine), span, &mut counts);
    counts
}

fn count_in<M: Machine>(view: View<'_, M>, part: Span, counts: &mut LeafCounts) {
    if view.is_empty() {
        return;
    }
    // The count of a table is exact to who owns all of it, and counts what is detached; but nothing is there.
    if view.level() == L1::NUMBER && part == Span::block(part.start, shift(L2::NUMBER)) {
        counts.small += view.live();
        return;
    }
    for (entry, within) in view.parts(part) {
        match entry.kind(view.level()) {
            EntryKind::Leaf => match view.level() {
                L1::NUMBER => counts.small += 1,
                L2::NUMBER => counts.large += 1,
                L3::NUMBER => counts.huge += 1,
                _ => {}
            },
            EntryKind::Node => count_in(view.child(entry), within, counts),
            EntryKind::Absent | EntryKind::DetachedLeaf | EntryKind::DetachedNode | EntryKind::Malformed => {}
        }
    }
}
