//! The program, the same in the guest and on the host: takes memory, runs what was asked for, gives a verdict.

use crate::content::{CHUNK_BLOCKS, mix};
use crate::document::{BandwidthEntry, Document, InjectedEntry, LatencyEntry, MethodEntry, SCHEMA};
use crate::execute::{self, Injection};
use crate::kernel::{BLOCK_LEN, Vectors};
use crate::measure::{self, Operation, working_sets};
use crate::memory::{RealRegion, Region, len_bytes};
use crate::method::Method;
use crate::options::{End, Options, Request, USAGE, Work, parse};
use crate::platform::{Platform, Thousandths, hexadecimal, mib_per_second, nanoseconds};
use crate::progress::Progress;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::time::Duration;

/// Bytes that are left free, for the program itself.
const RESERVE_BYTES: u64 = 512 << 10;
/// Length of the largest region in bytes, and of the smallest worth having.
const REGION_MAX: u64 = 1 << 30;
const REGION_MIN: u64 = (2 * CHUNK_BLOCKS * BLOCK_LEN) as u64;
/// Most regions.
const REGIONS_MAX: usize = 4096;
const WORD_LEN: u64 = size_of::<u64>() as u64;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All went well, and every word held what was written to it.
    Passed,
    /// Some word did not.
    WrongWords,
    /// The command line can't be followed.
    Refused,
}

/// Runs the program.
pub fn run(arguments: &[String], platform: &impl Platform) -> Verdict {
    let refuse = |message: &str| {
        platform.print(format_args!("memory-stress: {message}\n"));
        Verdict::Refused
    };
    let options = match parse(arguments) {
        Ok(Request::Run(options)) => options,
        Ok(Request::List) => {
            for work in Work::all() {
                platform.print(format_args!("{:<20} {}\n", work.name(), work.purpose()));
            }
            return Verdict::Passed;
        }
        Err(message) => return refuse(&alloc::format!("{message}; usage: {USAGE}")),
    };
    let free = platform.free_bytes().saturating_sub(RESERVE_BYTES);
    if options.size.is_some_and(|size| size > free) {
        return refuse(&alloc::format!("--size is more than the {} MiB that are free", free >> 20));
    }
    let mut regions = take_memory(platform, options.size.unwrap_or(free));
    let blocks = regions.iter().map(Region::len_blocks).sum();
    if blocks == 0 {
        return refuse(&alloc::format!("there is no room to test: {REGION_MIN} bytes are the least"));
    }
    let injection = match injection(&options, len_bytes(blocks)) {
        Ok(injection) => injection,
        Err(message) => return refuse(&message),
    };
    Run { platform, options, document: Document::default(), deadline: None, injection }
        .run(&mut regions, blocks)
}

/// Takes memory in ever smaller regions.
fn take_memory(platform: &impl Platform, mut wanted: u64) -> Vec<RealRegion> {
    let mut regions = Vec::new();
    if regions.try_reserve_exact(REGIONS_MAX).is_err() {
        return regions;
    }
    let mut len = REGION_MAX;
    while len >= REGION_MIN && regions.len() < REGIONS_MAX {
        let room = platform.free_bytes().saturating_sub(RESERVE_BYTES).min(wanted);
        let region =
            if room < len { None } else { RealRegion::take(len as usize / BLOCK_LEN, platform.kernels()) };
        match region {
            Some(region) => {
                wanted -= len_bytes(region.len_blocks());
                regions.push(region);
            }
            None => len /= 2,
        }
    }
    regions
}

/// The fault to be made, at its place.
fn injection(options: &Options, tested: u64) -> Result<Option<Injection>, String> {
    let Some(inject) = options.inject else { return Ok(None) };
    let random = mix(options.seed);
    let offset = inject.offset.unwrap_or(random % tested);
    if offset >= tested {
        return Err(alloc::format!("--inject @{offset:#x} is behind the {tested:#x} bytes under test"));
    }
    Ok(Some(Injection { word: offset / WORD_LEN, bit: (random >> 58) as u32, sticky: inject.sticky }))
}

/// A run under way.
struct Run<'a, P> {
    platform: &'a P,
    options: Options,
    document: Document,
    deadline: Option<Duration>,
    injection: Option<Injection>,
}

