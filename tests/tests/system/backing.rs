//! Host memory behind guest RAM: each kind boots, is what it is called, and is refused where the host lacks it.

use crate::context::{Context, Outcome, timing, trial};
use guest_interface::status::VmmStatus;
use libtest_mimic::Trial;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::getpid;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use system_tests::boot::Boot;
use system_tests::hugetlb_pool::{HugetlbPool, SIZE_FILE};
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

const ANONYMOUS: &str = "anonymous";
pub(crate) const THP: &str = "thp";
pub(crate) const HUGETLB: &str = "hugetlb-2m";
const KINDS: [&str; 3] = [ANONYMOUS, THP, HUGETLB];

/// RAM of the guests, as [`Boot`] has it unless told otherwise.
const MEMORY_KIB: u64 = 64 << 10;
const MEMORY_PAGES: u64 = MEMORY_KIB / PAGE_KIB;
const PAGE_KIB: u64 = 2 << 10;
/// What of it is tested, and so touched.
const TESTED: &str = "8M";
const TESTED_KIB: u64 = 8 << 10;

const POLL: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let no_pool = pool_missing(MEMORY_PAGES);
    let no_thp = thp_missing();
    for (kind, missing) in [(HUGETLB, &no_pool), (THP, &no_thp)] {
        if let Some(reason) = missing {
            eprintln!("backing {kind} can't be tested, its tests are ignored: {reason}");
        }
    }
    let missing = |kind| match kind {
        HUGETLB => no_pool.is_some(),
        THP => no_thp.is_some(),
        _ => false,
    };
    let on_kvm = |kind, name: &str, test: fn(&Context, &'static str) -> Outcome| {
        let ignored = missing(kind) || context.lanes.missing(Lane::Kvm).is_some();
        let name = format!("backing/{kind}/{name}");
        context.trial(Lane::Kvm, &name, move || test(context, kind)).with_ignored_flag(ignored)
    };
    let mut trials = Vec::new();
    for kind in KINDS {
        trials.push(on_kvm(kind, "hello", hello));
        trials.push(on_kvm(kind, "memory_stress", memory_stress));
        trials.push(on_kvm(kind, "pages", pages));
    }
    let told = on_kvm(HUGETLB, "told_command_is_enough", told_command_is_enough);
    trials.push(if pool_can_grow() { told } else { told.with_ignored_flag(true) });
    trials.push(on_kvm(HUGETLB, "interrupted", interrupted));
    let too_small = trial("backing/hugetlb-2m/pool_too_small", || too_small_a_pool(context));
    trials.push(too_small.with_ignored_flag(!Path::new(SIZE_FILE).exists()));
    let off = trial("backing/thp/off_for_the_process", || thp_off(context));
    trials.push(off.with_ignored_flag(missing(THP)));
    trials
}

/// Why this machine's pool can't have so many pages, if so.
pub(crate) fn pool_missing(pages: u64) -> Option<String> {
    pool_with(pages)
        .err()
        .map(|error| format!("the pool of 2 MiB pages can't be made large enough ({SIZE_FILE}): {error}"))
}

/// Whether this machine's pool can have more than it has, and the pages for a guest.
fn pool_can_grow() -> bool {
    HugetlbPool::lock().and_then(|pool| pool.provide(pages_too_many(&pool)?)).is_ok()
}

/// A page more than the pool can have by itself, or as much as the other guests need if that is more.
fn pages_too_many(pool: &HugetlbPool) -> io::Result<u64> {
    Ok(MEMORY_PAGES.max(pool.free()? + pool.addable()? + 1))
}

/// Why this machine has no transparent huge pages, if so.
pub(crate) fn thp_missing() -> Option<String> {
    let setting = "/sys/kernel/mm/transparent_hugepage/enabled";
    match fs::read_to_string(setting) {
        Ok(text) if text.contains("[never]") => Some(format!("{setting} says never")),
        Ok(_) => None,
        Err(error) => Some(format!("{setting}: {error}")),
    }
}

/// The pool with so many pages.
fn pool_with(pages: u64) -> io::Result<HugetlbPool> {
    let pool = HugetlbPool::lock()?;
    pool.provide(pages)?;
    Ok(pool)
}

