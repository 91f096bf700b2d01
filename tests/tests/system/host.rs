//! Hosts that lack something: KVM, a permission, QEMU, memory. One line says what to do; the status is 117.

use crate::context::{Alone, Context, Outcome, trial};
use guest_interface::status::VmmStatus;
use libtest_mimic::Trial;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

const LIMIT: Duration = Duration::from_secs(30);
const KVM: &str = "/dev/kvm";
/// Somebody who owns nothing.
const NOBODY: u32 = 65534;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    // Only root can become somebody else; elsewhere the lane itself is missing when the permission is.
    let others_may = fs::metadata(KVM).map_or(true, |kvm| kvm.mode() & 0o006 != 0);
    let is_root = nix::unistd::geteuid().is_root();
    let no_permission: [(Lane, Alone); 3] = [
        (Lane::Kvm, ("host/no_permission_on_kvm", no_permission_on_kvm)),
        (Lane::Kvm, ("host/auto_does_not_drop_a_backing", auto_does_not_drop_a_backing)),
        (Lane::QemuMicrovm, ("host/auto_takes_qemu_without_kvm", auto_takes_qemu_without_kvm)),
    ];
    let mut trials: Vec<Trial> = no_permission
        .into_iter()
        .map(|(lane, (name, test))| {
            let ignored = !is_root || others_may || context.lanes.missing(lane).is_some();
            trial(name, move || test(context)).with_ignored_flag(ignored)
        })
        .collect();
    trials.push(trial("host/no_qemu", || no_qemu(context)));
    trials.push(context.trial(Lane::Kvm, "host/doctor", || doctor(context)));
    trials.push(context.trial(Lane::Kvm, "host/paging_is_named", || paging_is_named(context)));
    for lane in [Lane::Kvm, Lane::QemuMicrovm] {
        trials.push(context.trial(lane, "host/more_memory_than_there_is", move || too_much(context, lane)));
    }
    trials
}

fn end(command: &mut Command) -> Result<Verdict, Failure> {
    let running = Running::start(command).map_err(Failure::start)?;
    Verdict::new(command, running.end(LIMIT))
}

fn is_unable(verdict: &Verdict) -> Result<&Verdict, Failure> {
    verdict.status(VmmStatus::HostUnable.code())
}

/// Copies the binaries to where everybody may read them, and gives the command to run one as nobody.
fn as_nobody(context: &Context, folder: &Path) -> Result<Command, Failure> {
    let everybody = Permissions::from_mode(0o755);
    fs::set_permissions(folder, everybody).map_err(Failure::start)?;
    // Another process copies: a program that this one has open for writing, even for a moment, may be so in a child that
    // another test starts just then, and could not be run.
    let mut copy = Command::new("cp");
    copy.args([&context.artifacts.vmm_stub, &context.artifacts.hello]).arg(folder);
    end(&mut copy)?.status(0)?;
    let mut command = Command::new(folder.join("vmm-stub"));
    command.current_dir(folder).uid(NOBODY).gid(NOBODY);
    Ok(command)
}

fn no_permission_on_kvm(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let mut command = as_nobody(context, folder.path())?;
    let verdict = end(command.args(["run", "hello"]))?;
    is_unable(&verdict)?.complains_in_one_line()?.complains([KVM, "ermission", "kvm"])?;
    let mut command = as_nobody(context, folder.path())?;
    let verdict = end(command.args(["run", "hello", "--host", "auto", "--stats", "-"]))?;
    is_unable(&verdict)?.complains_in_one_line()?.complains([KVM, "leave --stats out"])?;
    let verdict = end(as_nobody(context, folder.path())?.arg("doctor"))?;
    is_unable(&verdict)?.prints([KVM, "ermission"])?;
    Ok(())
}

fn auto_takes_qemu_without_kvm(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let mut command = as_nobody(context, folder.path())?;
    let verdict = end(command.args(["run", "hello", "--host", "auto", "--timeout", "20s"]))?;
    verdict.status(0)?.prints(["hello from Freehold, running at ring 0"])?;
    verdict.complains_in_one_line()?.complains(["QEMU", KVM])?;
    Ok(())
}

/// QEMU knows nothing of `--backing`, so what was asked for would be lost without a word.
fn auto_does_not_drop_a_backing(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let mut command = as_nobody(context, folder.path())?;
    let verdict = end(command.args(["run", "hello", "--host", "auto", "--backing", "anonymous"]))?;
    is_unable(&verdict)?.complains_in_one_line()?.complains(["--backing", KVM, "QEMU"])?;
    Ok(())
}

fn no_qemu(context: &Context) -> Outcome {
    let mut command = Command::new(&context.artifacts.vmm_stub);
    command.arg("run").arg(&context.artifacts.hello).args(["--host", "qemu"]).env("PATH", "/nowhere");
    let verdict = end(&mut command)?;
    is_unable(&verdict)?.complains_in_one_line()?.complains(["qemu-system-x86_64", "install"])?;
    Ok(())
}

fn doctor(context: &Context) -> Outcome {
    let verdict = end(Command::new(&context.artifacts.vmm_stub).arg("doctor"))?;
    verdict.status(0)?.prints(["KVM", "can be used"])?;
    Ok(())
}

/// What the doctor says of KVM's paging is what `--host auto` says.
fn paging_is_named(context: &Context) -> Outcome {
    let paging = context.paging()?;
    let mut command = Command::new(&context.artifacts.vmm_stub);
    command.arg("run").arg(&context.artifacts.hello).args(["--host", "auto", "--timeout", "20s"]);
    let verdict = end(&mut command)?;
    verdict.status(0)?.complains_in_one_line()?.complains([&*format!("paging: {}\n", paging.name())])?;
    Ok(())
}

fn too_much(context: &Context, lane: Lane) -> Outcome {
    let boot = context.boot(lane, &context.artifacts.hello).memory("511G");
    let verdict = boot.end()?;
    is_unable(&verdict)?.complains_in_one_line()?.complains(["--memory"])?;
    Ok(())
}
