//! Audits of tables that are as they must be, and of tables with one thing wrong each.

use super::{AuditReport, Dump, Violation, audit};
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::frame::{Frame, FrameCredit, FrameSource, FrameState};
use crate::memory::kind::Kind;
use crate::memory::page_size::{Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::KernelAccess;
use crate::memory::page_table::entry::Entry;
use crate::memory::page_table::level::L1;
use crate::memory::page_table::machine::TableMemory;
use crate::memory::page_table::tests::fixture::*;
use crate::memory::page_table::view::View;
use crate::memory::page_table::{Kva, KvaRun, Machine, Mmio, Tracked, VaRange};
use crate::memory::simulation::{PVM, SimulatedCpu};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;

/// Heap, device registers and kernel memory, in small and large leaves.
struct Mixed<'a> {
    heap: VaRange<Tracked, SimulatedCpu<'a>>,
    device: VaRange<Mmio, SimulatedCpu<'a>>,
    kernel: VaRange<Kva, SimulatedCpu<'a>>,
    stack: Frame<Size4KiB, SimulatedCpu<'a>>,
}

fn mixed(cpu: SimulatedCpu<'_>) -> Mixed<'_> {
    let mut heap = reserve::<Tracked, _>(cpu, 4 * MIB2);
    heap.map(at(&heap, 0), run::<Size4KiB, _>(cpu, 5), HEAP).unwrap();
    heap.map(at(&heap, MIB2), run::<Size2MiB, _>(cpu, 1), HEAP).unwrap();
    let mut device_range = reserve::<Mmio, _>(cpu, 2 * MIB2);
    device_range.map(at(&device_range, 0), device::<Size4KiB, _>(&cpu, 0, 3), UNCACHED).unwrap();
    let stack = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
    let mut kernel = reserve::<Kva, _>(cpu, 2 * MIB2);
    let window = KvaRun::<Size4KiB>::new(&cpu, stack.start(), 1).unwrap();
    kernel.map(at(&kernel, 0), window, KERNEL).unwrap();
    Mixed { heap, device: device_range, kernel, stack }
}

fn violations(cpu: SimulatedCpu<'_>) -> Vec<Violation> {
    let report = audit(cpu);
    assert_eq!(report.violations().count() as u64, report.violation_count().min(16));
    report.violations().copied().collect()
}

/// Overwrites the entry of the last table that translates the start of a range.
fn set_entry<O: crate::memory::page_table::Ownership>(
    range: &VaRange<O, SimulatedCpu<'_>>,
    level: u8,
    bits: u64,
) -> u64 {
    let machine = range.machine();
    let address = range.span().start;
    let mut table = machine.space().root();
    for above in (level + 1..=4).rev() {
        // SAFETY: the tables of a test machine.
        let cells = unsafe { machine.table(table) };
        table = Entry::from_bits(
            cells[(address >> (12 + 9 * (u32::from(above) - 1))) as usize % 512].load(Ordering::Relaxed),
        )
        .table();
    }
    // SAFETY: as above.
    let cell =
        unsafe { &machine.table(table)[(address >> (12 + 9 * (u32::from(level) - 1))) as usize % 512] };
    let before = cell.load(Ordering::Relaxed);
    cell.store(bits, Ordering::Relaxed);
    before
}

#[test]
fn a_mixed_address_space_is_clean_and_counted() {
    for paging in [crate::memory::simulation::RING_0, PVM] {
        with_frames(2048, paging, |cpu, _| {
            let before = audit(cpu);
            assert!(before.is_clean(), "{before}");
            let mixed = mixed(cpu);
            let report = audit(cpu);
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.kind(Kind::Tracked).leaves, [5, 1, 0]);
            assert_eq!(report.kind(Kind::Tracked).tables, [1, 1, 1]);
            assert_eq!(report.kind(Kind::Mmio).leaves, [3, 0, 0]);
            assert_eq!(report.kind(Kind::Kva).leaves, [1, 0, 0]);
            assert_eq!(report.frames.heap, 5 + 512);
            assert_eq!(report.frames.held, 1, "the stack");
            assert_eq!(report.frames.tables, 1 + 9);
            let detached = mixed.heap.detach().unwrap();
            let report = audit(cpu);
            assert!(report.is_clean(), "{report}");
            assert_eq!(report.outstanding, 1);
            assert_eq!(report.kind(Kind::Tracked).leaves, [0; 3]);
            assert_eq!(report.kind(Kind::Tracked).detached_leaves, [5, 1, 0]);
            assert_eq!(report.kind(Kind::Tracked).detached_tables, [1, 0, 0]);
            let _heap = release(detached);
            let _device = release(mixed.device.detach().unwrap());
            let _kernel = release(mixed.kernel.detach().unwrap());
            drop(mixed.stack);
            let after = audit(cpu);
            assert!(after.is_clean(), "{after}");
            assert_eq!(after.frames.free, before.frames.free - 6, "tables of levels 3 and 2");
        });
    }
}

