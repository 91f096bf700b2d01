//! The live page tables as the processor reads them, from CR3 by entry bits alone (Intel SDM volume 3, 4.5): code of its own,
//! that shares nothing with the kernel's audit but the window through which tables are read.

use alloc::vec::Vec;
use unikernel::heap;
use unikernel::memory::address::PhysAddr;
use unikernel::memory::live::in_ram_window;
use x86::controlregs::cr3;

pub(crate) const PRESENT: u64 = 1 << 0;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
pub(crate) const WRITE_THROUGH: u64 = 1 << 3;
pub(crate) const CACHE_DISABLE: u64 = 1 << 4;
/// Of an entry above the last level: it is a leaf.
const LARGE: u64 = 1 << 7;
/// Selects the upper half of the PAT, in a leaf of the last level.
pub(crate) const PAT_OF_4KIB: u64 = 1 << 7;
/// The same in a larger leaf.
pub(crate) const PAT_OF_LARGE: u64 = 1 << 12;
pub(crate) const GLOBAL: u64 = 1 << 8;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A leaf, with what all levels together allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) virt: u64,
    pub(crate) phys: u64,
    pub(crate) len_bytes: u64,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
    /// The user bit, if it is the same at every level.
    pub(crate) user: Option<bool>,
    /// As it is in the table.
    pub(crate) entry: u64,
}

impl Leaf {
    pub(crate) fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.virt) < self.len_bytes
    }

    /// Where the address leads.
    pub(crate) fn phys_of(&self, address: u64) -> u64 {
        self.phys + (address - self.virt)
    }

    pub(crate) fn slot(&self) -> u64 {
        self.virt >> 39 & 0x1ff
    }
}

/// An entry, where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Physical address of the table.
    table: u64,
    index: usize,
    /// 4 for an entry of the root.
    pub(crate) level: u32,
}

impl Place {
    /// Physical address of the table that it is in.
    pub(crate) fn table(self) -> u64 {
        self.table
    }

    fn cell(self) -> *mut u64 {
        in_ram_window(PhysAddr::new(self.table)).cast::<u64>().wrapping_add(self.index)
    }

    pub(crate) fn read(self) -> u64 {
        // SAFETY: a table that the processor walks is RAM, which the window shows.
        unsafe { self.cell().read_volatile() }
    }

    /// Changes the entry behind the kernel's back.
    ///
    /// # Safety
    /// Nobody uses what it translated before, or translates after.
    pub(crate) unsafe fn write(self, entry: u64) {
        // SAFETY: the window shows tables writable; the caller's promise.
        unsafe { self.cell().write_volatile(entry) };
    }
}

fn root() -> u64 {
    // SAFETY: reading CR3 changes nothing.
    unsafe { cr3() & ADDRESS }
}

/// Bytes that an entry of a level translates.
const fn span(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

fn is_leaf(entry: u64, level: u32) -> bool {
    level == 1 || level < 4 && entry & LARGE != 0
}

/// The entry at which the walk for an address ends: a leaf, or one that is not present.
pub(crate) fn end_of_walk(address: u64) -> Place {
    let mut table = root();
    let mut level = 4;
    loop {
        let place = Place { table, index: (address / span(level)) as usize % 512, level };
        let entry = place.read();
        if entry & PRESENT == 0 || is_leaf(entry, level) {
            return place;
        }
        (table, level) = (entry & ADDRESS, level - 1);
    }
}

/// Where the root has its entry for a slot.
pub(crate) fn root_place(slot: usize) -> Place {
    Place { table: root(), index: slot, level: 4 }
}

/// What the entries above allow.
#[derive(Clone, Copy)]
struct Rights {
    writable: bool,
    executable: bool,
    user: Option<bool>,
}

impl Rights {
    fn below(self, entry: u64) -> Self {
        Self {
            writable: self.writable && entry & WRITABLE != 0,
            executable: self.executable && entry & NO_EXECUTE == 0,
            user: self.user.filter(|user| *user == (entry & USER != 0)),
        }
    }
}

/// All leaves, by address.
pub(crate) fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    // The list lies in the heap, whose pages come on demand: what it adds itself has to be there before the walk.
    loop {
        heap::prefault(leaves.spare_capacity_mut());
        let capacity = leaves.capacity();
        walk_all(&mut leaves);
        if leaves.capacity() == capacity {
            return leaves;
        }
        leaves.clear();
        leaves.reserve(capacity);
    }
}

fn walk_all(leaves: &mut Vec<Leaf>) {
    for slot in 0..512 {
        let entry = root_place(slot).read();
        if entry & PRESENT != 0 {
            let all = Rights { writable: true, executable: true, user: Some(entry & USER != 0) };
            let start = (slot as u64 * span(4)) as i64;
            walk(entry & ADDRESS, 3, (start << 16 >> 16) as u64, all.below(entry), leaves);
        }
    }
}

fn walk(table: u64, level: u32, base: u64, rights: Rights, leaves: &mut Vec<Leaf>) {
    for index in 0..512 {
        let entry = Place { table, index, level }.read();
        if entry & PRESENT == 0 {
            continue;
        }
        let (virt, rights) = (base + index as u64 * span(level), rights.below(entry));
        if is_leaf(entry, level) {
            let Rights { writable, executable, user } = rights;
            let len_bytes = span(level);
            // Bit 12 of a large leaf is part of its cache type.
            let phys = entry & ADDRESS & !(len_bytes - 1);
            leaves.push(Leaf { virt, phys, len_bytes, writable, executable, user, entry });
        } else {
            walk(entry & ADDRESS, level - 1, virt, rights, leaves);
        }
    }
}

/// The leaf that maps an address.
pub(crate) fn leaf_of(leaves: &[Leaf], address: u64) -> Option<&Leaf> {
    leaves.iter().find(|leaf| leaf.contains(address))
}

/// Two leaves of which one is writable and one executable, and that show the same memory.
pub(crate) fn writable_and_executable(leaves: &[Leaf]) -> Option<(&Leaf, &Leaf)> {
    let pairs = leaves.iter().filter(|leaf| leaf.executable).flat_map(|executable| {
        leaves.iter().filter(|leaf| leaf.writable).map(move |writable| (writable, executable))
    });
    let overlap = |first: &Leaf, second: &Leaf| {
        first.phys < second.phys + second.len_bytes && second.phys < first.phys + first.len_bytes
    };
    pairs.into_iter().find(|(writable, executable)| overlap(writable, executable))
}
