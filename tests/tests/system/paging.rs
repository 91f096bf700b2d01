//! What KVM maps of a guest's memory and what it does not, as `vmm-stub run --stats` tells it.
//!
//! Much of it depends on who translates guest-physical addresses. Where the processor does, by tables of KVM's that have an
//! entry for each page, what is mapped stays mapped. Shadows of the guest's own tables come and go with these.

use crate::backing::{self, HUGETLB, THP};
use crate::context::{Alone, Context, Outcome, timing};
use crate::misbehave;
use guest_interface::status::{KernelStatus, VmmStatus};
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use system_tests::boot::Boot;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

const MIB: u64 = 1 << 20;
const PAGE_LEN: u64 = 4 << 10;
const LARGE_PAGE_LEN: u64 = 2 * MIB;
/// RAM of the guest whose memory is tested, in MiB and in large pages.
const RAM_MIB: u64 = 128;
const LARGE_PAGES: u64 = RAM_MIB * MIB / LARGE_PAGE_LEN;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [Alone; 10] = [
        ("paging/statistics_in_a_file", statistics_in_a_file),
        ("paging/statistics_on_stdout", statistics_on_stdout),
        ("paging/statistics_of_a_panic", statistics_of_a_panic),
        ("paging/statistics_that_can_not_be_written", statistics_that_can_not_be_written),
        ("paging/statistics_that_are_lost", statistics_that_are_lost),
        ("paging/statistics_and_result", statistics_and_result),
        ("paging/pages_written_are_counted", pages_written_are_counted),
        ("paging/memory_is_mapped_by_4_kib", mapped_by_4_kib),
        ("paging/tables_are_read_only", tables_are_read_only),
        ("paging/where_no_device_is", where_no_device_is),
    ];
    let mut trials: Vec<Trial> =
        tests.map(|(name, test)| context.trial(Lane::Kvm, name, move || test(context))).into();
    let (no_thp, no_pool) = (backing::thp_missing(), backing::pool_missing(LARGE_PAGES));
    for (kind, missing) in [(None, &no_thp), (Some(THP), &no_thp), (Some(HUGETLB), &no_pool)] {
        let kind_name = kind.unwrap_or("default");
        if let Some(reason) = missing {
            eprintln!(
                "mapping by 2 MiB of backing {kind_name} can't be tested, its test is ignored: {reason}"
            );
        }
        let name = format!("paging/memory_is_mapped_by_2_mib/{kind_name}");
        let large = context.trial(Lane::Kvm, &name, move || mapped_by_2_mib(context, kind));
        let ignored = missing.is_some() || context.lanes.missing(Lane::Kvm).is_some();
        trials.push(large.with_ignored_flag(ignored));
    }
    trials
}

/// A file for statistics, in a folder of its own.
fn statistics_path() -> Result<(TempDir, PathBuf), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("statistics.json");
    Ok((folder, path))
}

fn with_statistics(boot: Boot, output: &Path) -> Boot {
    boot.options([Path::new("--stats"), output])
}

fn hello(context: &Context, output: &Path) -> Boot {
    with_statistics(context.boot(Lane::Kvm, &context.artifacts.hello), output)
}

/// Reads a document, and judges what every document holds.
fn document(context: &Context, verdict: &Verdict, text: &str) -> Result<Value, Failure> {
    let document: Value = serde_json::from_str(text)
        .map_err(|error| verdict.failure(format!("the statistics are no JSON: {error}: {text}")))?;
    let paging = context.paging()?.name();
    let is_number = |value: &Value| value.is_u64();
    let is_counted = |value: &Value| {
        is_number(value) || value.as_array().is_some_and(|values| values.iter().all(is_number))
    };
    let all_counted = |value: &Value| {
        value.as_object().is_some_and(|members| !members.is_empty() && members.values().all(is_counted))
    };
    let vcpus = document["vcpus"].as_array().map(Vec::as_slice).unwrap_or_default();
    let right = document["schema"] == "freehold.vmm-stub.statistics/1"
        && matches!(document["host"].as_str(), Some("kvm" | "kvm-pvm"))
        && document["paging"] == paging
        && ["4k", "2m", "1g"].iter().all(|size| document["mapped"][size].is_u64())
        && document["mapped"]["4k"] == document["vm"]["pages_4k"]
        && document["mapped"]["4k"] != 0
        && all_counted(&document["vm"])
        && vcpus.len() == 1
        && vcpus.iter().all(|vcpu| all_counted(vcpu) && vcpu["exits"] != 0);
    if right {
        Ok(document)
    } else {
        Err(verdict.failure(format!("the statistics of paging {paging} are not as expected: {document}")))
    }
}