/// Breaks one thing in a mixed address space, and gives what the audit says.
fn broken(break_it: impl FnOnce(SimulatedCpu<'_>, &Mixed<'_>)) -> Vec<Violation> {
    let mut found = Vec::new();
    with_machine(|cpu| {
        let mixed = mixed(cpu);
        break_it(cpu, &mixed);
        found = violations(cpu);
        core::mem::forget(mixed.stack);
    });
    found
}

fn heap_frame(mixed: &Mixed<'_>, page: u64) -> PhysAddr {
    mixed.heap.query(at(&mixed.heap, page * KIB4)).unwrap().phys
}

#[test]
fn each_kind_of_damage_is_found() {
    let leaf = |phys, writable| {
        Entry::leaf::<L1>(PhysAddr::new(phys), if writable { 1 << 63 | 2 } else { 1 << 63 }, 0)
    };
    let found = broken(|_, mixed| {
        set_entry(&mixed.heap, 1, leaf(heap_frame(mixed, 1).as_u64(), true).bits());
    });
    assert!(
        found.iter().any(|violation| matches!(violation, Violation::FrameOwnedTwice { .. })),
        "{found:?}"
    );
    assert!(found.iter().any(|violation| matches!(violation, Violation::Unreached { .. })), "{found:?}");
    let found = broken(|_, mixed| {
        set_entry(&mixed.heap, 1, 0);
    });
    assert!(
        matches!(
            found[..],
            [Violation::WrongCount { counted: 5, found: 4, .. }, Violation::Unreached { .. }]
        ),
        "{found:?}"
    );
    let found = broken(|_, mixed| {
        let before = set_entry(&mixed.heap, 1, 0);
        set_entry(&mixed.heap, 1, before & !(1 << 63));
    });
    assert!(matches!(found[..], [Violation::Executable { kind: Kind::Tracked, .. }, ..]), "{found:?}");
    let found = broken(|_, mixed| {
        let before = set_entry(&mixed.heap, 1, 0);
        set_entry(&mixed.heap, 1, before & !1);
    });
    assert!(matches!(found[..], [Violation::Malformed { level: 1, .. }, ..]), "{found:?}");
    let found = broken(|_, mixed| {
        let before = set_entry(&mixed.heap, 1, 0);
        set_entry(&mixed.heap, 1, before | 4);
    });
    assert!(matches!(found[..], [Violation::UserBit { level: 1, .. }]), "{found:?}");
    let found = broken(|_, mixed| {
        set_entry(&mixed.device, 1, leaf(mixed.stack.start().as_u64(), true).bits());
    });
    assert!(matches!(found[..], [Violation::MmioOverRam { .. }]), "{found:?}");
    let found = broken(|_, mixed| {
        set_entry(&mixed.kernel, 1, leaf(DEVICE, true).bits());
    });
    assert!(matches!(found[..], [Violation::KvaOverHole { .. }]), "{found:?}");
    let found = broken(|_, mixed| {
        set_entry(&mixed.heap, 2, Entry::node(mixed.stack.start(), 0).bits());
    });
    assert!(
        matches!(found[..], [Violation::NotATable { level: 1, state: FrameState::Unmapped, .. }, ..]),
        "{found:?}"
    );
    let found = broken(|_, mixed| {
        let table = Entry::from_bits(set_entry(&mixed.kernel, 2, 0));
        set_entry(&mixed.kernel, 2, table.bits());
        set_entry(&mixed.device, 2, table.bits());
    });
    assert!(
        matches!(found[..], [Violation::NotATable { kind: Kind::Mmio, .. }, ..]),
        "a table of another kind: {found:?}"
    );
    let found = broken(|cpu, mixed| {
        // SAFETY: none: the frame is freed under the leaf, to be found.
        drop(unsafe { Frame::<Size4KiB, _>::from_raw(cpu, heap_frame(mixed, 2)) });
    });
    assert!(matches!(found[..], [Violation::FreeInUse { state: FrameState::Leaf4KiB, .. }]), "{found:?}");
    let found = broken(|cpu, mixed| {
        cpu.frames().set_state(heap_frame(mixed, 2).frame_number(), FrameState::Unmapped);
    });
    assert!(matches!(found[..], [Violation::NotALeafFrame { .. }]), "{found:?}");
    let found = broken(|cpu, mixed| {
        let table = Entry::from_bits(set_entry(&mixed.heap, 2, 0)).table();
        let (again, _) = View::root(&cpu).down_to(mixed.heap.span().start, 2);
        again.set(mixed.heap.span().start, Entry::node(table, 0));
        again.set(mixed.heap.span().start + 2 * MIB2, Entry::node(table, 0));
    });
    assert!(matches!(found[..], [Violation::TableReachedTwice { .. }, ..]), "{found:?}");
    let found = broken(|cpu, mixed| {
        for _ in 0..2 {
            // SAFETY: none: a frame is freed twice, to be found.
            drop(unsafe { Frame::<Size4KiB, _>::from_raw(cpu, mixed.stack.start()) });
        }
    });
    assert!(found.contains(&Violation::FreedTwice { frames: 1 }), "{found:?}");
    let found = broken(|cpu, _| cpu.frames().miscount(3));
    assert!(
        matches!(
            found[..],
            [Violation::FreeCount { counted, found }, Violation::Credit { .. }] if counted + 1 == found
        ),
        "{found:?}"
    );
    let found = broken(|cpu, _| {
        let _credit = ManuallyDrop::new(FrameCredit::reserve(cpu, 7).unwrap());
        cpu.frames().miscount_unpromised();
    });
    assert!(
        matches!(
            found[..],
            [Violation::Credit { free, unpromised, promised: 7 }] if unpromised + 7 + 1 == free
        ),
        "{found:?}"
    );
    assert!(found[0].to_string().starts_with("credit does not add up"), "{}", found[0]);
    let found = broken(|cpu, _| {
        // SAFETY: the root of a test machine.
        let root = unsafe { cpu.table(cpu.space().root()) };
        root[256].store(Entry::node(PhysAddr::new(0x5000), 0).bits(), Ordering::Relaxed);
    });
    assert!(matches!(found[..], [Violation::ForeignSlot { .. }]), "{found:?}");
}

