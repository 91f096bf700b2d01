//! Timers.

use crate::Test;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use unikernel::cpu::clock::Instant;
use unikernel::cpu::interrupts;
use unikernel::cpu::sleep::sleep;
use unikernel::cpu::timer::{self, TIMERS_MAX, Timer, TimerError};
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("timers::come_in_the_order_of_their_times", come_in_the_order_of_their_times),
    ("timers::are_never_early", are_never_early),
    ("timers::are_canceled_by_drop_and_by_cancel", are_canceled_by_drop_and_by_cancel),
    ("timers::wait_until_interrupts_are_unmasked", wait_until_interrupts_are_unmasked),
    ("timers::make_timers", make_timers),
    ("timers::are_refused_beyond_their_number", are_refused_beyond_their_number),
    ("timers::of_a_far_future_disturb_nobody", of_a_far_future_disturb_nobody),
];

const MILLISECOND: Duration = Duration::from_millis(1);
/// Time after which a timer that has not come never will.
const LATE_MAX: Duration = Duration::from_secs(5);

fn after(delay: Duration, function: fn(usize), argument: usize) -> Timer {
    match Timer::after(delay, function, argument) {
        Ok(timer) => timer,
        Err(error) => panic!("{error}"),
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LATE_MAX, "{what} did not come");
        core::hint::spin_loop();
    }
}

/// The arguments of the calls so far, as decimal digits.
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn note(argument: usize) {
    CALLS.store(CALLS.load(Ordering::Relaxed) * 10 + argument, Ordering::Relaxed);
}

fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

fn come_in_the_order_of_their_times() {
    println!("the alarm is {:?}", timer::alarm());
    CALLS.store(0, Ordering::Relaxed);
    // A busy host may let any time pass between two lines, so the moments are fixed before.
    let start = Instant::now();
    let timers = interrupts::without(|| {
        [3, 1, 4, 2].map(|number| {
            let timer = Timer::at(start + MILLISECOND * number, note, number as usize);
            timer.unwrap_or_else(|error| panic!("{error}"))
        })
    });
    wait_for("four timers", || calls() >= 1000);
    assert_eq!(calls(), 1234);
    assert!(!timers.map(Timer::cancel).contains(&true), "they have come");
}

fn are_never_early() {
    static CAME: AtomicUsize = AtomicUsize::new(0);
    fn come(_: usize) {
        CAME.store((Instant::now() - BOOT()).as_nanos() as usize, Ordering::Relaxed);
    }
    const BOOT: fn() -> Instant = || Instant::now() - Duration::MAX;
    for delay in [0, 1, 1000, 30_000, 2_000_000].map(Duration::from_nanos) {
        CAME.store(0, Ordering::Relaxed);
        let start = Instant::now();
        let _timer = after(delay, come, 0);
        wait_for("a timer", || CAME.load(Ordering::Relaxed) != 0);
        let came = BOOT() + Duration::from_nanos(CAME.load(Ordering::Relaxed) as u64);
        assert!(came - start >= delay, "{:?} after {delay:?}", came - start);
    }
}

fn are_canceled_by_drop_and_by_cancel() {
    CALLS.store(0, Ordering::Relaxed);
    let kept = interrupts::without(|| {
        drop(after(MILLISECOND, note, 1));
        assert!(after(MILLISECOND, note, 2).cancel());
        after(MILLISECOND, note, 3)
    });
    wait_for("the last timer", || calls() != 0);
    assert_eq!(calls(), 3, "what was canceled would have come before");
    assert!(!kept.cancel(), "it has come");
}

fn wait_until_interrupts_are_unmasked() {
    CALLS.store(0, Ordering::Relaxed);
    let _timer = interrupts::without(|| {
        let timer = after(MILLISECOND, note, 1);
        interrupts::without(|| sleep(MILLISECOND * 2));
        assert!(interrupts::are_masked(), "the inner end unmasks nothing");
        sleep(MILLISECOND * 2);
        assert_eq!(calls(), 0, "masked");
        timer
    });
    assert!(!interrupts::are_masked());
    wait_for("the timer", || calls() == 1);
}

fn make_timers() {
    static LEFT: AtomicUsize = AtomicUsize::new(0);
    fn again(argument: usize) {
        assert!(interrupts::are_masked(), "handlers are");
        if LEFT.fetch_sub(1, Ordering::Relaxed) > 1
            && let Ok(timer) = Timer::after(Duration::from_micros(argument as u64), again, argument)
        {
            core::mem::forget(timer);
        }
    }
    for delay in [0, 20] {
        LEFT.store(1000, Ordering::Relaxed);
        core::mem::forget(after(Duration::ZERO, again, delay));
        wait_for("a chain of timers", || LEFT.load(Ordering::Relaxed) == 0);
    }
}

fn are_refused_beyond_their_number() {
    let timers: [Timer; TIMERS_MAX] = core::array::from_fn(|_| after(LATE_MAX, note, 0));
    assert_eq!(Timer::after(MILLISECOND, note, 0).err(), Some(TimerError::TooMany));
    sleep(MILLISECOND);
    drop(timers);
    assert!(after(LATE_MAX, note, 0).cancel());
}

fn of_a_far_future_disturb_nobody() {
    CALLS.store(0, Ordering::Relaxed);
    let far = [Duration::MAX, Duration::from_secs(1 << 40), Duration::from_secs(86_400 * 365)];
    let far = far.map(|delay| after(delay, note, 1));
    sleep(MILLISECOND * 5);
    let near = after(MILLISECOND, note, 2);
    wait_for("the near timer", || calls() == 2);
    assert!(!near.cancel());
    assert!(!far.map(Timer::cancel).contains(&false));
}
