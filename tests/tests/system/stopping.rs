//! Ends that come from outside: time limits, signals, and readers that go away.

use crate::context::{Alone, Context, OnLane, Outcome};
use guest_interface::status::VmmStatus;
use libtest_mimic::Trial;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;
use system_tests::boot::Boot;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

/// How late an end may be. The machine is shared, and QEMU has to be killed and waited for.
const LATE_MAX: Duration = Duration::from_secs(3);

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for lane in [Lane::Kvm, Lane::QemuMicrovm] {
        let tests: [OnLane; 7] = [
            ("stopping/slow_reader_gets_everything", slow_reader_gets_everything),
            ("stopping/time_limit", time_limit),
            ("stopping/time_limit_without_a_reader", time_limit_without_a_reader),
            ("stopping/sigint", |context, lane| signal(context, lane, Signal::SIGINT)),
            ("stopping/sigterm", |context, lane| signal(context, lane, Signal::SIGTERM)),
            ("stopping/sigkill_leaves_nothing_behind", sigkill_leaves_nothing_behind),
            ("stopping/sigterm_without_a_reader", sigterm_without_a_reader),
        ];
        trials.extend(tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane))));
    }
    trials.push(context.trial(Lane::QemuMicrovm, "stopping/ignored_children", || ignored_children(context)));
    let tests: [Alone; 5] = [
        ("stopping/closed_output", closed_output),
        ("stopping/full_output", full_output),
        ("stopping/statistics_time_limit_without_a_reader", statistics_time_limit_without_a_reader),
        ("stopping/statistics_sigterm_without_a_reader", statistics_sigterm_without_a_reader),
        ("stopping/statistics_slow_reader", statistics_slow_reader),
    ];
    trials.extend(tests.map(|(name, test)| context.trial(Lane::Kvm, name, move || test(context))));
    trials
}

fn boot(context: &Context, lane: Lane, act: &str) -> Boot {
    context.boot(lane, &context.artifacts.misbehave).arguments([act])
}

fn time_limit(context: &Context, lane: Lane) -> Outcome {
    for limit in [Duration::from_millis(250), Duration::from_millis(1500)] {
        let verdict = boot(context, lane, "spin").timeout(limit).end()?;
        verdict.status(VmmStatus::Timeout.code())?;
        in_time(&verdict, limit)?;
    }
    Ok(())
}

fn in_time(verdict: &Verdict, limit: Duration) -> Outcome {
    let wall = verdict.ended().wall;
    if wall < limit || wall > limit + LATE_MAX {
        return Err(verdict.failure(format!("an end after {limit:?} was expected, not after {wall:?}")));
    }
    Ok(())
}

/// Starts a guest that fills a pipe which nobody reads.
fn without_a_reader(boot: &Boot) -> Result<(io::PipeReader, Running), Failure> {
    let (reader, writer) = io::pipe().map_err(Failure::start)?;
    Ok((reader, start_on(boot, writer)?))
}

fn start_on(boot: &Boot, output: io::PipeWriter) -> Result<Running, Failure> {
    let mut command = boot.command();
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped());
    Running::start_as_is(&mut command).map_err(Failure::start)
}

/// Starts a guest whose pipe is full already, however soon it comes to print.
fn before_a_full_pipe(boot: &Boot) -> Result<(io::PipeReader, Running), Failure> {
    let (reader, mut writer) = io::pipe().map_err(Failure::start)?;
    let room = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).map_err(|error| Failure::start(error.into()))?;
    writer.write_all(&vec![b'\n'; room as usize]).map_err(Failure::start)?;
    Ok((reader, start_on(boot, writer)?))
}

fn time_limit_without_a_reader(context: &Context, lane: Lane) -> Outcome {
    let limit = Duration::from_secs(1);
    let boot = boot(context, lane, "flood").timeout(limit);
    let (_reader, running) = before_a_full_pipe(&boot)?;
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::Timeout.code())?;
    in_time(&verdict, limit)
}

fn sigterm_without_a_reader(context: &Context, lane: Lane) -> Outcome {
    let boot = boot(context, lane, "flood");
    let (_reader, running) = before_a_full_pipe(&boot)?;
    sleep(Duration::from_secs(1));
    running.signal(Signal::SIGTERM);
    let verdict = Verdict::new(&boot.command(), running.end(LATE_MAX))?;
    verdict.status(VmmStatus::Interrupted.code())?;
    Ok(())
}

/// A guest with a document behind its output, on the same pipe.
fn with_statistics(context: &Context) -> Boot {
    boot(context, Lane::Kvm, "flood").options(["--stats", "-", "--log", "off"])
}

const STATISTICS_LOST: &str = "the statistics document is lost: it can't be printed: nobody reads it";

fn statistics_time_limit_without_a_reader(context: &Context) -> Outcome {
    let limit = Duration::from_secs(1);
    let boot = with_statistics(context).timeout(limit);
    let (_reader, running) = before_a_full_pipe(&boot)?;
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::Timeout.code())?.complains([STATISTICS_LOST])?;
    in_time(&verdict, limit)
}

fn statistics_sigterm_without_a_reader(context: &Context) -> Outcome {
    let boot = with_statistics(context);
    let (_reader, running) = before_a_full_pipe(&boot)?;
    sleep(Duration::from_secs(1));
    running.signal(Signal::SIGTERM);
    let verdict = Verdict::new(&boot.command(), running.end(LATE_MAX))?;
    verdict.status(VmmStatus::Interrupted.code())?.complains([STATISTICS_LOST])?;
    Ok(())
}