impl<P: Platform> Run<'_, P> {
    fn run(mut self, regions: &mut [RealRegion], blocks: usize) -> Verdict {
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
        self.platform.print(format_args!(
            "memory-stress: testing {} MiB, seed {}, vectors {vectors}\n",
            len_bytes(blocks) >> 20,
            self.document.seed
        ));
        if let Some(injected) = &self.document.injected {
            let (how, InjectedEntry { offset_bytes, bit, .. }) =
                (if injected.sticky { "each time" } else { "once" }, injected);
            self.platform
                .print(format_args!("injecting a fault {how}, at offset {offset_bytes:#x}, bit {bit}\n"));
        }
        let start = self.platform.now();
        if let End::Seconds(seconds) = self.options.end {
            self.deadline = Some(start + Duration::from_secs(seconds.into()));
        }
        self.publish(start);
        let passes = match self.options.end {
            End::Passes(passes) => passes,
            End::Seconds(_) => u32::MAX,
        };
        let mut pass = 0;
        while pass < passes {
            pass += 1;
            if self.pass(pass, regions, blocks, start).is_break() {
                break;
            }
        }
        self.finish(start, pass)
    }

    /// Runs all work once.
    fn pass(
        &mut self,
        pass: u32,
        regions: &mut [RealRegion],
        blocks: usize,
        start: Duration,
    ) -> ControlFlow<()> {
        for work in self.options.work.clone() {
            match work {
                Work::Verify(method) => self.verify(method, pass, regions, blocks)?,
                Work::Bandwidth | Work::Latency if pass > 1 => {}
                Work::Bandwidth => self.bandwidth(regions),
                Work::Latency => self.latency(regions),
            }
            self.publish(start);
            if self.deadline.is_some_and(|deadline| self.platform.now() >= deadline) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn verify(
        &mut self,
        method: Method,
        pass: u32,
        regions: &mut [RealRegion],
        blocks: usize,
    ) -> ControlFlow<()> {
        let expected = execute::traffic(method, blocks);
        let mut progress =
            Progress::new(self.platform, &mut self.document, method.name(), expected, self.deadline);
        let seed = self.options.seed.wrapping_add(u64::from(pass - 1));
        let ended = execute::run(method, regions, seed, &mut self.injection, &mut progress);
        let time = progress.finish();
        let (traffic_bytes, wrong_words) = (progress.traffic, progress.wrong);
        let rate = mib_per_second(traffic_bytes, time);
        let picoseconds_a_word = nanoseconds(time).saturating_mul(1000) / (traffic_bytes / WORD_LEN).max(1);
        let broken_off = if ended.is_break() { ", broken off" } else { "" };
        self.platform.print(format_args!(
            "{:<20} {rate:>6} MiB/s {:>8} ns a word  {wrong_words} wrong words{broken_off}\n",
            method.name(),
            Thousandths(picoseconds_a_word),
        ));
        self.document.methods.push(MethodEntry {
            name: method.name(),
            pass,
            complete: ended.is_continue(),
            traffic_bytes,
            elapsed_ns: nanoseconds(time),
            mib_per_second: rate,
            wrong_words,
        });
        ended
    }

    /// The region that measurements use: the first, which is the largest.
    fn bandwidth(&mut self, regions: &mut [RealRegion]) {
        let Some(region) = regions.first_mut() else { return };
        let names = Operation::ALL.map(Operation::name);
        self.platform.print(format_args!("bandwidth, MiB/s   "));
        names.iter().for_each(|name| self.platform.print(format_args!(" {name:>8}")));
        self.platform.print(format_args!("\n"));
        for blocks in working_sets(region.len_blocks()) {
            let working_set_bytes = len_bytes(blocks);
            self.platform.print(format_args!("{:>12} KiB   ", working_set_bytes >> 10));
            for operation in Operation::ALL {
                let set = &mut region.blocks_mut()[..blocks];
                let (bytes, time) =
                    measure::bandwidth(operation, self.platform.kernels(), set, || self.platform.now());
                let rate = mib_per_second(bytes, time);
                self.platform.print(format_args!(" {rate:>8}"));
                self.document.bandwidth.push(BandwidthEntry {
                    operation: operation.name(),
                    working_set_bytes,
                    mib_per_second: rate,
                });
            }
            self.platform.print(format_args!("\n"));
        }
    }

    fn latency(&mut self, regions: &mut [RealRegion]) {
        let Some(region) = regions.first_mut() else { return };
        for blocks in working_sets(region.len_blocks()) {
            let working_set_bytes = len_bytes(blocks);
            let (reads, time) = measure::latency(&mut region.blocks_mut()[..blocks], || self.platform.now());
            let picoseconds = nanoseconds(time).saturating_mul(1000) / reads.max(1);
            self.platform.print(format_args!(
                "latency {:>12} KiB {:>8} ns\n",
                working_set_bytes >> 10,
                Thousandths(picoseconds)
            ));
            self.document.latency.push(LatencyEntry { working_set_bytes, picoseconds });
        }
    }

    /// Hands over what there is so far.
    fn publish(&mut self, start: Duration) {
        if self.document.wrong_words > 0 {
            self.document.verdict = "failed";
        }
        self.document.elapsed_ns = nanoseconds(self.platform.now() - start);
        self.platform.publish(&self.document.to_json());
    }

    /// Gives the verdict.
    fn finish(mut self, start: Duration, passes: u32) -> Verdict {
        let wrong = self.document.wrong_words;
        self.document.complete = true;
        self.document.verdict = match wrong {
            0 if self.document.methods.is_empty() => "not-verified",
            0 => "passed",
            _ => "failed",
        };
        self.publish(start);
        let Document { tested_bytes, elapsed_ns, .. } = self.document;
        if self.options.json {
            self.platform.print(format_args!("{}\n", self.document.to_json()));
        }
        let (verdict, word) = match self.document.verdict {
            "failed" => (Verdict::WrongWords, "FAILED"),
            "passed" => (Verdict::Passed, "PASSED"),
            _ => (Verdict::Passed, "MEASURED, nothing verified"),
        };
        self.platform.print(format_args!(
            "memory-stress: {word}: {} MiB, {} method runs in {passes} passes, {wrong} wrong words, {} s\n",
            tested_bytes >> 20,
            self.document.methods.len(),
            Thousandths(elapsed_ns / 1_000_000),
        ));
        verdict
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
