//! What live tables say of one address.

use super::walk::is_table;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::kind_of_slot;
use crate::memory::atomic::Ordering;
use crate::memory::kind::Kind;
use crate::memory::page_table::entry::{Entry, EntryKind};
use crate::memory::page_table::level::{ENTRIES, shift};
use crate::memory::page_table::span::Span;
use crate::memory::page_table::{EntryCell, Machine, VirtRange};
use x86::bits64::paging::PTFlags;

/// What there is at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Whose the addresses are, if anybody's.
    pub kind: Option<Kind>,
    /// The live leaf, if one maps it.
    pub leaf: Option<MappedLeaf>,
}

/// A live leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedLeaf {
    /// What it maps: as many bytes as its size.
    pub range: VirtRange,
    /// Where in physical memory it leads.
    pub phys: PhysAddr,
    /// Whether it can be written.
    pub writable: bool,
    /// Whether it can be executed.
    pub executable: bool,
}

/// Looks at the tables as they are, by entry bits alone, with no lock: for who may have interrupted anything. `None` for an
/// address that is not canonical.
#[must_use]
pub fn look_up<M: Machine>(machine: &M, address: VirtAddr) -> Option<Translation> {
    if !address.is_canonical() {
        return None;
    }
    let index = |level: u8| (address.as_u64() >> shift(level)) as usize % ENTRIES;
    let kind = kind_of_slot(index(4));
    let mut table = machine.space().root();
    for level in (1..=4).rev() {
        // SAFETY: the root is a table, and so is what is noted as one.
        let cells = unsafe { machine.table(table) };
        let entry = Entry::from_bits(cells[index(level)].load(Ordering::Acquire));
        match entry.kind(level) {
            EntryKind::Node if is_table(machine, entry.table()) => table = entry.table(),
            EntryKind::Leaf => {
                let leaf = MappedLeaf {
                    range: Span::block(address.as_u64() << 16 >> 16, shift(level)).range(),
                    phys: entry.leaf_phys(level),
                    writable: entry.bits() & PTFlags::RW.bits() != 0,
                    executable: entry.bits() & PTFlags::XD.bits() == 0,
                };
                return Some(Translation { kind, leaf: Some(leaf) });
            }
            _ => break,
        }
    }
    Some(Translation { kind, leaf: None })
}