fn document_in(context: &Context, verdict: &Verdict, path: &Path) -> Result<Value, Failure> {
    let text =
        fs::read_to_string(path).map_err(|error| verdict.failure(format!("no statistics: {error}")))?;
    document(context, verdict, &text)
}

fn statistics_in_a_file(context: &Context) -> Outcome {
    let (folder, path) = statistics_path()?;
    fs::write(&path, "from before, and longer than nothing").map_err(Failure::start)?;
    let verdict = hello(context, &path).end()?;
    verdict.status(0)?;
    let document = document_in(context, &verdict, &path)?;
    let left = fs::read_dir(folder.path()).map_err(Failure::start)?.count();
    if left != 1 || !document["dirty_pages"].is_null() {
        return Err(verdict.failure(format!("{left} files are left, with {document}")));
    }
    Ok(())
}

/// The document is the last line, whatever the guest has printed.
fn statistics_on_stdout(context: &Context) -> Outcome {
    let verdict = hello(context, Path::new("-")).options(["--log", "off"]).end()?;
    let stdout = verdict.status(0)?.stdout();
    let last = stdout.lines().last().unwrap_or_default();
    document(context, &verdict, last)?;
    if !stdout.starts_with("hello from Freehold") || stdout.matches("\"schema\"").count() != 1 {
        return Err(verdict.failure("the greeting and one document were expected"));
    }
    Ok(())
}

fn statistics_of_a_panic(context: &Context) -> Outcome {
    let (_folder, path) = statistics_path()?;
    let verdict = with_statistics(misbehave::boot(context, Lane::Kvm, "panic"), &path).end()?;
    verdict.status(KernelStatus::Panic.code())?;
    document_in(context, &verdict, &path)?;
    Ok(())
}

/// Nothing is started, and one line says what to do.
fn statistics_that_can_not_be_written(context: &Context) -> Outcome {
    for path in ["/nonexistent/statistics.json", "/proc/statistics.json", "/dev/full", "/"] {
        let verdict = hello(context, Path::new(path)).end()?;
        verdict.status(VmmStatus::Refused.code())?.complains_in_one_line()?.complains(["--stats", path])?;
        if !verdict.stdout().is_empty() {
            return Err(verdict.failure("the guest was started"));
        }
    }
    Ok(())
}

/// That they can't be printed is an error, if all else went well.
fn statistics_that_are_lost(context: &Context) -> Outcome {
    let endings = [(hello(context, Path::new("-")), VmmStatus::VmmError.code()), {
        let panic = misbehave::boot(context, Lane::Kvm, "panic");
        (with_statistics(panic, Path::new("-")), KernelStatus::Panic.code())
    }];
    for (boot, status) in endings {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").map_err(Failure::start)?;
        let mut command = boot.command();
        command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let running = Running::start_as_is(&mut command).map_err(Failure::start)?;
        let verdict = Verdict::new(&command, running.end(boot.hard_limit()))?;
        verdict.status(status)?.complains(["the statistics document is lost"])?;
    }
    Ok(())
}

/// Both can be had of one run, and not in one file.
fn statistics_and_result(context: &Context) -> Outcome {
    let (folder, path) = statistics_path()?;
    let result = folder.path().join("result.json");
    let boot = |result: &Path| {
        let boot = context.boot(Lane::Kvm, &context.artifacts.memory_stress);
        let boot =
            boot.arguments(["--size", "1M", "--method", "random"]).options([Path::new("--result"), result]);
        with_statistics(boot, &path)
    };
    let verdict = boot(&result).end()?;
    verdict.status(0)?;
    document_in(context, &verdict, &path)?;
    let published = fs::read_to_string(&result).map_err(Failure::start)?;
    if !published.contains("freehold.memory-stress/1") {
        return Err(verdict.failure(format!("the result is {published}")));
    }
    let same = folder.path().join(".").join("statistics.json");
    let verdict = boot(&same).end()?;
    verdict.status(VmmStatus::Refused.code())?.complains_in_one_line()?.complains(["the same file"])?;
    Ok(())
}

