//! Variables for the application: from `vmm-stub` or a command line written by hand to what an application reads.

use crate::context::{Context, OnLane, Outcome};
use libtest_mimic::Trial;
use std::process::Command;
use std::time::Duration;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

const LIMIT: Duration = Duration::from_secs(60);

/// Everything that quoting may get wrong.
const VALUES: [&str; 11] = [
    "plain",
    "",
    "two words",
    "a=b",
    "-- x",
    "\"quoted\" \\",
    "log=off audit",
    "new\nline",
    "tab\there",
    "ünï 世界",
    "$HOME",
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 2] = [
        ("environment/values_arrive_as_they_were_given", values_arrive),
        ("environment/inherited_and_last_values", inherited_and_last_values),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = Lane::ALL.into_iter().flat_map(on_lane).collect();
    trials
        .push(context.trial(Lane::QemuMicrovm, "environment/bad_forms_are_warned_of", || bad_forms(context)));
    trials
}

fn variables_of(verdict: &Verdict) -> Vec<String> {
    let stdout = verdict.stdout();
    stdout.lines().filter_map(|line| line.strip_prefix("variable: ")).map(str::to_owned).collect()
}

fn expect(verdict: &Verdict, expected: &[String]) -> Outcome {
    if variables_of(verdict) != expected {
        return Err(verdict.failure(format!("{expected:#?} were expected")));
    }
    Ok(())
}

fn values_arrive(context: &Context, lane: Lane) -> Outcome {
    let named = |(index, value): (usize, &&str)| format!("V_{index}={value}");
    let options = VALUES.iter().enumerate().map(named).flat_map(|variable| ["--env".to_owned(), variable]);
    let boot =
        context.boot(lane, &context.artifacts.hello).options(options).arguments(["--", "V_0=argument"]);
    let verdict = boot.end()?;
    verdict.status(0)?.prints(["argument: \"--\"\nargument: \"V_0=argument\"\n", "audit: clean"])?;
    let shown = |(index, value): (usize, &&str)| format!("V_{index}={value:?}");
    expect(&verdict, &VALUES.iter().enumerate().map(shown).collect::<Vec<_>>())
}

fn inherited_and_last_values(context: &Context, lane: Lane) -> Outcome {
    let options = ["--env", "A=1", "--env=HERE", "--env", "A=2", "--env", "OURS=no"];
    let boot = context.boot(lane, &context.artifacts.hello).options(options);
    let mut command = boot.command();
    command.env("HERE", "from the host").env("OURS", "yes").env("NOT_NAMED", "1");
    let ended = Running::start(&mut command).map_err(Failure::start)?.end(boot.hard_limit());
    let verdict = Verdict::new(&command, ended)?;
    verdict.status(0)?;
    expect(&verdict, &["A=\"2\"", "HERE=\"from the host\"", "OURS=\"no\""].map(str::to_owned))
}

/// What `vmm-stub` refuses, on a command line that it did not write.
fn bad_forms(context: &Context) -> Outcome {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-M", "microvm", "-m", "64M", "-nodefaults", "-display", "none", "-serial", "stdio"]);
    command.args(["-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel"]);
    command.arg(&context.artifacts.hello);
    command.args(["-append", "env= env=NAME env==value env=A=\"b c\" -- x"]);
    let ended = Running::start(&mut command).map_err(Failure::start)?.end(LIMIT);
    let verdict = Verdict::new(&command, ended)?;
    let success = guest_interface::status::ApplicationStatus::SUCCESS.code() << 1 | 1;
    verdict.status(success)?.prints([
        "'env=' is ignored",
        "'env=NAME' is ignored",
        "'env==value' is ignored",
    ])?;
    expect(&verdict, &["A=\"b c\"".to_owned()])
}
