//! Taking tables out that hold nothing. All they own is their own frame, so it is done on views; the release goes by type.

use super::entry::EntryKind;
use super::machine::Machine;
use super::pending::Pending;
use super::span::Span;
use super::view::View;
use crate::memory::PAGE_LEN;

/// Takes the tables out that translate nothing but addresses of `span`, and hold nothing.
pub(crate) fn trim<M: Machine>(machine: &M, span: Span, pending: &mut Pending<M>) {
    trim_in(View::root(machine), span, pending);
}

fn trim_in<M: Machine>(view: View<'_, M>, part: Span, pending: &mut Pending<M>) {
    for (entry, within) in view.parts(part) {
        if entry.kind(view.level()) != EntryKind::Node {
            continue;
        }
        let child = view.child(entry);
        if within == view.block(within.start) && child.is_vacant() {
            view.set(within.start, entry.detached());
            pending.owe(within, PAGE_LEN);
            pending.owe_entries(view.level());
        } else {
            trim_in(child, within, pending);
        }
    }
}