/// The pool with so many pages, for a test of that kind of memory.
pub(crate) fn hold_pool(kind: &str, pages: u64) -> Result<Option<HugetlbPool>, Failure> {
    (kind == HUGETLB).then(|| pool_with(pages)).transpose().map_err(pool_failure)
}

fn pool_failure(error: io::Error) -> Failure {
    Failure::new(format!("the pool of 2 MiB pages: {error}"))
}

fn boot(context: &Context, image: &Path, kind: &str) -> Boot {
    context.boot(Lane::Kvm, image).options(["--timing", "--backing", kind])
}

/// Judges what `--timing` says of the memory.
fn tells(verdict: &Verdict, kind: &str) -> Outcome {
    let timing = timing(verdict)?;
    let number = |name: &str| timing[name].as_u64().unwrap_or_default();
    let guest_kib = number("guest_resident_kib");
    let all_taken = kind == HUGETLB;
    // The peak would come out as zero if what is not in it were subtracted.
    let right = timing["backing"] == kind
        && (guest_kib == MEMORY_KIB) == all_taken
        && (1..MEMORY_KIB).contains(&number("vmm_peak_rss_kib"));
    if right { Ok(()) } else { Err(verdict.failure(format!("the timing is not {kind}'s: {timing}"))) }
}

fn hello(context: &Context, kind: &'static str) -> Outcome {
    let _pool = hold_pool(kind, MEMORY_PAGES)?;
    let verdict = boot(context, &context.artifacts.hello, kind).end()?;
    verdict.status(0)?.prints(["hello from Freehold, running at "])?;
    tells(&verdict, kind)
}

fn memory_stress(context: &Context, kind: &'static str) -> Outcome {
    let _pool = hold_pool(kind, MEMORY_PAGES)?;
    let boot = boot(context, &context.artifacts.memory_stress, kind);
    let verdict = boot.arguments(["--size", TESTED, "--method", "random"]).end()?;
    verdict.status(0)?.prints(["memory-stress: PASSED: 8 MiB", " 0 wrong words"])?;
    tells(&verdict, kind)
}

/// While the guest works, the kernel says what its memory is made of.
fn pages(context: &Context, kind: &'static str) -> Outcome {
    let _pool = hold_pool(kind, MEMORY_PAGES)?;
    let boot = boot(context, &context.artifacts.memory_stress, kind);
    let boot = boot.arguments(["--size", TESTED, "--method", "random", "--seconds", "60"]);
    let mut running = boot.start()?;
    let pages = touched_pages(&mut running);
    running.signal(Signal::SIGTERM);
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::Interrupted.code())?;
    let Some(pages) = pages else {
        return Err(verdict.failure(format!("{TESTED} of the guest's memory were never touched")));
    };
    let Pages { resident_kib, transparent_kib, pool_kib } = pages;
    let right = match kind {
        ANONYMOUS => transparent_kib == 0 && pool_kib == 0,
        THP => transparent_kib >= PAGE_KIB && pool_kib == 0,
        _ => resident_kib == 0 && pool_kib == MEMORY_KIB,
    };
    if right { Ok(()) } else { Err(verdict.failure(format!("memory of {pages:?} is not {kind}"))) }
}

/// Host memory behind a guest's RAM, in KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    resident_kib: u64,
    transparent_kib: u64,
    pool_kib: u64,
}

impl Pages {
    /// Reads what `smaps` (proc_pid_smaps(5)) of a VMM says of its guest's memory, the one mapping of this size that can be
    /// written; the first page may be a mapping of its own.
    fn read(process: u32) -> Self {
        let smaps = fs::read_to_string(format!("/proc/{process}/smaps")).unwrap_or_default();
        let mut pages = Self::default();
        let (mut writable, mut inside) = (false, false);
        for line in smaps.lines() {
            let mut words = line.split_whitespace();
            let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let value_kib: u64 = value.parse().unwrap_or_default();
            match name {
                "Size:" => inside = writable && (MEMORY_KIB - PAGE_KIB..=MEMORY_KIB).contains(&value_kib),
                "Rss:" if inside => pages.resident_kib += value_kib,
                "AnonHugePages:" if inside => pages.transparent_kib += value_kib,
                "Private_Hugetlb:" if inside => pages.pool_kib += value_kib,
                range if range.contains('-') => writable = value == "rw-p",
                _ => {}
            }
        }
        pages
    }
}

