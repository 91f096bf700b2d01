//! Watches a method at work: counts and prints wrong words, shows progress, keeps to the time limit.

use crate::document::{Document, LISTED_MAX, WrongWordEntry};
use crate::execute::{Observer, WrongWord};
use crate::platform::{Platform, hexadecimal, mib_per_second};
use core::ops::ControlFlow;
use core::time::Duration;

/// Time between two documents in the middle of a method.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);
/// Time between two looks of the progress line.
const INTERVAL: Duration = Duration::from_millis(200);

/// The watcher of one method.
pub(crate) struct Progress<'a, P> {
    platform: &'a P,
    document: &'a mut Document,
    method: &'static str,
    start: Duration,
    run_start: Duration,
    published: Duration,
    deadline: Option<Duration>,
    traffic_expected: Option<u64>,
    /// Bytes read and written.
    pub(crate) traffic: u64,
    /// Wrong words found.
    pub(crate) wrong: u64,
    shown: Option<Duration>,
}

impl<'a, P: Platform> Progress<'a, P> {
    pub(crate) fn new(
        platform: &'a P,
        document: &'a mut Document,
        method: &'static str,
        traffic_expected: Option<u64>,
        run_start: Duration,
        deadline: Option<Duration>,
    ) -> Self {
        let start = platform.now();
        Self {
            platform,
            document,
            method,
            start,
            run_start,
            published: start,
            deadline,
            traffic_expected,
            traffic: 0,
            wrong: 0,
            shown: None,
        }
    }

    /// Takes the progress line away. Returns the time since the start.
    pub(crate) fn finish(&mut self) -> Duration {
        let elapsed = self.platform.now() - self.start;
        self.clear();
        elapsed
    }

    /// Hands over what there is, in the middle of a method.
    fn publish(&mut self, now: Duration) {
        self.published = now;
        self.document.publish(self.platform, now - self.run_start);
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            self.platform.print(format_args!("\r\x1b[K"));
        }
    }

    fn show(&mut self, now: Duration) {
        if !self.platform.is_terminal() || now - self.shown.unwrap_or(self.start) < INTERVAL {
            return;
        }
        self.shown = Some(now);
        let rate = mib_per_second(self.traffic, now - self.start);
        let (method, mib) = (self.method, self.traffic >> 20);
        let Some(expected) = self.traffic_expected else {
            return self.platform.print(format_args!("\r\x1b[K{method:<20} {mib:>6} MiB  {rate:>6} MiB/s"));
        };
        let left_mib = expected.saturating_sub(self.traffic) >> 20;
        self.platform.print(format_args!(
            "\r\x1b[K{method:<20} {mib:>6} of {} MiB  {rate:>6} MiB/s  {} s left",
            expected >> 20,
            left_mib / rate.max(1)
        ));
    }
}

impl<P: Platform> Observer for Progress<'_, P> {
    fn wrong(&mut self, word: WrongWord) {
        self.wrong += 1;
        self.document.wrong_words += 1;
        let listed = self.document.wrong_words_listed.len();
        if listed == LISTED_MAX {
            return;
        }
        self.clear();
        let WrongWord { address, expected, found } = word;
        let physical = self.platform.physical_address(address);
        let entry = WrongWordEntry {
            method: self.method,
            address: hexadecimal(address),
            physical_address: physical.map(hexadecimal),
            expected: hexadecimal(expected),
            found: hexadecimal(found),
            differing_bits: hexadecimal(expected ^ found),
        };
        self.platform.print(format_args!(
            "wrong word at {} (physical {}): found {found:#018x}, expected {expected:#018x}, differing bits {}\n",
            entry.address,
            entry.physical_address.as_deref().unwrap_or("unknown"),
            entry.differing_bits,
        ));
        self.document.wrong_words_listed.push(entry);
        // At once: whatever ends the run from outside, the word is told.
        self.publish(self.platform.now());
        if listed + 1 == LISTED_MAX {
            self.platform.print(format_args!("further wrong words are only counted\n"));
        }
    }

    fn progress(&mut self, bytes: u64) -> ControlFlow<()> {
        self.traffic += bytes;
        let now = self.platform.now();
        self.show(now);
        if now - self.published >= PUBLISH_INTERVAL {
            self.publish(now);
        }
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
