//! The appliance `memory-stress` as a tool: what it lists, refuses, finds, and hands over.

use crate::context::{Context, OnLane, Outcome};
use guest_interface::status::{KernelStatus, VmmStatus};
use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use system_tests::boot::Boot;
use system_tests::lane::Lane;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

const METHODS: [&str; 12] = [
    "heap-churn",
    "map-churn",
    "fault-storm",
    "address-in-address",
    "checkerboard",
    "moving-inversions",
    "walking-ones",
    "walking-zeros",
    "random",
    "block-move",
    "bandwidth",
    "latency",
];
/// Where and with how much memory churns run: on each machine, from little to much.
const CHURNS: [(Lane, &str); 7] = [
    (Lane::Kvm, "16M"),
    (Lane::Kvm, "64M"),
    (Lane::Kvm, "1G"),
    (Lane::Kvm, "6G"),
    (Lane::QemuQ35, "16M"),
    (Lane::QemuPc, "64M"),
    (Lane::QemuMicrovm, "1G"),
];
/// Where and with how much memory everything runs that there is: the methods after the churns take what those gave back.
const ALL_WORK: [(Lane, &str); 3] = [(Lane::Kvm, "64M"), (Lane::Kvm, "512M"), (Lane::QemuMicrovm, "64M")];
/// Status of a command line that the application does not follow.
const USAGE: u8 = 2;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 9] = [
        ("stress/list", list),
        ("stress/each_method_passes", each_method_passes),
        ("stress/each_method_finds_an_injected_fault", each_method_finds_an_injected_fault),
        ("stress/json_on_the_console", json_on_the_console),
        ("stress/result_file", result_file),
        ("stress/result_of_a_failed_run", result_of_a_failed_run),
        ("stress/result_of_a_run_that_was_ended", result_of_a_run_that_was_ended),
        ("stress/no_result_is_an_error", no_result_is_an_error),
        ("stress/refused", refused),
    ];
    let churns = CHURNS.iter().map(|&(lane, memory)| {
        context.trial(lane, &format!("stress/churns/{memory}"), move || churns(context, lane, memory))
    });
    let all_work = ALL_WORK.iter().map(|&(lane, memory)| {
        context.trial(lane, &format!("stress/all_work/{memory}"), move || all_work(context, lane, memory))
    });
    [Lane::Kvm, Lane::QemuMicrovm]
        .into_iter()
        .flat_map(|lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane))))
        .chain(churns)
        .chain(all_work)
        .chain([context.trial(Lane::Kvm, "stress/after_each_churn", move || after_each_churn(context))])
        .collect()
}

fn boot(context: &Context, lane: Lane, arguments: &[&str]) -> Boot {
    context.boot(lane, &context.artifacts.memory_stress).memory("32M").arguments(arguments)
}

fn list(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(context, lane, &["--list"]).options(["--log", "off"]).end()?;
    let stdout = verdict.status(0)?.stdout();
    let names: Vec<&str> = stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if names != METHODS {
        return Err(verdict.failure(format!("{names:?} are listed")));
    }
    Ok(())
}

fn each_method_passes(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(context, lane, &["--size", "4M"]).timeout(Duration::from_secs(60)).end()?;
    verdict
        .status(0)?
        .prints(METHODS)?
        .prints(["memory-stress: PASSED: 4 MiB, 10 method runs", " 0 wrong words"])?;
    Ok(())
}

fn each_method_finds_an_injected_fault(context: &Context, lane: Lane) -> Outcome {
    let verify = METHODS[3..10].join(",");
    let arguments = ["--size", "4M", "--method", &verify, "--inject=sticky@0x123458", "--json"];
    let verdict = boot(context, lane, &arguments).timeout(Duration::from_secs(60)).end()?;
    verdict.status(KernelStatus::VerificationFailure.code())?;
    verdict.prints(["injecting a fault each time, at offset 0x123458", "memory-stress: FAILED: "])?;
    let document = console_document(&verdict)?;
    let blind: Vec<&Value> = document["methods"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|method| method["wrong_words"] == 0)
        .collect();
    if document["methods"].as_array().map(Vec::len) != Some(7) || !blind.is_empty() {
        return Err(verdict.failure(format!("not all methods found the fault: {blind:?}")));
    }
    Ok(())
}

/// The document that `--json` has printed.
fn console_document(verdict: &Verdict) -> Result<Value, Failure> {
    let stdout = verdict.stdout();
    let line = stdout.lines().find(|line| line.starts_with('{'));
    let document = line.and_then(|line| serde_json::from_str(line).ok());
    document.ok_or_else(|| verdict.failure("no line of JSON was printed"))
}

