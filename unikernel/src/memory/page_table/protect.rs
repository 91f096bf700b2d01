//! Changing what mappings allow. What they own does not matter, so it is done on views.

use super::attributes::lessens;
use super::entry::EntryKind;
use super::error::Error;
use super::machine::Machine;
use super::pending::Pending;
use super::span::Span;
use super::unmap::uncut;
use super::view::View;

/// Gives all leaves of `span` other attributes, as bits. What is not mapped stays so. A flush is owed where something is
/// lessened.
pub(crate) fn protect<M: Machine>(
    machine: &M,
    span: Span,
    attributes: u64,
    pending: &mut Pending<M>,
) -> Result<(), Error> {
    uncut(machine, span)?;
    protect_in(View::root(machine), span, attributes, pending);
    Ok(())
}

fn protect_in<M: Machine>(view: View<'_, M>, part: Span, attributes: u64, pending: &mut Pending<M>) {
    if view.is_empty() {
        return;
    }
    let level = view.level();
    for (entry, within) in view.parts(part) {
        match entry.kind(level) {
            EntryKind::Leaf => {
                view.set(within.start, entry.with_attributes(attributes, level));
                if lessens(entry.attributes(level), attributes) {
                    pending.owe(within, within.len_bytes());
                }
            }
            EntryKind::Node => protect_in(view.child(entry), within, attributes, pending),
            _ => {}
        }
    }
}
