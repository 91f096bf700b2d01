//! How the image was loaded, and what state it was entered in.

use crate::Test;
use core::arch::asm;
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use unikernel::memory::ram;

pub(crate) const TESTS: &[Test] = &[
    ("image::data_is_loaded_and_bss_is_zero", data_is_loaded_and_bss_is_zero),
    ("image::the_stack_is_aligned", the_stack_is_aligned),
    ("image::the_direction_flag_is_clear", the_direction_flag_is_clear),
    ("image::it_is_not_free_ram", it_is_not_free_ram),
    ("image::ram_is_whole_pages_without_page_0", ram_is_whole_pages_without_page_0),
];

const INITIAL: u64 = 0x1234_5678_9abc_def0;

static DATA: [AtomicU64; 64] = [const { AtomicU64::new(INITIAL) }; 64];
static ZERO: [AtomicU64; 4096] = [const { AtomicU64::new(0) }; 4096];

fn data_is_loaded_and_bss_is_zero() {
    for (expected, words) in [(INITIAL, &DATA[..]), (0, &ZERO[..])] {
        for word in black_box(words) {
            assert_eq!(word.load(Ordering::Relaxed), expected, "at {word:p}");
            word.store(!expected, Ordering::Relaxed);
            assert_eq!(word.load(Ordering::Relaxed), !expected, "at {word:p}");
            word.store(expected, Ordering::Relaxed);
        }
    }
}

#[inline(never)]
fn the_stack_is_aligned() {
    let frame_pointer: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags)) };
    // The ABI has RSP aligned to 16 before the call, which pushes the return address; then RBP is pushed.
    assert!(frame_pointer.is_multiple_of(16), "{frame_pointer:#x}");
}

fn the_direction_flag_is_clear() {
    let flags: u64;
    // SAFETY: reads the flags by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    assert_eq!(flags & 1 << 10, 0, "flags {flags:#x}");
}

fn it_is_not_free_ram() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    let local = 0_u64;
    for address in [
        it_is_not_free_ram as *const () as u64,
        &raw const DATA as u64,
        &raw const ZERO as u64,
        black_box(&raw const local) as u64,
        INITIAL_TEXT.as_ptr() as u64,
    ] {
        assert!(ram.all().contains(address) && !ram.free().contains(address), "{address:#x}");
    }
}

static INITIAL_TEXT: &str = "read-only";

fn ram_is_whole_pages_without_page_0() {
    let Some(ram) = ram::of_machine() else { panic!("no memory map") };
    for set in [ram.all(), ram.free()] {
        assert!(!set.ranges().is_empty() && !set.contains(0));
        let ends = set.ranges().iter().flat_map(|range| [range.start, range.end]);
        assert!(ends.clone().all(|end| end.is_multiple_of(4096)), "{:x?}", set.ranges());
        assert!(ends.is_sorted(), "{:x?}", set.ranges());
    }
    for range in ram.free().ranges() {
        assert!(ram.all().contains(range.start) && ram.all().contains(range.end - 1), "{range:x?}");
    }
}
