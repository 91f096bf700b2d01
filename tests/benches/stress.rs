//! `just bench stress`: the loops of memory-stress in the guest against the same loops in a process of the host, and against
//! memtester, by turns in one run. Ratios are what counts; nothing fails for being slow.
//!
//! Memory is backed by transparent huge pages on both sides: `vmm-stub` asks for them, and the process is told to by
//! glibc's tunable. Each side touches its memory before it is timed.

use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;
use system_tests::artifact::Artifacts;
use system_tests::contest::median;
use system_tests::lane::{Lane, Lanes};
use system_tests::memory_stress::{as_process, in_guest, process_binary, succeed};

/// Runs of each side, by turns, after one that is not counted.
const RUNS: usize = 5;
const SIZE: &str = "512M";
const GUEST_MEMORY: &str = "1G";
const METHODS: &str = "address-in-address,checkerboard,moving-inversions,walking-ones,walking-zeros,random,block-move,bandwidth,latency";
const ARGUMENTS: [&str; 4] = ["--size", SIZE, "--method", METHODS];
/// Working set that bandwidths are compared at: beyond all caches.
const LARGE_SET_BYTES: u64 = 256 << 20;
/// Guest over host, to be reached.
const RATIO_TARGET: f64 = 0.95;

const MEMTESTER_MIB: u64 = 256;
/// memtester's tests that have a counterpart: its name, the bit of its mask, how many times it writes and compares its
/// memory, our method, and the ratio to be reached.
const COUNTERPARTS: [(&str, u32, f64, &str, f64); 4] = [
    ("random value", 0, 1.0, "random", 10.0),
    ("checkerboard", 10, 64.0, "checkerboard", 1.0),
    ("walking ones", 13, 128.0, "walking-ones", 1.0),
    ("walking zeros", 14, 128.0, "walking-zeros", 1.0),
];
/// A bit of memtester's mask beyond its last test: only the test that always runs.
const NO_TEST: u32 = 30;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench stress: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let artifacts = Artifacts::find()?;
    let lanes = Lanes::detect(&artifacts)?;
    if let Some(reason) = lanes.missing(Lane::Kvm) {
        println!("nothing measured, since there is no KVM: {reason}");
        return Ok(());
    }
    let process = process_binary(&artifacts, "just bench stress")?;
    let mut guest_runs = Vec::new();
    let mut host_runs = Vec::new();
    for run in 0..=RUNS {
        let (guest, host) = (guest(&artifacts)?, figures(&as_process(&process, &ARGUMENTS)?)?);
        if run > 0 {
            guest_runs.push(guest);
            host_runs.push(host);
        }
    }
    println!("guest ({GUEST_MEMORY}, KVM) and host process, {SIZE} tested, medians of {RUNS} runs by turns");
    println!("  {:<28} {:>10} {:>10} {:>7}", "MiB/s, read and written", "guest", "host", "ratio");
    for name in guest_runs[0].keys() {
        let of = |runs: &[Figures]| median(runs.iter().filter_map(|run| run.get(name).copied()).collect());
        let (guest, host) = (of(&guest_runs), of(&host_runs));
        println!("  {name:<28} {guest:>10.0} {host:>10.0} {:>7.2}", guest / host);
    }
    println!("  target: {RATIO_TARGET} or more, warm");
    memtester(&guest_runs, &host_runs)
}

/// MiB/s by name.
type Figures = BTreeMap<String, f64>;

fn guest(artifacts: &Artifacts) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    figures(&in_guest(artifacts, Lane::Kvm, GUEST_MEMORY, folder.path(), &ARGUMENTS)?)
}

fn figures(json: &str) -> Result<Figures> {
    let document: Value = serde_json::from_str(json)?;
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let mut figures = Figures::new();
    for method in list("methods") {
        let name = method["name"].as_str().unwrap_or_default().to_owned();
        figures.insert(name, method["mib_per_second"].as_f64().unwrap_or(f64::NAN));
    }
    for entry in list("bandwidth") {
        if entry["working_set_bytes"] == LARGE_SET_BYTES {
            let name = format!(
                "~ {} {} MiB",
                entry["operation"].as_str().unwrap_or_default(),
                LARGE_SET_BYTES >> 20
            );
            figures.insert(name, entry["mib_per_second"].as_f64().unwrap_or(f64::NAN));
        }
    }
    Ok(figures)
}

/// memtester's tests beside ours, by bytes verified a second.
fn memtester(guest_runs: &[Figures], host_runs: &[Figures]) -> Result<()> {
    if memtester_seconds(NO_TEST).is_err() {
        println!(
            "\nmemtester is not installed, or may not lock memory: not compared (apt-get install memtester)"
        );
        return Ok(());
    }
    println!("\nmemtester {MEMTESTER_MIB}M and memory-stress: MiB verified a second, medians");
    println!("  {:<16} {:>10} {:>10} {:>10} {:>13}", "", "memtester", "host", "guest", "ratio, target");
    for (name, bit, sweeps, method, target) in COUNTERPARTS {
        let mut rates = Vec::new();
        for _ in 0..3 {
            let seconds = memtester_seconds(bit)? - memtester_seconds(NO_TEST)?;
            rates.push(sweeps * MEMTESTER_MIB as f64 / seconds.max(1e-6));
        }
        let theirs = median(rates);
        // Our figures count bytes read and written; these methods verify each word once for each time they write it.
        let ours = |runs: &[Figures]| {
            median(runs.iter().filter_map(|run| run.get(method)).map(|rate| rate / 2.0).collect())
        };
        let (host, guest) = (ours(host_runs), ours(guest_runs));
        let ratio = guest / theirs;
        println!("  {name:<16} {theirs:>10.0} {host:>10.0} {guest:>10.0} {ratio:>7.1} of {target:.0}");
    }
    Ok(())
}

/// How long memtester takes with the tests of one bit of its mask, besides the one that always runs.
fn memtester_seconds(bit: u32) -> Result<f64> {
    let mut command = Command::new("memtester");
    command
        .args([&format!("{MEMTESTER_MIB}M"), "1"])
        .env("MEMTESTER_TEST_MASK", format!("{:#x}", 1_u32 << bit));
    let start = Instant::now();
    succeed(&mut command)?;
    Ok(start.elapsed().as_secs_f64())
}
