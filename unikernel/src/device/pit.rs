//! The programmable interval timer (Intel 8254), as a reference to measure the TSC against where nobody tells its
//! frequency.
//!
//! Channel 0 is used, since it counts wherever there is such a timer; channel 2 needs the gate in port 0x61, which QEMU's
//! microvm does not have. The channel's output raises interrupt line 0 some 55 ms later, which nobody has unmasked.

use crate::cpu::clock;
use x86::io::{inb, outb};

/// Input frequency of the timer in Hz.
const PIT_HZ: u64 = 1_193_182;
/// How long the measurement takes, in timer periods: about 1 ms, of which reading the timer takes a few µs.
const PERIODS: u16 = 1200;
/// Reads without a change after which there is no timer. A read takes longer than a period on any host.
const UNCHANGED_MAX: u32 = 1000;

const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
/// Channel 0, low then high byte, mode 0 (counts down once), binary.
const ONE_SHOT_CHANNEL_0: u8 = 0b0011_0000;
/// Channel 0, latch the count.
const LATCH_CHANNEL_0: u8 = 0;

/// Frequency of the TSC in Hz, or `None` where there is no such timer.
pub(crate) fn measure_tsc_hz() -> Option<u64> {
    // SAFETY: these ports are the timer's on every PC, and nobody's elsewhere. Nothing else uses channel 0.
    unsafe {
        outb(COMMAND, ONE_SHOT_CHANNEL_0);
        outb(CHANNEL_0, u8::MAX);
        outb(CHANNEL_0, u8::MAX);
    }
    measure(|| (count(), clock::ticks()))
}

/// What the channel has left to count.
fn count() -> u16 {
    // SAFETY: as above.
    unsafe {
        outb(COMMAND, LATCH_CHANNEL_0);
        u16::from_le_bytes([inb(CHANNEL_0), inb(CHANNEL_0)])
    }
}

/// Samples (count, TSC) until enough periods have passed.
fn measure(mut sample: impl FnMut() -> (u16, u64)) -> Option<u64> {
    let (mut start_count, mut start_ticks) = sample();
    let mut unchanged = 0;
    let mut started = false;
    loop {
        let (count, ticks) = sample();
        let periods = start_count.wrapping_sub(count);
        if periods == 0 {
            unchanged += 1;
            if unchanged > UNCHANGED_MAX {
                return None;
            }
        } else if !started {
            // The first step may be the loading of the count; what counts starts at a step.
            (start_count, start_ticks, started) = (count, ticks, true);
        } else if periods >= PERIODS {
            return Some(ticks.saturating_sub(start_ticks) * PIT_HZ / u64::from(periods))
                .filter(|&hz| hz != 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_timer_gives_the_frequency() {
        // A sample every 3 periods of 2100 ticks each: 2.5 GHz.
        let mut now = 0_u64;
        let hz = measure(|| {
            now += 1;
            (u16::MAX.wrapping_sub((now * 3) as u16), now * 3 * 2100)
        });
        assert_eq!(hz, Some(2100 * PIT_HZ));
    }

    #[test]
    fn a_port_that_never_changes_is_no_timer() {
        let mut ticks = 0;
        let hz = measure(|| {
            ticks += 1000;
            (u16::MAX, ticks)
        });
        assert_eq!(hz, None);
    }
}
