//! Letting time pass: the processor halts meanwhile.

use super::clock::{self, Instant};
use super::{interrupts, local_apic, timer};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

/// Sleeps for a duration; see [`sleep_until`].
pub fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration);
}

/// Returns once a moment has come, never before. Timers and other interrupts are handled meanwhile.
///
/// Where interrupts are masked, and where there is no timer to end a halt, it spins until then.
pub fn sleep_until(end: Instant) {
    let deadline = end.ticks();
    if !interrupts::are_masked() {
        local_apic::log_errors();
        while clock::ticks() < deadline {
            if let Err(error) = interrupts::halt_after(|| timer::wake_at(deadline)) {
                warn_once(error);
                break;
            }
        }
    }
    while clock::ticks() < deadline {
        core::hint::spin_loop();
    }
}

fn warn_once(error: timer::BadAlarm) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warn!("sleeping keeps the processor busy: {error}");
    }
}
