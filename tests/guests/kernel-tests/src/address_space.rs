//! What is mapped in the live address space, found by a walk of its own, and held against the memory map.

use crate::Test;
use crate::machine::machine;
use crate::walk::{GLOBAL, Leaf, PRESENT, leaf_of, leaves, root_place, writable_and_executable};
use alloc::boxed::Box;
use alloc::vec::Vec;
use unikernel::cpu::host::Host;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::live::regions::{self, Place};
use unikernel::memory::live::{RAM_WINDOW, physical_address};
use unikernel::memory::page_table::{Error, Tracked, VirtRange};
use unikernel::memory::ram;
use unikernel::memory::subtree::Subtree;

pub(crate) const TESTS: &[Test] = &[
    ("address_space::text_is_read_and_execute", text_is_read_and_execute),
    ("address_space::everything_else_is_not_executable", everything_else_is_not_executable),
    ("address_space::no_page_is_writable_and_executable", no_page_is_writable_and_executable),
    ("address_space::the_window_shows_all_ram", the_window_shows_all_ram),
    (
        "address_space::the_window_shows_nothing_but_ram_and_firmware_tables",
        the_window_shows_nothing_but_ram_and_firmware_tables,
    ),
    ("address_space::the_image_is_mapped_one_to_one_by_section", the_image_is_mapped_one_to_one_by_section),
    ("address_space::the_heap_lies_in_one_range_between_guards", the_heap_lies_in_one_range_between_guards),
    ("address_space::the_fault_stack_lies_between_guards", the_fault_stack_lies_between_guards),
    ("address_space::slots_hold_what_the_map_says", slots_hold_what_the_map_says),
    ("address_space::entries_are_as_the_host_wants_them", entries_are_as_the_host_wants_them),
    ("address_space::the_kernels_look_up_agrees", the_kernels_look_up_agrees),
];

const KIB: u64 = 1 << 10;
/// Where the fault stack is mapped, and how long it is.
const FAULT_STACK: u64 = 0xffff_ff80_0000_1000;
const FAULT_STACK_LEN: u64 = 32 * KIB;

fn mapped(leaves: &[Leaf], address: u64) -> Leaf {
    let Some(leaf) = leaf_of(leaves, address) else { panic!("{address:#x} is not mapped") };
    *leaf
}

fn machine_ram() -> &'static ram::Ram {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    ram
}

fn text_is_read_and_execute() {
    let leaf = mapped(&leaves(), mapped as *const () as u64);
    assert!(leaf.executable && !leaf.writable, "{leaf:x?}");
}

fn everything_else_is_not_executable() {
    static CONSTANT: [u64; 4] = [1, 2, 3, 4];
    let local = [0_u64; 4];
    let heap = Box::new([0_u64; 4]);
    let leaves = leaves();
    let places = [(&raw const CONSTANT, false), (&raw const local, true), (&raw const *heap, true)];
    for (address, writable) in places {
        let leaf = mapped(&leaves, address as u64);
        assert!(!leaf.executable && leaf.writable == writable, "{address:p}: {leaf:x?}");
    }
    let text = |leaf: &Leaf| regions::name_of(VirtAddr::new(leaf.virt)) == Some("kernel text");
    let wrong = leaves.iter().find(|leaf| leaf.executable != text(leaf));
    assert!(wrong.is_none(), "{wrong:x?}");
}

fn no_page_is_writable_and_executable() {
    let leaves = leaves();
    assert!(leaves.iter().any(|leaf| leaf.writable) && leaves.iter().any(|leaf| leaf.executable));
    let both = writable_and_executable(&leaves);
    assert!(both.is_none(), "{both:x?}");
}

/// All of it writable, but for what the image only reads or executes.
fn the_window_shows_all_ram() {
    let leaves = leaves();
    for range in machine_ram().all().ranges() {
        let mut phys = range.start;
        while phys < range.end {
            let shown = RAM_WINDOW.as_u64() + phys;
            let leaf = mapped(&leaves, shown);
            assert_eq!(leaf.phys_of(shown), phys, "{leaf:x?}");
            let image = leaf_of(&leaves, phys);
            assert_eq!(leaf.writable, image.is_none_or(|image| image.writable), "{phys:#x}: {leaf:x?}");
            phys = leaf.phys + leaf.len_bytes;
        }
    }
}

fn the_window_shows_nothing_but_ram_and_firmware_tables() {
    let in_window = |leaf: &Leaf| (320..448).contains(&leaf.slot());
    for leaf in leaves().into_iter().filter(in_window) {
        assert_eq!(leaf.virt, RAM_WINDOW.as_u64() + leaf.phys, "{leaf:x?}");
        let ram = machine_ram().all().ranges();
        let is_ram = ram.iter().any(|ram| ram.start <= leaf.phys && leaf.phys + leaf.len_bytes <= ram.end);
        let is_firmware = regions::name_of(VirtAddr::new(leaf.virt)) == Some("firmware tables");
        assert!(is_ram || is_firmware && !leaf.writable, "{leaf:x?} leads out of RAM");
    }
}

