//! The result of a run as a document, JSON of the schema [`SCHEMA`].
//!
//! It is published at each wrong word that it lists, after each method, and twice a second, so that a run which is ended
//! from outside leaves what it had; `complete` is false in all but the last. Its length does not grow with the number of passes.

use crate::churn::figure::{Figure, Pages, Room};
use crate::platform::{Platform, mib_per_second, nanoseconds};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use serde::Serialize;

/// Name and version of the schema. The number changes when a field changes its meaning or goes away, not when one is
/// added.
pub const SCHEMA: &str = "freehold.memory-stress/1";

/// Wrong words that are listed; the rest are counted.
pub const LISTED_MAX: usize = 16;

/// A whole document. Lengths are in bytes, times in nanoseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whether the run came to its end.
    pub complete: bool,
    /// `passed` only if every method that was asked for came to its end, `failed` if there are wrong words or `errors`,
    /// `incomplete` if time was up before that, `not-verified` after measurements alone, or `running` in a document that is
    /// not complete and has nothing wrong yet.
    pub verdict: &'static str,
    /// Seed of the random methods, as `0x…`: a JSON number can't hold all 64 bits everywhere.
    pub seed: String,
    /// Memory under test, which churns need none of.
    pub tested_bytes: u64,
    /// `none`, `avx2` or `avx512`.
    pub vectors: &'static str,
    /// Time from the start of the first method.
    pub elapsed_ns: u64,
    /// Wrong words over all methods.
    pub wrong_words: u64,
    /// The first of them.
    pub wrong_words_listed: Vec<WrongWordEntry>,
    /// What churns found wrong otherwise, such as memory that was not given back.
    pub errors: Vec<String>,
    /// The fault that was made on purpose, if one was.
    pub injected: Option<InjectedEntry>,
    /// Each method that has run, in order.
    pub methods: Vec<MethodEntry>,
    /// Figures of each part of the churns that have run.
    pub churn: Vec<ChurnEntry>,
    /// Bandwidths, if they were measured.
    pub bandwidth: Vec<BandwidthEntry>,
    /// Latencies, if they were measured.
    pub latency: Vec<LatencyEntry>,
}

/// A wrong word. Numbers are `0x…`.
#[derive(Clone, Debug, Serialize)]
pub struct WrongWordEntry {
    /// The method that found it.
    pub method: &'static str,
    /// Virtual address.
    pub address: String,
    /// Physical address, where it is known.
    pub physical_address: Option<String>,
    /// What was written.
    pub expected: String,
    /// What was read.
    pub found: String,
    /// The bits in which they differ.
    pub differing_bits: String,
}

/// A fault made on purpose.
#[derive(Clone, Debug, Serialize)]
pub struct InjectedEntry {
    /// Offset into the memory under test.
    pub offset_bytes: u64,
    /// The bit of the word there.
    pub bit: u32,
    /// Whether it came again each time.
    pub sticky: bool,
}

/// All runs of a method.
#[derive(Clone, Debug, Serialize)]
pub struct MethodEntry {
    /// Its name.
    pub name: &'static str,
    /// How often it ran: once in each pass.
    pub runs: u32,
    /// Whether it came to its end at least once. False for the one at work when the document was handed over.
    pub complete: bool,
    /// Bytes read and written.
    pub traffic_bytes: u64,
    /// How long it took.
    pub elapsed_ns: u64,
    /// Bytes read and written by time, in MiB a second.
    pub mib_per_second: u64,
    /// Wrong words it found.
    pub wrong_words: u64,
}

impl MethodEntry {
    /// A method that has not run.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            runs: 0,
            complete: false,
            traffic_bytes: 0,
            elapsed_ns: 0,
            mib_per_second: 0,
            wrong_words: 0,
        }
    }

    /// Adds one run.
    pub fn add(&mut self, complete: bool, traffic_bytes: u64, time: Duration, wrong_words: u64) {
        self.runs += 1;
        self.complete |= complete;
        self.traffic_bytes = self.traffic_bytes.saturating_add(traffic_bytes);
        self.elapsed_ns = self.elapsed_ns.saturating_add(nanoseconds(time));
        self.mib_per_second = mib_per_second(self.traffic_bytes, Duration::from_nanos(self.elapsed_ns));
        self.wrong_words = self.wrong_words.saturating_add(wrong_words);
    }
}

