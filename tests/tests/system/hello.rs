//! The appliance `hello`: memory, command line and console on every host.

use crate::context::{Context, OnLane, Outcome, timing};
use libtest_mimic::Trial;
use std::fs;
use system_tests::lane::Lane;
use system_tests::verdict::{Failure, Verdict};

/// RAM as `--memory` takes it, and in KiB.
const MEMORIES: [(&str, u64); 5] =
    [("16M", 16 << 10), ("64M", 64 << 10), ("1G", 1 << 20), ("3G", 3 << 20), ("6G", 6 << 20)];

/// What firmware and the holes below 1 MiB may take of the RAM.
const MISSING_KIB_MAX: u64 = 1 << 10;

/// Everything that quoting may get wrong.
const ARGUMENTS: [&str; 15] = [
    "plain",
    "",
    "two words",
    " ",
    "a\"quote",
    "back\\slash",
    "\\\"",
    "--",
    "--memory",
    "tab\there",
    "new\nline",
    "ünï 世界",
    "'",
    "log=off",
    "$HOME",
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for lane in Lane::ALL {
        for (memory, memory_kib) in MEMORIES {
            let test = move || reports_its_ram(context, lane, memory, memory_kib);
            trials.push(context.trial(lane, &format!("hello/{memory}"), test));
        }
        let tests: [OnLane; 6] = [
            ("hello/starts_with_the_direction_flag_set", starts_with_the_direction_flag_set),
            ("hello/echoes_its_arguments", echoes_its_arguments),
            ("hello/longest_command_line", longest_command_line),
            ("hello/log_off_leaves_its_own_output", log_off_leaves_its_own_output),
            ("hello/log_levels_add_lines", log_levels_add_lines),
            ("hello/odd_path", odd_path),
        ];
        trials.extend(tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane))));
    }
    trials.push(context.trial(Lane::Kvm, "hello/one_exit_a_line", || one_exit_a_line(context)));
    trials
}

fn greets(verdict: &Verdict) -> Result<&Verdict, Failure> {
    verdict.status(0)?.prints(["hello from Freehold, running at "])
}

fn reports_its_ram(context: &Context, lane: Lane, memory: &str, memory_kib: u64) -> Outcome {
    let verdict = context.boot(lane, &context.artifacts.hello).memory(memory).end()?;
    greets(&verdict)?;
    has_ram(&verdict, memory_kib)
}

/// Whether the kernel says that it has so much RAM, or a little less.
pub(crate) fn has_ram(verdict: &Verdict, memory_kib: u64) -> Outcome {
    has_most_ram(verdict, memory_kib, MISSING_KIB_MAX)
}

/// Whether the kernel says that it has so much RAM, or at most so much less.
pub(crate) fn has_most_ram(verdict: &Verdict, memory_kib: u64, missing_kib_max: u64) -> Outcome {
    let stdout = verdict.stdout();
    let reported = stdout.split(" KiB of RAM").next().and_then(|before| before.rsplit(' ').next());
    let reported: u64 = reported.unwrap_or_default().parse().unwrap_or_default();
    if reported > memory_kib || reported + missing_kib_max < memory_kib {
        return Err(verdict.failure(format!("{memory_kib} KiB of RAM were expected, not {reported}")));
    }
    Ok(())
}

fn echoes_its_arguments(context: &Context, lane: Lane) -> Outcome {
    let verdict = context.boot(lane, &context.artifacts.hello).arguments(ARGUMENTS).end()?;
    greets(&verdict)?;
    let expected: Vec<String> = ARGUMENTS.iter().map(|argument| format!("argument: {argument:?}")).collect();
    let stdout = verdict.stdout();
    let echoed: Vec<&str> = stdout.lines().filter(|line| line.starts_with("argument: ")).collect();
    if echoed != expected {
        return Err(verdict.failure(format!("{expected:#?} were expected")));
    }
    Ok(())
}

/// 4096 bytes in all with its NUL and the kernel's part; [`refusal`](crate::refusal) tests one more.
fn longest_command_line(context: &Context, lane: Lane) -> Outcome {
    let argument = "x".repeat(guest_interface::layout::COMMAND_LINE_LEN_MAX - "log=info audit -- \0".len());
    let verdict = context.boot(lane, &context.artifacts.hello).arguments([&argument]).end()?;
    greets(&verdict)?.prints([&*format!("argument: {argument:?}\n")])?;
    Ok(())
}

fn log_off_leaves_its_own_output(context: &Context, lane: Lane) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.hello).options(["--log", "off"]).arguments(["one"]);
    let verdict = boot.end()?;
    greets(&verdict)?;
    let stdout = verdict.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    if !matches!(lines[..], [greeting, "argument: \"one\""] if greeting.starts_with("hello from Freehold")) {
        return Err(verdict.failure("the greeting and one argument were expected, and nothing else"));
    }
    if !verdict.stderr().is_empty() {
        return Err(verdict.failure("nothing was expected on stderr"));
    }
    Ok(())
}

fn log_levels_add_lines(context: &Context, lane: Lane) -> Outcome {
    let mut lines = Vec::new();
    for level in ["off", "info", "debug"] {
        let verdict = context.boot(lane, &context.artifacts.hello).options(["--log", level]).end()?;
        lines.push(greets(&verdict)?.stdout().lines().count());
    }
    if !(lines[0] < lines[1] && lines[1] < lines[2]) {
        return Err(Failure::new(format!("with log levels off, info and debug there were {lines:?} lines")));
    }
    Ok(())
}

fn odd_path(context: &Context, lane: Lane) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let image = folder.path().join("a b,c=d 世界");
    fs::copy(&context.artifacts.hello, &image).map_err(Failure::start)?;
    greets(&context.boot(lane, &image).end()?)?;
    Ok(())
}

/// PVH says nothing of the direction flag at the entry.
fn starts_with_the_direction_flag_set(context: &Context, lane: Lane) -> Outcome {
    const SET_FLAG: u8 = 0xfd;
    greets(&context.boot_spoilt(lane, &[SET_FLAG])?)?;
    Ok(())
}

/// Under `vmm-stub`, printing a line costs one VM exit.
fn one_exit_a_line(context: &Context) -> Outcome {
    let boot = context.boot(Lane::Kvm, &context.artifacts.hello).options(["--timing"]).arguments(ARGUMENTS);
    let verdict = boot.end()?;
    greets(&verdict)?;
    let timing = timing(&verdict)?;
    let lines = verdict.stdout().lines().count() as u64;
    let exits = &timing["exits"];
    if exits["doorbell"].as_u64() != Some(lines) || exits["serial"].as_u64() != Some(0) {
        return Err(verdict.failure(format!("{lines} lines should be as many doorbells: {exits}")));
    }
    Ok(())
}