fn json_on_the_console(context: &Context, lane: Lane) -> Outcome {
    let arguments = ["--size", "1M", "--method", "random,latency", "--seed", "7", "--json"];
    let verdict = boot(context, lane, &arguments).end()?;
    verdict.status(0)?;
    expect(&verdict, &console_document(&verdict)?, true, "passed")
}

/// Judges what every document holds.
fn expect(verdict: &Verdict, document: &Value, complete: bool, word: &str) -> Outcome {
    let right = document["schema"] == "freehold.memory-stress/1"
        && document["complete"] == complete
        && document["verdict"] == word
        && document["tested_bytes"].as_u64().is_some_and(|bytes| bytes >= 1 << 20);
    if right { Ok(()) } else { Err(verdict.failure(format!("the document is not as expected: {document}"))) }
}

/// Every part does something, nothing is wrong, and the tables and frames are as they must be afterwards.
fn churns(context: &Context, lane: Lane, memory: &str) -> Outcome {
    let _alone = memory.ends_with('G').then(|| context.large_guest());
    let arguments = ["--method", "heap-churn,map-churn,fault-storm", "--audit", "--json"];
    let boot = context.boot(lane, &context.artifacts.memory_stress).memory(memory).arguments(arguments);
    let verdict = boot.timeout(Duration::from_secs(120)).end()?;
    verdict.status(0)?;
    verdict.prints([
        "memory-stress: churning, seed ",
        "memory-stress: PASSED: 3 method runs in 1 passes, 0 wrong words, ",
        "audit: clean",
    ])?;
    let document = console_document(&verdict)?;
    let entries = document["churn"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, part) in [
        ("heap-churn", "replace"),
        ("heap-churn", "resize"),
        ("heap-churn", "push"),
        ("heap-churn", "scatter"),
        ("heap-churn", "large"),
        ("map-churn", "map-4k-single"),
        ("map-churn", "unmap-4k-single"),
        ("map-churn", "map-4k-batch-8"),
        ("map-churn", "unmap-4k-batch-8"),
        ("fault-storm", "touch-4k"),
        ("fault-storm", "touch-4k-sparse"),
        ("fault-storm", "prefault-4k"),
        ("fault-storm", "give-back-4k"),
        ("fault-storm", "touch-2m"),
        ("fault-storm", "give-back-2m"),
    ] {
        let entry = entries.iter().find(|entry| entry["name"] == name && entry["part"] == part);
        let figures = entry.map(|entry| [&entry["operations"], &entry["picoseconds_an_operation"]]);
        if !figures.is_some_and(|figures| figures.iter().all(|figure| figure.as_u64() > Some(0))) {
            return Err(verdict.failure(format!("{name} has no figures of {part}: {document}")));
        }
    }
    // Small pages come four at a fault, or up to sixteen where faults are dear; those that came before they were touched take none.
    for (part, most, least) in
        [("touch-4k", 4, 16), ("touch-4k-sparse", 1, 1), ("prefault-4k", u64::MAX, u64::MAX)]
    {
        let entry = entries.iter().find(|entry| entry["part"] == part).unwrap_or(&Value::Null);
        let (faults, operations) = (entry["faults"].as_u64(), entry["operations"].as_u64().unwrap_or(0));
        if !faults.is_some_and(|faults| (operations / least..=operations / most).contains(&faults)) {
            return Err(verdict.failure(format!("{part} took other faults than expected: {entry}")));
        }
    }
    let room = entries.iter().find(|entry| entry["part"] == "scatter");
    let largest = room.and_then(|entry| entry["largest_block_bytes"].as_u64());
    if largest.is_none_or(|bytes| bytes == 0) || document["tested_bytes"] != 0 {
        return Err(verdict.failure(format!("the document is not as expected: {document}")));
    }
    Ok(())
}

/// What was measured before the churns is tested after them. Without arguments, as any changes what memory is in use.
fn all_work(context: &Context, lane: Lane, memory: &str) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.memory_stress).memory(memory);
    let verdict = boot.timeout(Duration::from_secs(120)).end()?;
    verdict.status(0)?.prints(METHODS)?.prints(["10 method runs in 1 passes, 0 wrong words"])?;
    let stdout = verdict.stdout();
    let mib_after = |words: &str| stdout.split(words).nth(1).and_then(|rest| rest.split(" MiB").next());
    let (before, tested) = (mib_after("testing "), mib_after("PASSED: "));
    if tested.is_none() || tested != before {
        return Err(verdict.failure(format!("{tested:?} MiB were tested after the churns, of {before:?}")));
    }
    Ok(())
}