/// What a guest's memory is made of when it has touched what it tests.
fn touched_pages(running: &mut Running) -> Option<Pages> {
    let deadline = Instant::now() + LIMIT;
    if !running.prints_within("memory-stress: testing", LIMIT) {
        return None;
    }
    while Instant::now() < deadline {
        let pages = Pages::read(running.id());
        if pages.resident_kib + pages.pool_kib >= TESTED_KIB {
            return Some(pages);
        }
        thread::sleep(POLL);
    }
    None
}

/// A boot that needs more than the pool has, and its refusal.
fn refused_by(pool: &HugetlbPool, context: &Context) -> Result<(Boot, Verdict), Failure> {
    let numbers = || io::Result::Ok((pool.total()?, pool.free()?, pages_too_many(pool)?));
    let (total, free, needed) = numbers().map_err(pool_failure)?;
    let boot = context.boot(Lane::Kvm, &context.artifacts.hello).options(["--backing", HUGETLB]);
    let boot = boot.memory(format!("{}K", needed * PAGE_KIB));
    let verdict = boot.end()?;
    verdict.status(VmmStatus::HostUnable.code())?.complains_in_one_line()?.complains([
        &*format!("needs {needed} pages of 2 MiB"),
        &format!("{free} free"),
        &format!("`echo {} > {SIZE_FILE}` as root", total + needed - free),
    ])?;
    if !verdict.stdout().is_empty() {
        return Err(verdict.failure("the guest should not have run"));
    }
    Ok((boot, verdict))
}

fn too_small_a_pool(context: &Context) -> Outcome {
    let pool = HugetlbPool::lock().map_err(pool_failure)?;
    refused_by(&pool, context)?;
    Ok(())
}

/// The command in the refusal, carried out, makes the pool large enough.
fn told_command_is_enough(context: &Context, _kind: &'static str) -> Outcome {
    let pool = HugetlbPool::lock().map_err(pool_failure)?;
    let (boot, verdict) = refused_by(&pool, context)?;
    let stderr = verdict.stderr();
    let command = stderr.split('`').nth(1).and_then(|command| command.strip_prefix("echo "));
    let Some((size, file)) = command.and_then(|command| command.split_once(" > ")) else {
        return Err(verdict.failure("a command `echo N > FILE` was expected"));
    };
    fs::write(file, size).map_err(pool_failure)?;
    boot.end()?.status(0)?.prints(["hello from Freehold, running at "])?;
    Ok(())
}

/// A process for which they are off gets none by advice, so asking for them is refused.
fn thp_off(context: &Context) -> Outcome {
    let boot = context.boot(Lane::Kvm, &context.artifacts.hello).options(["--backing", THP]);
    let mut command = boot.command();
    // SAFETY: prctl(2) is a system call without effects on memory, which a child may do before it executes.
    unsafe { command.pre_exec(|| prctl::set_thp_disable(true).map_err(Into::into)) };
    let running = Running::start(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::HostUnable.code())?.complains_in_one_line()?;
    verdict.complains(["transparent huge pages are off for this process", "leave --backing out"])?;
    Ok(())
}

/// A signal that has come before the pages are taken is seen before they are.
fn interrupted(context: &Context, kind: &'static str) -> Outcome {
    let _pool = hold_pool(kind, MEMORY_PAGES)?;
    let boot = boot(context, &context.artifacts.hello, kind);
    let mut command = boot.command();
    let interrupt = || {
        // What is blocked waits through the execution.
        SigSet::from_iter([Signal::SIGTERM]).thread_block()?;
        kill(getpid(), Signal::SIGTERM)?;
        Ok(())
    };
    // SAFETY: these are system calls without effects on memory, which a child may do before it executes.
    unsafe { command.pre_exec(interrupt) };
    let running = Running::start(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::Interrupted.code())?.complains_in_one_line()?;
    verdict.complains(["interrupted by a signal before the guest ran"])?;
    Ok(())
}
