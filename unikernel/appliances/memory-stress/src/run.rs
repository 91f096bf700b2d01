//! A run under way: passes over the work that was asked for, with a report as it goes.

use crate::churn::Churn;
use crate::document::{Document, InjectedEntry, MethodEntry, SCHEMA};
use crate::execute::{self, Injection};
use crate::kernel::Vectors;
use crate::memory::{RealRegion, Region, len_bytes};
use crate::method::Method;
use crate::options::{End, Options, Work};
use crate::platform::{Platform, Thousandths, hexadecimal};
use crate::program::{Verdict, WORD_LEN};
use crate::progress::Progress;
use crate::regions::Regions;
use alloc::string::String;
use core::ops::ControlFlow;
use core::time::Duration;

mod churn;
mod measurements;

/// Least time between two documents, or two lines on passes: neither shall cost more than the work.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// A run under way.
pub(crate) struct Run<'a, P> {
    platform: &'a P,
    options: Options,
    document: Document,
    start: Duration,
    deadline: Option<Duration>,
    injection: Option<Injection>,
    /// Bytes that the run may take.
    size_bytes: u64,
    published: Option<Duration>,
    pass_told: Duration,
}

impl<'a, P: Platform> Run<'a, P> {
    pub(crate) fn new(
        platform: &'a P,
        options: Options,
        injection: Option<Injection>,
        size_bytes: u64,
    ) -> Self {
        let start = platform.now();
        let deadline = match options.end {
            End::Seconds(seconds) => Some(start + Duration::from_secs(seconds.into())),
            End::Passes(_) => None,
        };
        let document = Document::default();
        Self {
            platform,
            options,
            document,
            start,
            deadline,
            injection,
            size_bytes,
            published: None,
            pass_told: start,
        }
    }

    /// Runs everything to its end. So many blocks are held by the regions, or will be.
    pub(crate) fn run(mut self, regions: &mut Regions, blocks: usize) -> Verdict {
        let vectors = match self.platform.kernels().vectors() {
            Vectors::None => "none",
            Vectors::Avx2 => "avx2",
            Vectors::Avx512 => "avx512",
        };
        self.document = Document {
            schema: SCHEMA,
            verdict: "running",
            seed: hexadecimal(self.options.seed),
            tested_bytes: len_bytes(blocks),
            vectors,
            injected: self.injection.map(|Injection { word, bit, sticky }| InjectedEntry {
                offset_bytes: word * WORD_LEN,
                bit,
                sticky,
            }),
            ..Document::default()
        };
        let (seed, mib) = (&self.document.seed, len_bytes(blocks) >> 20);
        if self.has_tested_memory() {
            let what = format_args!("memory-stress: testing {mib} MiB, seed {seed}, vectors {vectors}\n");
            self.platform.print(what);
        } else {
            self.platform.print(format_args!("memory-stress: churning, seed {seed}\n"));
        }
        if let Some(injected) = &self.document.injected {
            let (how, InjectedEntry { offset_bytes, bit, .. }) =
                (if injected.sticky { "each time" } else { "once" }, injected);
            self.platform
                .print(format_args!("injecting a fault {how}, at offset {offset_bytes:#x}, bit {bit}\n"));
        }
        self.publish();
        let verifies = self.options.work.iter().any(|work| work.verifies());
        let passes = match self.options.end {
            // Measurements are made once.
            _ if !verifies => 1,
            End::Passes(passes) => passes,
            End::Seconds(_) => u32::MAX,
        };
        let mut pass = 0;
        while pass < passes {
            pass += 1;
            if self.pass(pass, regions).is_break() {
                break;
            }
            self.tell_pass(pass);
        }
        self.finish(pass)
    }

    /// Runs all work once.
    fn pass(&mut self, pass: u32, regions: &mut Regions) -> ControlFlow<()> {
        for work in self.options.work.clone() {
            if work.needs_regions() {
                self.hold(regions)
            } else {
                regions.release()
            }
            match work {
                Work::Churn(churn) => self.churn(churn, pass)?,
                Work::Verify(method) => self.verify(method, pass, regions.held())?,
                Work::Bandwidth | Work::Latency if pass > 1 => {}
                Work::Bandwidth => self.bandwidth(regions.held()),
                Work::Latency => self.latency(regions.held()),
            }
            let now = self.platform.now();
            if pass == 1 || self.published.is_none_or(|published| now - published >= REPORT_INTERVAL) {
                self.publish();
            }
            if self.is_late() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Says how far it has come, in all passes but the first, whose methods have said so themselves.
    fn tell_pass(&mut self, pass: u32) {
        let now = self.platform.now();
        if pass > 1 && now - self.pass_told >= REPORT_INTERVAL {
            self.pass_told = now;
            let wrong = self.document.wrong_words;
            self.platform.print(format_args!("{pass} passes done, {wrong} wrong words\n"));
        }
    }

    /// Sees to it that the regions are held. If a churn lost memory, less can be had than was measured before.
    fn hold(&mut self, regions: &mut Regions) {
        regions.hold(self.platform);
        let tested_bytes = len_bytes(regions.len_blocks());
        let measured_bytes = core::mem::replace(&mut self.document.tested_bytes, tested_bytes);
        if tested_bytes < measured_bytes {
            self.error(alloc::format!(
                "{tested_bytes} bytes could be taken for other methods, of {measured_bytes} before the churn"
            ));
        }
    }

    /// Notes what went wrong beside words.
    fn error(&mut self, message: String) {
        self.platform.print(format_args!("memory-stress: {message}\n"));
        self.document.errors.push(message);
    }

    /// Where the entry of a method is, which is made if need be.
    fn entry(&mut self, name: &'static str) -> usize {
        self.document.methods.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
            self.document.methods.push(MethodEntry::new(name));
            self.document.methods.len() - 1
        })
    }