/// Each churn by itself leaves the memory that was measured, also to the second pass.
fn after_each_churn(context: &Context) -> Outcome {
    for churn in &METHODS[..3] {
        let methods = format!("{churn},block-move");
        let boot = context.boot(Lane::Kvm, &context.artifacts.memory_stress).memory("96M");
        let verdict = boot.arguments(["--passes", "2", "--method", &methods]).end()?;
        verdict.status(0)?.prints(["memory-stress: PASSED: ", "4 method runs in 2 passes, 0 wrong words"])?;
    }
    Ok(())
}

/// A file for a result, in a folder of its own.
fn result_path() -> Result<(TempDir, PathBuf), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("result.json");
    Ok((folder, path))
}

fn with_result(boot: Boot, path: &Path) -> Boot {
    boot.options([Path::new("--result"), path])
}

fn read(verdict: &Verdict, path: &Path) -> Result<Value, Failure> {
    let text =
        fs::read_to_string(path).map_err(|error| verdict.failure(format!("no result file: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| verdict.failure(format!("the result is no JSON: {error}: {text}")))
}

fn result_file(context: &Context, lane: Lane) -> Outcome {
    let (folder, path) = result_path()?;
    let boot = boot(context, lane, &["--size", "1M", "--method", "random,checkerboard,latency"]);
    let verdict = with_result(boot, &path).end()?;
    verdict.status(0)?;
    let document = read(&verdict, &path)?;
    expect(&verdict, &document, true, "passed")?;
    let left = fs::read_dir(folder.path()).map_err(Failure::start)?.count();
    if left != 1 || document["methods"].as_array().map(Vec::len) != Some(2) {
        return Err(verdict.failure(format!("{left} files are left, with {document}")));
    }
    Ok(())
}

fn result_of_a_failed_run(context: &Context, lane: Lane) -> Outcome {
    let (_folder, path) = result_path()?;
    let verdict =
        with_result(boot(context, lane, &["--size", "1M", "--method", "random", "--inject=once@8"]), &path)
            .end()?;
    verdict.status(KernelStatus::VerificationFailure.code())?;
    expect(&verdict, &read(&verdict, &path)?, true, "failed")
}

/// Ctrl-C leaves what the guest had handed over by then, marked as incomplete.
fn result_of_a_run_that_was_ended(context: &Context, lane: Lane) -> Outcome {
    let (_folder, path) = result_path()?;
    let boot = boot(context, lane, &["--size", "1M", "--method", "random", "--seconds", "60"]);
    let boot = with_result(boot.timeout(Duration::from_secs(80)), &path);
    let mut running = boot.start()?;
    let working = running.prints_within("random  ", Duration::from_secs(20));
    running.signal(Signal::SIGINT);
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    if !working {
        return Err(verdict.failure("the guest never finished a method"));
    }
    verdict.status(VmmStatus::Interrupted.code())?;
    expect(&verdict, &read(&verdict, &path)?, false, "running")
}

fn no_result_is_an_error(context: &Context, lane: Lane) -> Outcome {
    let (_folder, path) = result_path()?;
    fs::write(&path, "from before").map_err(Failure::start)?;
    let verdict = with_result(context.boot(lane, &context.artifacts.hello), &path).end()?;
    verdict.status(VmmStatus::VmmError.code())?;
    let kept = fs::read_to_string(&path).map_err(Failure::start)?;
    if kept != "from before" {
        return Err(verdict.failure(format!("the file now holds '{kept}'")));
    }
    Ok(())
}

fn refused(context: &Context, lane: Lane) -> Outcome {
    let cases: [(&[&str], &str); 6] = [
        (&["--method", "randon"], "did you mean random?"),
        (&["--size", "0"], "leaves nothing to test"),
        (&["--size", "33M"], "MiB that are free"),
        (&["--passes", "1", "--seconds", "1"], "contradict"),
        (&["--sed", "1"], "unknown argument '--sed'"),
        (&["--inject", "--method", "latency"], "a method that verifies"),
    ];
    for (arguments, part) in cases {
        let verdict = boot(context, lane, arguments).options(["--log", "off"]).end()?;
        verdict.status(USAGE)?.prints([part])?;
        if verdict.stdout().lines().count() != 1 {
            return Err(verdict.failure("more than one line was printed"));
        }
    }
    let verdict = with_result(boot(context, lane, &[]), Path::new("/nonexistent/result.json")).end()?;
    verdict.status(VmmStatus::Refused.code())?.complains_in_one_line()?;
    Ok(())
}