#[test]
fn memory_that_is_writable_here_and_executable_there_is_found() {
    with_machine(|cpu| {
        let text = Frame::<Size4KiB, _>::allocate(cpu).unwrap();
        let window = KvaRun::<Size4KiB>::new(&cpu, text.start(), 1).unwrap();
        let mut kernel = reserve::<Kva, _>(cpu, MIB2);
        kernel.map(at(&kernel, 0), window, KernelAccess::ReadExecute).unwrap();
        kernel.map(at(&kernel, KIB4), window, KernelAccess::ReadOnly).unwrap();
        assert_eq!(violations(cpu), []);
        kernel.map(at(&kernel, 2 * KIB4), window, KernelAccess::ReadWrite).unwrap();
        assert_eq!(violations(cpu), [Violation::WritableAndExecutable { frame: text.start() }]);
    });
}

#[test]
fn a_dump_has_a_line_for_what_lies_side_by_side() {
    with_machine(|cpu| {
        let mixed = mixed(cpu);
        let text = Dump::new(cpu).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        let (heap, stack) = (heap_frame(&mixed, 0), mixed.stack.start());
        let expected = alloc::format!(
            "0x0000000040000000-0x0000000040000fff KVA  rw- WB       1 x 4 KiB to {:#014x}",
            stack.as_u64()
        );
        assert_eq!(lines[0], expected);
        let expected = alloc::format!(
            "0x0000008000000000-0x0000008000004fff heap rw- WB       5 x 4 KiB to {:#014x}",
            heap.as_u64()
        );
        assert_eq!(lines[1], expected);
        assert!(lines[2].contains("heap rw- WB       1 x 2 MiB to "), "{text}");
        assert!(lines[3].contains("MMIO rw- UC       3 x 4 KiB to 0x010000000000"), "{text}");
        core::mem::forget(mixed.stack);
    });
}

#[test]
fn a_report_reads_well() {
    with_machine(|cpu| {
        let report: AuditReport = audit(cpu);
        let text = report.to_string();
        assert!(text.ends_with("audit: clean"), "{text}");
        assert!(text.contains("frames: 2046 free, 0 heap, 1 tables,"), "{text}");
    });
}
