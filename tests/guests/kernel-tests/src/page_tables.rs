//! The live page tables, walked from CR3 as the processor does (Intel SDM volume 3, 4.5).

use crate::Test;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use unikernel::memory::ram;
use x86::controlregs::cr3;

pub(crate) const TESTS: &[Test] = &[
    ("page_tables::text_is_read_and_execute", text_is_read_and_execute),
    ("page_tables::everything_else_is_not_executable", everything_else_is_not_executable),
    ("page_tables::no_page_is_writable_and_executable", no_page_is_writable_and_executable),
    ("page_tables::all_ram_is_mapped_one_to_one", all_ram_is_mapped_one_to_one),
    ("page_tables::nothing_but_ram_is_mapped", nothing_but_ram_is_mapped),
];

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const HUGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A leaf, with what all levels above it allow.
#[derive(Clone, Debug)]
struct Leaf {
    virt: Range<u64>,
    phys: Range<u64>,
    writable: bool,
    executable: bool,
}

/// All leaves, by virtual address.
fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    // SAFETY: reading CR3 changes nothing.
    let root = unsafe { cr3() };
    walk(root & ADDRESS, 4, 0, true, true, &mut leaves);
    leaves
}

fn walk(table: u64, level: u32, base: u64, writable: bool, executable: bool, leaves: &mut Vec<Leaf>) {
    let span = 1_u64 << (12 + 9 * (level - 1));
    for index in 0..512 {
        // SAFETY: a table that the processor walks is RAM, and RAM is mapped one to one.
        let entry = unsafe { (table as *const u64).add(index).read_volatile() };
        if entry & PRESENT == 0 {
            continue;
        }
        let mut start = base + index as u64 * span;
        if level == 4 && index >= 256 {
            start |= 0xffff_0000_0000_0000;
        }
        let (writable, executable) =
            (writable && entry & WRITABLE != 0, executable && entry & NO_EXECUTE == 0);
        if level > 1 && entry & HUGE == 0 {
            walk(entry & ADDRESS, level - 1, start, writable, executable, leaves);
        } else {
            // Bit 12 of a huge leaf is part of its cache type.
            let phys = entry & ADDRESS & !(span - 1);
            let virt = start..start.wrapping_add(span);
            leaves.push(Leaf { virt, phys: phys..phys + span, writable, executable });
        }
    }
}

fn leaf_of(leaves: &[Leaf], address: u64) -> &Leaf {
    let Some(leaf) = leaves.iter().find(|leaf| leaf.virt.contains(&address)) else {
        panic!("{address:#x} is not mapped")
    };
    leaf
}

fn text_is_read_and_execute() {
    let leaf = leaf_of(&leaves(), leaf_of as *const () as u64).clone();
    assert!(leaf.executable && !leaf.writable, "{leaf:x?}");
}

fn everything_else_is_not_executable() {
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    let local = [0_u64; 4];
    let heap = Box::new([0_u64; 4]);
    let leaves = leaves();
    let places = [(&raw const CONSTANT, false), (&raw const local, true), (&raw const *heap, true)];
    for (address, writable) in places {
        let leaf = leaf_of(&leaves, address as u64);
        assert!(!leaf.executable && leaf.writable == writable, "{address:p}: {leaf:x?}");
    }
}

fn no_page_is_writable_and_executable() {
    let leaves = leaves();
    let writable: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.writable).collect();
    let executable: Vec<&Leaf> = leaves.iter().filter(|leaf| leaf.executable).collect();
    assert!(!writable.is_empty() && !executable.is_empty());
    for first in &writable {
        for second in &executable {
            let overlap = first.phys.start < second.phys.end && second.phys.start < first.phys.end;
            assert!(!overlap, "writable through {first:x?}, executable through {second:x?}");
        }
    }
}

fn all_ram_is_mapped_one_to_one() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    let leaves = leaves();
    for range in ram.free().ranges() {
        let mut address = range.start;
        while address < range.end {
            let leaf = leaf_of(&leaves, address);
            assert_eq!(leaf.virt, leaf.phys, "free RAM at {address:#x}");
            assert!(leaf.writable && !leaf.executable, "free RAM at {address:#x}: {leaf:x?}");
            address = leaf.virt.end;
        }
    }
}

fn nothing_but_ram_is_mapped() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    for leaf in leaves() {
        let inside = |range: &Range<u64>| range.start <= leaf.phys.start && leaf.phys.end <= range.end;
        assert!(ram.all().ranges().iter().any(inside), "{leaf:x?} leads out of RAM");
    }
    assert!(leaves().iter().all(|leaf| leaf.virt.start != 0), "page 0 is mapped");
}
