//! What happens to the cells of tables below the types: one copy for all kinds and levels. Callers give the type again.

use super::entry::{Entry, EntryKind};
use super::level::{ENTRIES, L4, Level, shift};
use super::machine::{EntryCell, Machine};
use super::reserve::NodeReserve;
use super::span::Span;
use crate::memory::address::PhysAddr;
use crate::memory::atomic::Ordering;
use crate::memory::frame::{Frame, FrameState};
use crate::memory::kind::Kind;
use crate::memory::page_size::Size4KiB;
use core::ops::Range;
use x86::bits64::paging::PTFlags;

/// Makes a frame a table with room for entries in `used`, which the caller writes; the others are absent. The note is for
/// the audit.
#[inline(never)]
pub(crate) fn make_table<M: Machine>(
    frame: Frame<Size4KiB, M>,
    note: FrameState,
    used: Range<usize>,
) -> PhysAddr {
    let machine = frame.machine();
    let table = frame.into_raw();
    let number = table.frame_number();
    machine.frames().set_state(number, note);
    machine.frames().word(number).store(used.len() as u64, Ordering::Relaxed);
    // SAFETY: the frame is owned, to become this table.
    let cells: &[M::Cell; ENTRIES] = unsafe { machine.table(table) };
    clear(&cells[..used.start]);
    clear(&cells[used.end..]);
    table
}

/// Frees the frame of a table whose entries own nothing any more.
///
/// # Safety
/// The table comes from [`make_table`], once, and no CPU can reach it.
#[inline(never)]
pub(crate) unsafe fn free<M: Machine>(machine: M, table: PhysAddr) {
    // SAFETY: the caller's promise.
    drop(unsafe { take_frame(machine, table) });
}

/// The frame of such a table.
///
/// # Safety
/// As for [`free`], but that CPUs may reach it, if the frame is not written.
pub(crate) unsafe fn take_frame<M: Machine>(machine: M, table: PhysAddr) -> Frame<Size4KiB, M> {
    machine.frames().set_state(table.frame_number(), FrameState::Unmapped);
    // SAFETY: it was given over by `into_raw` when the table was made, and is taken back once, by the caller's promise.
    unsafe { Frame::from_raw(machine, table) }
}

/// Links a new table without entries into a cell that leads to none, and says that it is new; or gives the table that another
/// owner has linked meanwhile. That can't be where the cell `is_owned`.
#[inline(never)]
fn link_new<M: Machine>(
    machine: &M,
    cell: &M::Cell,
    note: FrameState,
    is_owned: bool,
    reserve: &mut NodeReserve<'_, M>,
) -> (PhysAddr, bool) {
    let user = if machine.paging().user { PTFlags::US.bits() } else { 0 };
    let table = make_table(reserve.take(), note, 0..0);
    let entry = Entry::node(table, user).bits();
    if is_owned {
        cell.store(entry, Ordering::Release);
    } else if let Err(found) = cell.compare_exchange(Entry::ABSENT.bits(), entry) {
        let found = Entry::from_bits(found);
        debug_assert!(
            found.is_present() && found.kind(4) == EntryKind::Node,
            "shared entries become tables only"
        );
        // SAFETY: it was made above, and nothing has seen it.
        reserve.put(unsafe { take_frame(*machine, table) });
        return (found.table(), false);
    }
    (table, true)
}

/// The table of level `target` that translates `address`, with those above it made from the reserve where there are none.
/// The caller has surveyed: no leaf is in the way, and the reserve holds enough. The kind is for the audit's notes.
#[inline(never)]
pub(crate) fn reach<M: Machine>(
    machine: &M,
    address: u64,
    target: u8,
    kind: Kind,
    owned: Span,
    reserve: &mut NodeReserve<'_, M>,
) -> PhysAddr {
    let mut table = machine.space().root();
    for level in (target + 1..=L4::NUMBER).rev() {
        let block = Span::block(address, shift(level));
        // SAFETY: the root, or a table that the entry of the level above led to. None that the caller's range reaches is
        // taken out meanwhile.
        let cells: &[M::Cell; ENTRIES] = unsafe { machine.table(table) };
        let cell = &cells[(address >> shift(level)) as usize % ENTRIES];
        let entry = Entry::from_bits(cell.load(Ordering::Acquire));
        if entry.kind(level) == EntryKind::Node {
            table = entry.table();
            continue;
        }
        let note = FrameState::Node { kind, level: level - 1 };
        let (child, is_new) = link_new(machine, cell, note, owned.contains(block), reserve);
        if is_new && level < L4::NUMBER {
            let extent = Span::block(address, shift(level + 1));
            change_live(machine, table, owned.contains(extent), 1);
        }
        table = child;
    }
    table
}

/// Adds to the count of a table's entries that are not absent; `is_owned` says whether all that it translates is.
///
/// Relaxed, like all on this counter. To an owner of all that the table translates, the ranges of all who counted have come
/// since, by some synchronisation, so it is exact. Another owner sees its own additions, and of everybody else at most what
/// that one added and took away again: never less than its own.
#[inline]
pub(crate) fn change_live<M: Machine>(machine: &M, table: PhysAddr, is_owned: bool, count: u64) {
    let live = machine.frames().word(table.frame_number());
    if is_owned {
        live.store(live.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    } else {
        live.fetch_add(count, Ordering::Relaxed);
    }
}

/// Makes entries absent.
#[inline(never)]
pub(crate) fn clear<C: EntryCell>(cells: &[C]) {
    let clear = |cell: &C| cell.store(Entry::ABSENT.bits(), Ordering::Relaxed);
    // By eight, or the loop's own instructions take as long as the stores.
    let (lines, rest) = cells.as_chunks::<8>();
    lines.iter().for_each(|line| line.iter().for_each(clear));
    rest.iter().for_each(clear);
}

/// Writes leaves side by side, of which `first` is the first and each maps `step_bytes` bytes.
#[inline(never)]
pub(crate) fn write_leaves<C: EntryCell>(cells: &[C], first: u64, step_bytes: u64) {
    let mut bits = first;
    for cell in cells {
        // Release: what was written to the memory is there before its translation.
        cell.store(bits, Ordering::Release);
        bits = bits.wrapping_add(step_bytes);
    }
}
