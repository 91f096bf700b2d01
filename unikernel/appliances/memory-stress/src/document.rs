//! The result of a run as a document, JSON of the schema [`SCHEMA`].
//!
//! It is published after each method, so that a run which is ended from outside leaves what it had; `complete` is false
//! in all but the last.

use alloc::string::String;
use alloc::vec::Vec;
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
    /// `passed`, `failed`, `not-verified` after measurements alone, or `running` in a document that is not complete and
    /// has nothing wrong yet.
    pub verdict: &'static str,
    /// Seed of the random methods, as `0x…`: a JSON number can't hold all 64 bits everywhere.
    pub seed: String,
    /// Memory under test.
    pub tested_bytes: u64,
    /// `none`, `avx2` or `avx512`.
    pub vectors: &'static str,
    /// Time from the start of the first method.
    pub elapsed_ns: u64,
    /// Wrong words over all methods.
    pub wrong_words: u64,
    /// The first of them.
    pub wrong_words_listed: Vec<WrongWordEntry>,
    /// The fault that was made on purpose, if one was.
    pub injected: Option<InjectedEntry>,
    /// Each run of each method, in order.
    pub methods: Vec<MethodEntry>,
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

/// One run of a method.
#[derive(Clone, Debug, Serialize)]
pub struct MethodEntry {
    /// Its name.
    pub name: &'static str,
    /// The pass, from 1.
    pub pass: u32,
    /// Whether it came to its end.
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
    /// The document as JSON, without line ends.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A structure of numbers, strings and lists has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}