/// All runs of a part of a churn. Times are those of its operations alone.
#[derive(Clone, Debug, Serialize)]
pub struct ChurnEntry {
    /// `heap-churn`, `map-churn` or `fault-storm`.
    pub name: &'static str,
    /// The part: see [`churn::heap`](crate::churn::heap), [`churn::map`](crate::churn::map) and
    /// [`churn::fault`](crate::churn::fault).
    pub part: String,
    /// Operations that were done.
    pub operations: u64,
    /// Operations that were refused for lack of memory, or of pages of this length.
    pub refused: u64,
    /// How long all of them took.
    pub elapsed_ns: u64,
    /// Time of one, in picoseconds.
    pub picoseconds_an_operation: u64,
    /// For parts that map, or have pages come and go: how many pages an operation is about.
    pub pages_an_operation: Option<u64>,
    /// And how long each is.
    pub page_bytes: Option<u64>,
    /// For parts at which pages come on demand: page faults that the accesses to them took.
    pub faults: Option<u64>,
    /// For scattered blocks: what was free at the end of the latest run, while those that survived were there.
    pub free_bytes: Option<u64>,
    /// And the largest block that could be allocated of it.
    pub largest_block_bytes: Option<u64>,
}

impl ChurnEntry {
    /// A part that has not run.
    #[must_use]
    pub fn new(name: &'static str, figure: &Figure) -> Self {
        Self {
            name,
            part: figure.part.clone(),
            operations: 0,
            refused: 0,
            elapsed_ns: 0,
            picoseconds_an_operation: 0,
            pages_an_operation: figure.pages.map(|Pages { count, .. }| count),
            page_bytes: figure.pages.map(|Pages { page_bytes, .. }| page_bytes),
            faults: None,
            free_bytes: None,
            largest_block_bytes: None,
        }
    }

    /// Adds one run.
    pub fn add(&mut self, figure: &Figure) {
        self.operations = self.operations.saturating_add(figure.operations);
        self.refused = self.refused.saturating_add(figure.refused);
        self.elapsed_ns = self.elapsed_ns.saturating_add(nanoseconds(figure.time));
        self.picoseconds_an_operation = self.elapsed_ns.saturating_mul(1000) / self.operations.max(1);
        if let Some(faults) = figure.faults {
            self.faults = Some(self.faults.unwrap_or(0).saturating_add(faults));
        }
        if let Some(Room { free_bytes, largest_block_bytes }) = figure.room {
            (self.free_bytes, self.largest_block_bytes) = (Some(free_bytes), Some(largest_block_bytes));
        }
    }
}

/// A measured bandwidth.
#[derive(Clone, Debug, Serialize)]
pub struct BandwidthEntry {
    /// `read`, `write` (`rep stosq`), `write-nt` (past the caches), `copy` (`rep movsb`) or `copy-nt`.
    pub operation: &'static str,
    /// Memory it went over, again and again.
    pub working_set_bytes: u64,
    /// Bytes read and written by time, in MiB a second.
    pub mib_per_second: u64,
}

/// A measured latency.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyEntry {
    /// Memory it went through in random order.
    pub working_set_bytes: u64,
    /// Time of one dependent read, in picoseconds.
    pub picoseconds: u64,
}

impl Document {
    /// Hands the document over, `elapsed` after the start of the run.
    pub(crate) fn publish(&mut self, platform: &impl Platform, elapsed: Duration) {
        if !self.complete && (self.wrong_words > 0 || !self.errors.is_empty()) {
            self.verdict = "failed";
        }
        self.elapsed_ns = nanoseconds(elapsed);
        platform.publish(&self.to_json());
    }

    /// The document as JSON, without line ends.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A structure of numbers, strings and lists has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
