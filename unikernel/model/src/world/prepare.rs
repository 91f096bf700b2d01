//! What operations need to have something to work on, where it is seldom there by chance.

use super::World;
use super::modelled::Modelled;
use crate::operation::{Change, Form, Release, Step, Supply};
use crate::oracle::Block;
use crate::place::{Length, Part, Place};
use crate::size::{PARTS, Size};

const EVERYWHERE: Block = Block { start: 0, end: 1 << 48 };

impl World<'_> {
    /// A program that has no range of a kind gets hot ones, or those back that wait.
    pub(super) fn ensure_range<O: Modelled>(&mut self) {
        if O::side(&mut self.sides).ranges.is_empty() {
            self.reserve_hot::<O>();
        }
        if O::side(&mut self.sides).ranges.is_empty() {
            self.flush::<O>(0, Release::Shootdown, None);
        }
    }

    /// Maps a large leaf for a split, or 512 for a promotion, if there are none.
    pub(super) fn ensure_leaves<O: Modelled>(&mut self, range: u8, change: Change) {
        let tree = self.oracle.tree(O::KIND);
        let (size, count) = match change {
            Change::Promote(size, Place::Leaf(_))
                if tree.full_tables_in(EVERYWHERE, size.part()).is_empty() =>
            {
                (size.part(), PARTS)
            }
            Change::Split(size, Place::Leaf(_)) if !tree.leaves.values().any(|leaf| leaf.size == size) => {
                (size, 1)
            }
            _ => return,
        };
        let supply =
            Supply { size, count, form: Form::Run, memory: range % 4, rights: range >> 4, exact: false };
        self.map::<O>(range, Place::Behind(Size::Small, 0), &supply, None, None);
        if count == PARTS && !range.is_multiple_of(4) {
            self.spoil::<O>(range, &supply);
        }
    }

    /// Makes one of 512 leaves differ from the others, in rights or in place.
    fn spoil<O: Modelled>(&mut self, range: u8, supply: &Supply) {
        let tables = self.oracle.tree(O::KIND).full_tables_in(EVERYWHERE, supply.size);
        let Some(table) = tables.first() else { return };
        let offset = u64::from(range) * 2 % PARTS * supply.size.len_bytes();
        let at = Place::Wild(table.as_u64() + offset);
        let part = Part { at, len: Length::OfLeaf };
        if range % 4 == 1 {
            self.cursor::<O>(range, &[Step::Change(Change::Protect(supply.rights ^ 1), part)], None);
            self.flush_all::<O>();
        } else if range % 4 == 2 {
            self.cursor::<O>(range, &[Step::Change(Change::Unmap, part)], None);
            self.flush_all::<O>();
            let other = Supply { count: 1, form: Form::Single, memory: supply.memory + 1, ..*supply };
            self.map::<O>(range, at, &other, None, None);
        }
    }
}
