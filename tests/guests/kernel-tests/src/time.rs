//! The clock.

use crate::Test;
use core::time::Duration;
use unikernel::cpu::clock;
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("time::never_goes_back", never_goes_back),
    ("time::advances_with_the_counter", advances_with_the_counter),
    ("time::the_frequency_is_known", the_frequency_is_known),
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

/// Returns after a time by the guest's clock.
pub(crate) fn wait(milliseconds: u64) {
    println!("waiting from here");
    let end = clock::since_boot() + Duration::from_millis(milliseconds);
    while clock::since_boot() < end {
        core::hint::spin_loop();
    }
    println!("waited until here");
}