/// A reader that is slower than the guest gets the whole document, behind all else, also by a pipe that does not block.
fn statistics_slow_reader(context: &Context) -> Outcome {
    for flags in [OFlag::empty(), OFlag::O_NONBLOCK] {
        let boot = with_statistics(context);
        let (mut reader, writer) = io::pipe().map_err(Failure::start)?;
        fcntl(&writer, FcntlArg::F_SETFL(flags)).map_err(|errno| Failure::start(errno.into()))?;
        let mut command = boot.command();
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let running = Running::start_as_is(&mut command).map_err(Failure::start)?;
        // It has this process's copy of the writing end.
        command.stdout(Stdio::null());
        let reading = thread::spawn(move || {
            let (mut read, mut part) = (Vec::new(), [0; 4096]);
            while let Ok(len @ 1..) = reader.read(&mut part) {
                read.extend_from_slice(&part[..len]);
                sleep(Duration::from_millis(10));
            }
            String::from_utf8_lossy(&read).into_owned()
        });
        let verdict = Verdict::new(&command, running.end(boot.hard_limit()))?;
        verdict.status(0)?;
        let read = reading.join().unwrap_or_default();
        let last = read.lines().last().unwrap_or_default();
        if !last.starts_with("{\"schema\"") || !read.ends_with("}\n") || !read.contains("\nflood: done\n") {
            return Err(verdict.failure(format!("all output and a document were expected, not {last:?}")));
        }
    }
    Ok(())
}

/// A reader that is late, and comes when every buffer on the way is full, misses nothing.
fn slow_reader_gets_everything(context: &Context, lane: Lane) -> Outcome {
    let boot = boot(context, lane, "flood").options(["--log", "off"]);
    let expected = boot.end()?;
    let (mut reader, running) = without_a_reader(&boot)?;
    let reading = thread::spawn(move || {
        sleep(Duration::from_secs(1));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map(|_| read)
    });
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(0)?;
    let read = reading.join().ok().and_then(Result::ok).unwrap_or_default();
    if read != expected.ended().stdout {
        let expected = expected.ended().stdout.len();
        return Err(verdict.failure(format!("of {expected} bytes {} were read, or others", read.len())));
    }
    Ok(())
}

/// A parent that ignores its children's ends hands that on, and QEMU's end must still be seen.
fn ignored_children(context: &Context) -> Outcome {
    let boot = context.boot(Lane::QemuMicrovm, &context.artifacts.misbehave).arguments(["exit", "42"]);
    let command = boot.command();
    let mut env = Command::new("env");
    env.arg("--ignore-signal=CHLD").arg(command.get_program()).args(command.get_args());
    let running = Running::start(&mut env).map_err(Failure::start)?;
    Verdict::new(&env, running.end(boot.hard_limit()))?.status(42)?;
    Ok(())
}

/// Starts a guest that spins, and returns when it does.
fn spinning(boot: &Boot) -> Result<Running, Failure> {
    let mut running = boot.start()?;
    if running.prints_within("misbehave: spin", boot.hard_limit()) {
        return Ok(running);
    }
    Err(Failure::new(format!("the guest never said that it spins: {:?}", running.end(Duration::ZERO))))
}

fn signal(context: &Context, lane: Lane, signal: Signal) -> Outcome {
    let boot = boot(context, lane, "spin");
    let running = spinning(&boot)?;
    running.signal(signal);
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(VmmStatus::Interrupted.code())?.complains(["interrupted by a signal (status 114)"])?;
    if verdict.ended().wall > LATE_MAX {
        return Err(verdict.failure("the signal should end it at once"));
    }
    Ok(())
}

/// QEMU ends with the VMM, even if that could do nothing about it any more.
fn sigkill_leaves_nothing_behind(context: &Context, lane: Lane) -> Outcome {
    let boot = boot(context, lane, "spin");
    let running = spinning(&boot)?;
    running.signal(Signal::SIGKILL);
    let ended = running.end(boot.hard_limit());
    if ended.signal != Some(Signal::SIGKILL as i32) || ended.was_killed || ended.left_open {
        return Err(Failure::new(format!("{:?}: {ended:?}", boot.command())));
    }
    Ok(())
}

/// A reader that goes away takes nothing but the output with it: the guest ends with its own status.
fn closed_output(context: &Context) -> Outcome {
    let boot = boot(context, Lane::Kvm, "flood");
    let (reader, running) = without_a_reader(&boot)?;
    drop(reader);
    let verdict = Verdict::new(&boot.command(), running.end(boot.hard_limit()))?;
    verdict.status(0)?.complains(["bytes of console output were lost"])?.complains_in_one_line()?;
    Ok(())
}

fn full_output(context: &Context) -> Outcome {
    let full = OpenOptions::new().write(true).open("/dev/full").map_err(Failure::start)?;
    let boot = boot(context, Lane::Kvm, "flood");
    let mut command = boot.command();
    command.stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
    let running = Running::start_as_is(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(boot.hard_limit()))?;
    verdict.status(0)?.complains(["bytes of console output were lost"])?.complains_in_one_line()?;
    Ok(())
}
