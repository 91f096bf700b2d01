//! The machine as the application finds it.

use alloc::string::String;
use core::arch::asm;
use core::hint::black_box;
use core::time::Duration;
use guest_interface::layout::{HIGH_RAM_START, IMAGE_BASE};
use unikernel::boot;
use unikernel::cpu::clock;

pub(crate) fn time_goes_on(_: &[String]) {
    let start = clock::since_boot();
    assert!(start > Duration::ZERO);
    let mut last = start;
    let mut readings = 0_u64;
    while last < start + Duration::from_millis(5) {
        let now = clock::since_boot();
        assert!(now >= last, "time went back from {last:?} to {now:?}");
        last = now;
        readings += 1;
        assert!(readings < 1 << 32, "time stands still at {last:?}");
    }
}

pub(crate) fn the_stack_is_aligned(_: &[String]) {
    let frame_pointer: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack)) };
    // The ABI has RSP 16-byte aligned before a call; the return address and the saved RBP are 16 bytes.
    assert_eq!(frame_pointer % 16, 0);
}

pub(crate) fn statics_have_their_initial_values(_: &[String]) {
    static mut ZEROED: [u8; 100_000] = [0; 100_000];
    static mut INITIALIZED: [u64; 4] = [1, 2, 3, 4];
    // SAFETY: this test runs once a machine, on its only processor, and nobody else knows these statics.
    let (zeroed, initialized) =
        unsafe { (black_box(&mut *&raw mut ZEROED), black_box(&mut *&raw mut INITIALIZED)) };
    assert!(zeroed.iter().all(|byte| *byte == 0));
    assert_eq!(*initialized, [1, 2, 3, 4]);
    zeroed[99_999] = 1;
    initialized[3] = 5;
    assert_eq!((black_box(zeroed)[99_999], black_box(initialized)[3]), (1, 5));
}

pub(crate) fn ram_is_what_the_host_gave(_: &[String]) {
    let Some(ram) = boot::ram() else { panic!("no RAM is known") };
    assert!(!ram.all().contains(0), "page 0 is RAM");
    assert!(ram.all().contains(IMAGE_BASE), "the image is not in RAM");
    assert!(!ram.free().contains(IMAGE_BASE), "the image is free");
    assert!(ram.free().ranges().iter().all(|range| range.start >= HIGH_RAM_START));
    // Every page of it is there: the first and last word of each range hold what is written to them.
    for range in ram.free().ranges() {
        assert!(ram.all().contains(range.start) && ram.all().contains(range.end - 1));
    }
}

/// What the whole-system tests pass and expect.
pub(crate) fn arguments_arrive_unchanged_arguments(arguments: &[String]) {
    if arguments.is_empty() {
        return;
    }
    let expected =
        ["", "two words", "quote\"and\\backslash", "--", "ünï 漢字", "tab\there", "'single'", "a=b"];
    assert!(arguments.iter().eq(expected.iter()), "{arguments:?}");
}