    fn verify(&mut self, method: Method, pass: u32, regions: &mut [RealRegion]) -> ControlFlow<()> {
        let blocks = regions.iter().map(Region::len_blocks).sum();
        let expected = Some(execute::traffic(method, blocks));
        let name = method.name();
        let index = self.entry(name);
        let mut progress =
            Progress::new(self.platform, &mut self.document, name, expected, self.start, self.deadline);
        let seed = self.options.seed.wrapping_add(u64::from(pass - 1));
        let ended = execute::run(method, regions, seed, &mut self.injection, &mut progress);
        let time = progress.finish();
        let (traffic, wrong) = (progress.traffic, progress.wrong);
        let entry = &mut self.document.methods[index];
        entry.add(ended.is_continue(), traffic, time, wrong);
        if pass == 1 {
            print_method(self.platform, entry);
        }
        ended
    }

    /// Hands over what there is so far.
    fn publish(&mut self) {
        let now = self.platform.now();
        self.published = Some(now);
        self.document.publish(self.platform, now - self.start);
    }

    /// Whether there is memory under test: churns take what they need.
    fn has_tested_memory(&self) -> bool {
        self.options.work.iter().any(|work| work.needs_regions())
    }

    /// Whether the time limit has passed.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.platform.now() >= deadline)
    }

    /// Whether every method that was asked for has come to its end at least once.
    fn has_verified_all(&self) -> bool {
        let is_done = |name| self.document.methods.iter().any(|entry| entry.name == name && entry.complete);
        self.options.work.iter().all(|work| !work.verifies() || is_done(work.name()))
    }

    /// Gives the verdict.
    fn finish(mut self, passes: u32) -> Verdict {
        let wrong = self.document.wrong_words;
        self.document.complete = true;
        self.document.verdict = match wrong {
            0 if !self.document.errors.is_empty() => "failed",
            0 if !self.has_verified_all() => "incomplete",
            0 if self.document.methods.is_empty() => "not-verified",
            0 => "passed",
            _ => "failed",
        };
        self.publish();
        if passes > 1 {
            self.platform.print(format_args!("over {passes} passes:\n"));
            self.document.churn.iter().for_each(|entry| churn::print_part(self.platform, entry));
            self.document.methods.iter().for_each(|entry| print_method(self.platform, entry));
        }
        if self.options.json {
            self.platform.print(format_args!("{}\n", self.document.to_json()));
        }
        let (verdict, word) = match self.document.verdict {
            "failed" if wrong == 0 => (Verdict::AuditFailed, "FAILED, not by a wrong word"),
            "failed" => (Verdict::WrongWords, "FAILED"),
            "passed" => (Verdict::Passed, "PASSED"),
            "incomplete" => (Verdict::Incomplete, "INCOMPLETE, time was up"),
            _ => (Verdict::Passed, "MEASURED, nothing verified"),
        };
        self.platform.print(format_args!("memory-stress: {word}: "));
        if self.has_tested_memory() {
            self.platform.print(format_args!("{} MiB, ", self.document.tested_bytes >> 20));
        }
        self.platform.print(format_args!(
            "{} method runs in {passes} passes, {wrong} wrong words, {} s\n",
            self.document.methods.iter().map(|entry| u64::from(entry.runs)).sum::<u64>(),
            Thousandths(self.document.elapsed_ns / 1_000_000),
        ));
        verdict
    }
}

/// Prints one line on a method: its rate, its time for a word read or written, and what it found.
fn print_method(platform: &impl Platform, entry: &MethodEntry) {
    if Churn::by_name(entry.name).is_some() {
        return churn::print_whole(platform, entry);
    }
    let picoseconds_a_word = entry.elapsed_ns.saturating_mul(1000) / (entry.traffic_bytes / WORD_LEN).max(1);
    platform.print(format_args!(
        "{:<20} {:>6} MiB/s {:>8} ns a word  {} wrong words{}\n",
        entry.name,
        entry.mib_per_second,
        Thousandths(picoseconds_a_word),
        entry.wrong_words,
        if entry.complete { "" } else { ", broken off" },
    ));
}
