//! The audit of the live tables: clean as they are, and not once an entry is spoilt behind the kernel's back.

use crate::Test;
use crate::machine::{audit, done, give_back, machine, released, reserve, shown, write};
use crate::walk::{
    ADDRESS, NO_EXECUTE, PRESENT, Place, USER, WRITABLE, end_of_walk, leaves, root_place,
    writable_and_executable,
};
use unikernel::memory::address::PhysAddr;
use unikernel::memory::audit::Violation;
use unikernel::memory::frame::{Frame, FrameSource};
use unikernel::memory::kind::Kind;
use unikernel::memory::live::MmioWindow;
use unikernel::memory::page_size::{PageSize, Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, MmioAttributes};
use unikernel::memory::page_table::{Machine, Tracked};

pub(crate) const TESTS: &[Test] = &[
    ("spoilt_tables::the_audit_finds_what_is_there", the_audit_finds_what_is_there),
    ("spoilt_tables::each_spoilt_entry_is_found", each_spoilt_entry_is_found),
];

const PAGE_LEN: u64 = Size4KiB::LEN_BYTES;
/// An ignored bit of an entry, which the kernel never sets.
const UNUSED: u64 = 1 << 9;
/// The ignored bit by which the kernel marks entries that await a flush.
const DETACHED: u64 = 1 << 11;
/// A part of the device hole that no machine has a device in.
const NO_DEVICE: u64 = 0xd000_0000;

/// What the audit counts is what a walk of its own finds.
fn the_audit_finds_what_is_there() {
    let leaves = leaves();
    let report = audit();
    assert!(report.is_clean() && report.outstanding == 0, "{report}");
    for kind in Kind::ALL {
        let of_kind = |slot: u64| match kind {
            Kind::Tracked => (1..256).contains(&slot),
            Kind::Mmio => (257..320).contains(&slot),
            Kind::Kva => slot == 0 || slot >= 320,
        };
        let counts = [PAGE_LEN, Size2MiB::LEN_BYTES, 512 * Size2MiB::LEN_BYTES].map(|len| {
            leaves.iter().filter(|leaf| of_kind(leaf.slot()) && leaf.len_bytes == len).count() as u64
        });
        assert_eq!(report.kind(kind).leaves, counts, "{kind}");
    }
    let heap: u64 =
        leaves.iter().filter(|leaf| (1..256).contains(&leaf.slot())).map(|leaf| leaf.len_bytes).sum();
    assert_eq!(report.frames.heap, heap / PAGE_LEN);
    assert_eq!(report.frames.free, machine().frames().statistics().free);
}

/// An entry, what is written there, and what the audit has to say of it.
struct Spoilt {
    what: &'static str,
    place: Place,
    entry: u64,
    is_it: fn(&Violation) -> bool,
    /// Whether something can be written and executed then.
    both: bool,
}

fn each_spoilt_entry_is_found() {
    let frame = || match Frame::<Size4KiB, _>::allocate(machine()) {
        Ok(frame) => frame,
        Err(error) => panic!("{error}"),
    };
    let (mapped, held) = (frame(), frame());
    let held_at = held.start().as_u64();
    for offset in (0..PAGE_LEN).step_by(8) {
        // SAFETY: the frame is this function's. What is taken for a table has no entries.
        unsafe { write(shown(PhysAddr::new(held_at + offset)), 0) };
    }
    let mut range = reserve::<Tracked>(2 * Size2MiB::LEN_BYTES, Size2MiB::LEN_BYTES);
    let start = range.range().start;
    done(range.map(start, mapped, DataAccess::ReadWrite));
    let registers = MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };
    // SAFETY: nothing is done through the window.
    let window = unsafe { MmioWindow::map("no device", PhysAddr::new(NO_DEVICE), PAGE_LEN, registers) };
    let Ok(window) = window else { panic!("RAM at {NO_DEVICE:#x}") };

    let used = end_of_walk(start.as_u64());
    let unused = end_of_walk(start.as_u64() + PAGE_LEN);
    let no_table = end_of_walk(start.as_u64() + Size2MiB::LEN_BYTES);
    let text = end_of_walk(shown(PhysAddr::new(each_spoilt_entry_is_found as *const () as u64)).as_u64());
    let device = end_of_walk(window.start().as_u64());
    assert_eq!([used, unused, no_table, device].map(|place| place.level), [1, 1, 2, 1]);
    let leaf = used.read();
    let to_held = leaf & !ADDRESS | held_at;
    let node = held_at | leaf & USER | WRITABLE | PRESENT;
    let case = |what, place, entry, is_it| Spoilt { what, place, entry, is_it, both: false };
    let both = |what, place, entry, is_it| Spoilt { what, place, entry, is_it, both: true };
    let cases = [
        case("nothing where something was", used, 0, |v| matches!(v, Violation::Unreached { .. })),
        case("an entry that nobody counted", unused, to_held, |v| matches!(v, Violation::WrongCount { .. })),
        case("a frame that is no leaf's", unused, to_held, |v| matches!(v, Violation::NotALeafFrame { .. })),
        case("a second owner", unused, leaf, |v| matches!(v, Violation::FrameOwnedTwice { .. })),
        case("heap where no RAM is", unused, leaf & !ADDRESS | NO_DEVICE, |v| {
            matches!(v, Violation::NotALeafFrame { .. })
        }),
        case("heap beyond all RAM", unused, leaf & !ADDRESS | 1 << 45, |v| {
            matches!(v, Violation::NotALeafFrame { .. })
        }),
        case("a malformed entry", unused, UNUSED, |v| matches!(v, Violation::Malformed { .. })),
        case("present and detached", used, leaf | DETACHED, |v| matches!(v, Violation::Malformed { .. })),
        case("another user bit", used, leaf ^ USER, |v| matches!(v, Violation::UserBit { .. })),
        case("a table that is none", no_table, node, |v| matches!(v, Violation::NotATable { .. })),
        case("one table for two", no_table, node & !ADDRESS | used.table(), |v| {
            matches!(v, Violation::TableReachedTwice { .. })
        }),
        case("the host's slot", root_place(256), UNUSED, |v| matches!(v, Violation::ForeignSlot { .. })),
        case("RAM as a device", device, device.read() & !ADDRESS | held_at, |v| {
            matches!(v, Violation::MmioOverRam { .. })
        }),
        both("executable heap", used, leaf & !NO_EXECUTE, |v| matches!(v, Violation::Executable { .. })),
        both("writable and executable", unused, to_held & !NO_EXECUTE, |v| {
            matches!(v, Violation::WritableAndExecutable { .. })
        }),
        both("text that can be written", text, text.read() | WRITABLE, |v| {
            matches!(v, Violation::WritableAndExecutable { .. })
        }),
    ];
    for Spoilt { what, place, entry, is_it, both } in &cases {
        let good = place.read();
        assert_ne!(good, *entry, "{what}");
        // SAFETY: nobody uses what is translated there, and no translation of it outlives the flush below.
        unsafe { place.write(*entry) };
        let (report, walked) = (audit(), writable_and_executable(&leaves()).is_some());
        // SAFETY: it was so before.
        unsafe {
            place.write(good);
            x86::tlb::flush_all();
        }
        assert!(report.violations().any(is_it), "{what}: {report}");
        assert_eq!(walked, *both, "{what}");
        let report = audit();
        assert!(report.is_clean(), "after {what}: {report}");
    }
    drop((window, held));
    give_back(released(done(range.detach())));
    assert_eq!(machine().space().outstanding(), 0);
}
