//! The guest `kernel-tests`: each of its tests in a boot of its own, and all of them in one.

use crate::context::{Context, Outcome, trial};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};
use system_tests::lane::Lane;
use system_tests::verdict::{Failure, Verdict};

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let names = match context.lanes.present().next().map(|lane| list(context, lane)) {
        Some(Ok(names)) => names,
        Some(Err(failure)) => return vec![trial("kernel/list", || Err(failure))],
        // No guest can be asked.
        None => Vec::new(),
    };
    let mut trials = Vec::new();
    for lane in [Lane::Kvm, Lane::QemuMicrovm] {
        for name in &names {
            let test = name.clone();
            let run = move || passes(context, lane, &[&test], "1 passed, 0 failed").map(drop);
            trials.push(context.trial(lane, &format!("kernel/{name}"), run));
        }
        trials.push(context.trial(lane, "kernel/clock_agrees", move || clock_agrees(context, lane)));
        trials.push(context.trial(lane, "kernel/long_lines", move || long_lines(context, lane)));
        trials.push(context.trial(lane, "kernel/local_apic", move || local_apic(context, lane)));
        trials.push(context.trial(lane, "kernel/log_stamps", move || log_stamps(context, lane)));
        trials.push(context.trial(lane, "kernel/heap_above_4g/6G", move || heap_above_4g(context, lane)));
        trials.push(context.trial(lane, "kernel/large_leaves/3G", move || large_leaves(context, lane)));
    }
    let summary = format!("{} passed, 0 failed", names.len());
    for lane in [Lane::QemuQ35, Lane::QemuPc] {
        let summary = summary.clone();
        let run = move || passes(context, lane, &[], &summary).map(drop);
        trials.push(context.trial(lane, "kernel/all_in_one_boot", run));
    }
    trials
}

/// Asks the guest for the names of its tests.
fn list(context: &Context, lane: Lane) -> Result<Vec<String>, Failure> {
    let boot = context.boot(lane, &context.artifacts.kernel_tests).options(["--log", "off"]);
    let verdict = boot.arguments(["--list"]).end()?;
    verdict.status(0)?;
    let names: Vec<String> = verdict.stdout().lines().map(str::to_owned).collect();
    if names.is_empty() || !names.iter().all(|name| name.contains("::")) {
        return Err(verdict.failure("a list of tests was expected"));
    }
    Ok(names)
}

fn passes(context: &Context, lane: Lane, arguments: &[&str], summary: &str) -> Result<Verdict, Failure> {
    let boot = context.boot(lane, &context.artifacts.kernel_tests).arguments(arguments);
    let verdict = boot.end()?;
    verdict.status(0)?.prints([summary])?;
    Ok(verdict)
}

/// What is half a second to the guest is half a second to the host. A busy host may be late in noticing, but not always.
fn clock_agrees(context: &Context, lane: Lane) -> Outcome {
    const WAIT: Duration = Duration::from_millis(500);
    const TOLERANCE: Duration = Duration::from_millis(50);
    const ATTEMPTS: usize = 4;
    let boot = context.boot(lane, &context.artifacts.kernel_tests).arguments(["--wait", "500"]);
    let mut waits = Vec::new();
    for _ in 0..ATTEMPTS {
        let mut running = boot.start()?;
        let begun = running.prints_within("waiting from here\n", boot.hard_limit());
        let start = Instant::now();
        let done = running.prints_within("waited until here\n", boot.hard_limit());
        let waited = start.elapsed();
        let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
        verdict.status(0)?;
        if !(begun && done) {
            return Err(verdict.failure("the guest did not say when it waits"));
        }
        if waited.abs_diff(WAIT) <= TOLERANCE {
            return Ok(());
        }
        waits.push(waited);
    }
    Err(Failure::new(format!("to the host, the guest's {WAIT:?} were {waits:?}")))
}

fn long_lines(context: &Context, lane: Lane) -> Outcome {
    let verdict = passes(context, lane, &["console::lines_of_any_length"], "1 passed")?;
    for len in [0, 1, 1022, 1023, 1024, 1025, 4095, 4096, 4097, 10_000] {
        verdict.prints([&*format!("line of {len:>5}: {}|\n", "=".repeat(len))])?;
    }
    let pieces: String = (0..1000).map(|number| format!("{number};")).collect();
    verdict.prints([&*format!("\n{pieces}\nagain: {pieces}\n")])?;
    Ok(())
}

/// In a KVM the local APIC is the kernel's, which has all that there is; QEMU's own has neither.
fn local_apic(context: &Context, lane: Lane) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.hello).options(["--log", "debug"]);
    let verdict = boot.end()?;
    let line = if lane.is_qemu() {
        "local APIC in xAPIC mode, its timer counts down\n"
    } else {
        "local APIC in x2APIC mode, its timer takes TSC deadlines\n"
    };
    verdict.status(0)?.prints([line])?;
    Ok(())
}

/// Log lines of every level, each with a stamp that is not before the last.
fn log_stamps(context: &Context, lane: Lane) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.kernel_tests).options(["--log", "trace"]);
    let verdict = boot.arguments(["console::log_lines_have_stamps"]).end()?;
    verdict.status(0)?.prints([
        " ERROR kernel_tests::console: an error\n",
        " WARN  kernel_tests::console: a warning\n",
        " INFO  kernel_tests::console: an information of 日本\n",
        " DEBUG kernel_tests::console: a detail\n",
        " TRACE kernel_tests::console: a trace\n",
    ])?;
    let stdout = verdict.stdout();
    let stamps: Vec<f64> = stdout
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.trim().parse().ok())
        .collect();
    if stamps.len() < 5 || !stamps.is_sorted() || stamps.first() <= Some(&0.0) {
        return Err(verdict.failure(format!("stamps above 0 in ascending order were expected: {stamps:?}")));
    }
    Ok(())
}

fn heap_above_4g(context: &Context, lane: Lane) -> Outcome {
    let _alone = context.large_guest();
    let boot = context.boot(lane, &context.artifacts.kernel_tests).memory("6G");
    let verdict = boot.arguments(["heap::memory_above_4g_is_used"]).end()?;
    verdict.status(0)?.prints(["used ", " MiB above 4 GiB\n"])?;
    Ok(())
}

/// With 3 GiB of RAM there are frames of 2 MiB to spare and, where no KVM keeps tables of its own beside the
/// guest's, heap leaves of 1 GiB.
fn large_leaves(context: &Context, lane: Lane) -> Outcome {
    let _alone = context.large_guest();
    let passes = |test: &str| {
        let boot = context.boot(lane, &context.artifacts.kernel_tests).memory("3G");
        let verdict = boot.arguments([test]).end()?;
        verdict.status(0)?.prints(["1 passed, 0 failed"])?;
        Ok::<_, Failure>(verdict)
    };
    passes("large_leaves::a_large_frame_moves_with_its_contents")?.prints(["frame of 2 MiB: moved\n"])?;
    passes("spoilt_tables::the_audit_finds_what_is_there")?;
    passes("address_space::the_window_shows_all_ram")?;
    let walked = passes("large_leaves::heap_leaves_of_each_size_are_walked")?;
    let changed = passes("large_leaves::a_leaf_of_1_gib_is_split_and_promoted")?;
    if lane.is_qemu() || context.paging()?.is_nested() {
        walked.prints(["heap leaf of 1 GiB: walked\n"])?;
        changed.prints(["leaf of 1 GiB: split and promoted\n"])?;
    } else {
        walked.prints(["heap leaf of 2 MiB: walked\n"])?;
    }
    Ok(())
}
