//! The clock, moments and sleep.

use crate::Test;
use core::time::Duration;
use unikernel::cpu::clock::{self, Instant};
use unikernel::cpu::interrupts;
use unikernel::cpu::sleep::{sleep, sleep_until};
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("time::never_goes_back", never_goes_back),
    ("time::advances_with_the_counter", advances_with_the_counter),
    ("time::the_frequency_is_known", the_frequency_is_known),
    ("time::moments_are_those_of_the_clock", moments_are_those_of_the_clock),
    ("time::a_sleep_is_never_short", a_sleep_is_never_short),
    ("time::a_sleep_until_the_past_is_over", a_sleep_until_the_past_is_over),
    ("time::a_sleep_while_masked_ends", a_sleep_while_masked_ends),
    ("time::a_long_sleep_is_no_end", a_long_sleep_is_no_end),
    ("time::many_short_sleeps_end", many_short_sleeps_end),
];

fn never_goes_back() {
    let mut last = clock::since_boot();
    for _ in 0..100_000 {
        let time = clock::since_boot();
        assert!(time >= last, "{time:?} after {last:?}");
        last = time;
    }
}

fn advances_with_the_counter() {
    let Some((hz, _)) = clock::frequency() else { panic!("the clock is not set up") };
    let (start, start_ticks) = (clock::since_boot(), clock::ticks());
    let ticks = hz / 50;
    while clock::ticks() - start_ticks < ticks {}
    let passed = clock::since_boot() - start;
    assert!(passed >= Duration::from_micros(19_999), "{passed:?} in {ticks} ticks");
    assert!(passed < Duration::from_secs(1), "{passed:?} in {ticks} ticks");
}

fn the_frequency_is_known() {
    let Some((hz, source)) = clock::frequency() else { panic!("the clock is not set up") };
    assert_ne!(source, clock::Source::Unknown);
    assert!((100_000_000..10_000_000_000).contains(&hz), "{hz} Hz, {source}");
}

/// Longest that a sleep may take beyond what was asked for: only a lost interrupt takes longer.
const LATE_MAX: Duration = Duration::from_secs(5);

fn moments_are_those_of_the_clock() {
    let before = clock::since_boot();
    let moment = Instant::now();
    let after = clock::since_boot();
    let second = Duration::from_secs(1);
    let boot = moment - Duration::MAX;
    assert!((before..=after).contains(&(moment - boot)), "{moment:?}");
    assert_eq!((moment + second).duration_since(moment), second);
    assert_eq!(moment.duration_since(moment + second), Duration::ZERO);
    assert_eq!((moment + second).elapsed(), Duration::ZERO, "it is to come");
    assert_eq!(moment.checked_add(Duration::MAX), None);
    assert!(moment + Duration::MAX > moment + second);
}

/// Sleeps and gives how much longer it took.
fn sleep_checked(duration: Duration) -> Duration {
    let start = Instant::now();
    sleep(duration);
    let took = start.elapsed();
    assert!(took >= duration, "slept {took:?} of {duration:?}");
    assert!(took < duration + LATE_MAX, "slept {took:?} and not {duration:?}");
    took - duration
}

fn a_sleep_is_never_short() {
    for duration in [0, 1, 999, 10_000, 100_000, 1_000_000, 50_000_000].map(Duration::from_nanos) {
        let late = sleep_checked(duration);
        println!("slept {duration:?}, and {late:?} more");
    }
}

/// Longer than it takes the VMM to notice a guest that has halted for ever.
fn a_long_sleep_is_no_end() {
    sleep_checked(Duration::from_millis(700));
}

fn a_sleep_until_the_past_is_over() {
    let start = Instant::now();
    sleep_until(start - Duration::from_secs(1));
    sleep_until(start - Duration::MAX);
    assert!(start.elapsed() < LATE_MAX);
}

fn a_sleep_while_masked_ends() {
    interrupts::without(|| sleep_checked(Duration::from_millis(2)));
    sleep_checked(Duration::from_millis(2));
}

/// Any interrupt lost between the check and the halt would make a sleep last for ever.
fn many_short_sleeps_end() {
    let mut random = 1_u64;
    let mut late = Duration::ZERO;
    let count = 2000;
    for _ in 0..count {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        late += sleep_checked(Duration::from_nanos(1000 + (random >> 33) % 49_000));
    }
    println!("{count} sleeps of 1 to 50 us took {:?} more each", late / count);
}

/// Returns after a time by the guest's clock.
pub(crate) fn wait(milliseconds: u64) {
    println!("waiting from here");
    let end = clock::since_boot() + Duration::from_millis(milliseconds);
    while clock::since_boot() < end {
        core::hint::spin_loop();
    }
    println!("waited until here");
}