/// Runs memory-stress over as much as it gets of its RAM. Gives the bytes that were tested, and the statistics.
fn stress(context: &Context, options: &[&str]) -> Result<(Verdict, u64, Value), Failure> {
    let (_folder, path) = statistics_path()?;
    let boot = context.boot(Lane::Kvm, &context.artifacts.memory_stress);
    let boot = boot.memory(format!("{RAM_MIB}M")).options(options);
    let verdict = with_statistics(boot.arguments(["--method", "address-in-address"]), &path).end()?;
    let stdout = verdict.status(0)?.stdout();
    let tested = stdout.split("PASSED: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let tested: u64 = tested.parse().map_err(|_| verdict.failure("what was tested is not said"))?;
    let document = document_in(context, &verdict, &path)?;
    Ok((verdict, tested * MIB, document))
}

/// Number of entries of a size, in a document.
fn mapped(document: &Value, size: &str) -> u64 {
    document["mapped"][size].as_u64().unwrap_or(0)
}

fn mapped_by_2_mib(context: &Context, kind: Option<&str>) -> Outcome {
    let _pool = kind.map(|kind| backing::hold_pool(kind, LARGE_PAGES)).transpose()?;
    let options = kind.map(|kind| ["--backing", kind]);
    let (verdict, tested, document) = stress(context, options.as_ref().map_or(&[], <[_; 2]>::as_slice))?;
    let by_large = mapped(&document, "2m") * LARGE_PAGE_LEN;
    let least = match (context.paging()?.is_nested(), kind) {
        // All but what may lie in the first 2 MiB, where read-only pages make KVM map by 4 KiB.
        (true, Some(HUGETLB)) => tested.saturating_sub(LARGE_PAGE_LEN),
        // The host may be short of free huge pages.
        (true, _) => tested / 2,
        // What a shadow has mapped goes when the guest unmaps it, as it does at its end; its window on all RAM stays.
        (false, _) => LARGE_PAGE_LEN,
    };
    if by_large < least || tested < 100 * MIB {
        return Err(verdict.failure(format!("of {tested} bytes {by_large} are mapped by 2 MiB, not {least}")));
    }
    Ok(())
}

fn mapped_by_4_kib(context: &Context) -> Outcome {
    let (verdict, _, document) = stress(context, &["--backing", "anonymous"])?;
    mapped_by_4_kib_alone(&verdict, &document)
}

fn mapped_by_4_kib_alone(verdict: &Verdict, document: &Value) -> Outcome {
    if mapped(document, "2m") != 0 || mapped(document, "1g") != 0 {
        return Err(verdict.failure(format!("4 KiB pages alone were expected: {}", document["mapped"])));
    }
    Ok(())
}

/// What a guest writes is noted, all of it, and little else.
fn pages_written_are_counted(context: &Context) -> Outcome {
    const RAM_MIB: u64 = 64;
    const WRITTEN_MIB: u64 = 16;
    let dirty_pages = |boot: Boot| {
        let (_folder, path) = statistics_path()?;
        let boot = boot.memory(format!("{RAM_MIB}M")).options(["--dirty-log"]);
        let verdict = with_statistics(boot, &path).end()?;
        let document = document_in(context, verdict.status(0)?, &path)?;
        mapped_by_4_kib_alone(&verdict, &document)?;
        let pages = document["dirty_pages"].as_u64();
        pages.map(|pages| (verdict.clone(), pages)).ok_or_else(|| verdict.failure("no pages are counted"))
    };
    let size = format!("{WRITTEN_MIB}M");
    let stress = context.boot(Lane::Kvm, &context.artifacts.memory_stress);
    let (verdict, pages) = dirty_pages(stress.arguments(["--size", &size, "--method", "random"]))?;
    let (least, most) = (WRITTEN_MIB * MIB / PAGE_LEN, RAM_MIB * MIB / PAGE_LEN);
    if !(least..=most).contains(&pages) {
        return Err(verdict.failure(format!("{pages} pages were written, not {least} to {most}")));
    }
    let (verdict, pages) = dirty_pages(context.boot(Lane::Kvm, &context.artifacts.hello))?;
    if !(1..=least / 4).contains(&pages) {
        return Err(verdict.failure(format!("{pages} pages were written, not 1 to {}", least / 4)));
    }
    Ok(())
}

/// Runs an act that makes so many accesses where there is no memory for it.
fn with_accesses(context: &Context, act: &str, accesses: u64) -> Result<Verdict, Failure> {
    let verdict = misbehave::boot(context, Lane::Kvm, act).options(["--timing"]).end()?;
    verdict.status(0)?;
    let counted = timing(&verdict)?["exits"]["mmio"].as_u64();
    if counted != Some(accesses) {
        return Err(verdict.failure(format!("{accesses} accesses should be counted, not {counted:?}")));
    }
    Ok(verdict)
}

/// The guest can't change what it was told of its machine, and goes on.
fn tables_are_read_only(context: &Context) -> Outcome {
    let verdict = with_accesses(context, "write-tables", 1)?;
    verdict.prints(["misbehave: 'RSD ' is 'RSD ' after a write\n"])?;
    Ok(())
}

/// Of each width two reads and a write.
fn where_no_device_is(context: &Context) -> Outcome {
    let verdict = with_accesses(context, "no-device", 4 * 3)?;
    verdict.prints([
        "misbehave: u8 [ff, ff]\n",
        "misbehave: u16 [ffff, ffff]\n",
        "misbehave: u32 [ffffffff, ffffffff]\n",
        "misbehave: u64 [ffffffffffffffff, ffffffffffffffff]\n",
    ])?;
    Ok(())
}