/// And nothing else is in the first slot.
fn the_image_is_mapped_one_to_one_by_section() {
    let image: Vec<Leaf> = leaves().into_iter().filter(|leaf| leaf.slot() == 0).collect();
    let mut seen = Vec::new();
    for leaf in &image {
        let name = regions::name_of(VirtAddr::new(leaf.virt));
        let rights = match name {
            Some("kernel text") => (false, true),
            Some("kernel read-only data" | "kernel symbol table") => (false, false),
            Some("kernel data" | "boot stack") => (true, false),
            _ => panic!("{leaf:x?} belongs to no section, but is {name:?}"),
        };
        assert_eq!((leaf.writable, leaf.executable), rights, "{name:?}: {leaf:x?}");
        assert_eq!(leaf.virt, leaf.phys, "{name:?}: {leaf:x?}");
        assert!(!machine_ram().free().contains(leaf.phys), "{name:?}: {leaf:x?} is free");
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(image.iter().all(|leaf| leaf.virt >= 64 * KIB), "a null pointer is mapped");
    let gaps = image.windows(2).filter(|pair| pair[0].virt + pair[0].len_bytes != pair[1].virt).count();
    // One page below the boot stack. Between sections there may be more.
    let stack = image.iter().find(|leaf| regions::name_of(VirtAddr::new(leaf.virt)) == Some("boot stack"));
    let Some(stack) = stack else { panic!("no boot stack") };
    assert!(gaps >= 1 && leaf_of(&image, stack.virt - 1).is_none(), "the guard of {stack:x?} is mapped");
}

/// And each of its frames is free RAM.
fn the_heap_lies_in_one_range_between_guards() {
    let block = Box::new(1_u64);
    let Some(Place::Inside(region)) = regions::place_of(VirtAddr::new(&raw const *block as u64)) else {
        panic!("the heap has no region")
    };
    assert_eq!(region.name, "heap");
    let (start, end) = (region.range.start.as_u64(), region.range.start.as_u64() + region.range.len_bytes);
    let mut heap: Vec<Leaf> = leaves().into_iter().filter(|leaf| (1..256).contains(&leaf.slot())).collect();
    for leaf in &heap {
        assert!(start <= leaf.virt && leaf.virt + leaf.len_bytes <= end, "{leaf:x?}");
        assert!(leaf.writable && !leaf.executable, "{leaf:x?}");
        let free = machine_ram().free().ranges();
        let inside =
            free.iter().any(|free| free.start <= leaf.phys && leaf.phys + leaf.len_bytes <= free.end);
        assert!(inside, "{leaf:x?} is not free RAM");
    }
    heap.sort_by_key(|leaf| leaf.phys);
    let twice = heap.windows(2).find(|pair| pair[0].phys + pair[0].len_bytes > pair[1].phys);
    assert!(twice.is_none(), "one frame for two addresses: {twice:x?}");
    for guard in [start - 4 * KIB, end] {
        let guard = VirtRange::new(VirtAddr::new(guard), 4 * KIB);
        let taken = Subtree::<Tracked>::reserve_at(machine(), guard);
        assert!(matches!(taken, Err(Error::NotFree { .. })), "something could be mapped at {guard}");
    }
}

fn the_fault_stack_lies_between_guards() {
    let leaves = leaves();
    for address in (FAULT_STACK..FAULT_STACK + FAULT_STACK_LEN).step_by(4096) {
        let leaf = mapped(&leaves, address);
        assert!(leaf.writable && !leaf.executable && leaf.len_bytes == 4096, "{leaf:x?}");
        assert_eq!(regions::name_of(VirtAddr::new(address)), Some("fault stack"));
    }
    for guard in [FAULT_STACK - 1, FAULT_STACK + FAULT_STACK_LEN] {
        assert!(leaf_of(&leaves, guard).is_none(), "{guard:#x} is mapped");
    }
}

fn slots_hold_what_the_map_says() {
    for leaf in leaves() {
        let expected = match leaf.slot() {
            0..=255 | 320..448 | 511 => true,
            // The only device that the kernel keeps mapped, where its registers are not MSRs.
            257..320 => regions::name_of(VirtAddr::new(leaf.virt)) == Some("local APIC"),
            _ => false,
        };
        assert!(expected, "{leaf:x?} in slot {}", leaf.slot());
    }
    assert_eq!(root_place(256).read(), 0, "the host's slot");
    for address in [0, 0xffff, 0xffff_8000_0000_0000, u64::MAX] {
        assert!(leaf_of(&leaves(), address).is_none(), "{address:#x} is mapped");
    }
}

fn entries_are_as_the_host_wants_them() {
    let user = Some(Host::of_machine() == Host::PvmLevel3);
    let wrong = leaves().into_iter().find(|leaf| leaf.user != user);
    assert!(wrong.is_none(), "the user bit should be {user:?} at every level: {wrong:x?}");
    let global = leaves().into_iter().find(|leaf| leaf.entry & GLOBAL != 0);
    assert!(global.is_none(), "a load of CR3 would not flush {global:x?}");
    let used = (0..512).filter(|slot| root_place(*slot).read() & PRESENT != 0).count();
    assert!((4..16).contains(&used), "{used} slots of the root are used");
}

/// What the kernel says of the first and last byte of each leaf is what the walk has found.
fn the_kernels_look_up_agrees() {
    for leaf in leaves() {
        for offset in [0, leaf.len_bytes - 1] {
            let phys = physical_address(VirtAddr::new(leaf.virt + offset));
            assert_eq!(phys, Some(PhysAddr::new(leaf.phys + offset)), "{leaf:x?}");
        }
    }
    assert_eq!(physical_address(VirtAddr::new(0)), None);
    assert_eq!(physical_address(VirtAddr::new(1 << 63)), None);
}
