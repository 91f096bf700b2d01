//! The command line that QEMU hands over as a file, in place of the one that an image is booted with.

use crate::context::{Alone, Context, Outcome};
use crate::disk::Disk;
use guest_interface::fw_cfg::FILE_COMMAND_LINE;
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use guest_interface::status::KernelStatus;
use libtest_mimic::Trial;
use std::fs;
use std::time::Duration;
use system_tests::disk::qemu_status;
use system_tests::lane::Lane;
use system_tests::qemu::{Accelerator, Qemu};
use system_tests::verdict::{Failure, Verdict};

const MEMORY: &str = "64M";
const LIMIT: Duration = Duration::from_secs(60);
/// What the image itself is booted with.
const OVERRIDDEN: &str = "log=debug -- of-the-image";

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (lane, machine) in [(Lane::QemuMicrovm, "microvm"), (Lane::QemuQ35, "q35"), (Lane::QemuPc, "pc")] {
        let loaded = move || replaces(context, Accelerator::Tcg, machine);
        trials.push(context.trial(lane, "command_line_file/replaces", loaded));
        if lane != Lane::QemuMicrovm {
            let from_disk = move || replaces_that_of_a_disk(context, machine);
            trials.push(context.trial(lane, "command_line_file/replaces_that_of_a_disk", from_disk));
        }
    }
    let native = || replaces(context, Accelerator::Kvm, "microvm");
    trials.push(context.qemu_kvm_trial("command_line_file/replaces", native));
    let alone: [Alone; 5] = [
        ("command_line_file/absent", absent),
        ("command_line_file/longest", longest),
        ("command_line_file/too_long", too_long),
        ("command_line_file/not_utf8", not_utf8),
        ("command_line_file/ends_at_a_nul", ends_at_a_nul),
    ];
    let on_microvm = |(name, test): Alone| context.trial(Lane::QemuMicrovm, name, move || test(context));
    trials.extend(alone.map(on_microvm));
    trials
}

const FILE: &str = r#"log=debug audit -- of,the "file itself""#;

/// Whether `hello` had [`FILE`] for its command line, and no other.
fn has_that_of_the_file(verdict: &Verdict) -> Outcome {
    verdict.status(qemu_status(0))?.prints([
        "command line from opt/freehold/command-line\n",
        "argument: \"of,the\"\nargument: \"file itself\"\n",
        "audit: clean\n",
    ])?;
    has_not_that_of_the_image(verdict)
}

fn has_not_that_of_the_image(verdict: &Verdict) -> Outcome {
    if verdict.stdout().contains("of-the-image") {
        return Err(verdict.failure("nothing was expected of the image's own command line"));
    }
    Ok(())
}

fn replaces(context: &Context, accelerator: Accelerator, machine: &str) -> Outcome {
    let qemu = Qemu::new(accelerator, machine, MEMORY)
        .kernel(&context.artifacts.hello)
        .command_line("log=off -- of-the-image");
    has_that_of_the_file(&qemu.text(FILE_COMMAND_LINE, FILE).end(LIMIT)?)
}

fn replaces_that_of_a_disk(context: &Context, machine: &str) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args", "of-the-image", "--log", "off"])?;
    let qemu = Qemu::new(Accelerator::Tcg, machine, MEMORY).disk(&disk.path);
    has_that_of_the_file(&qemu.text(FILE_COMMAND_LINE, FILE).end(LIMIT)?)
}

fn microvm(context: &Context) -> Qemu {
    Qemu::new(Accelerator::Tcg, "microvm", MEMORY).kernel(&context.artifacts.hello).command_line(OVERRIDDEN)
}

fn with_content(context: &Context, content: &[u8]) -> Result<Verdict, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("command,line");
    fs::write(&path, content).map_err(Failure::start)?;
    microvm(context).file(FILE_COMMAND_LINE, &path).end(LIMIT)
}

/// A file of another name changes nothing.
fn absent(context: &Context) -> Outcome {
    let verdict = microvm(context).text("opt/freehold/command-lines", FILE).end(LIMIT)?;
    verdict
        .status(qemu_status(0))?
        .prints(["command line from the start info\n", "argument: \"of-the-image\"\n"])?;
    Ok(())
}

fn longest(context: &Context) -> Outcome {
    let argument = "x".repeat(COMMAND_LINE_LEN_MAX - "log=info -- \0".len());
    let verdict = with_content(context, format!("log=info -- {argument}").as_bytes())?;
    verdict.status(qemu_status(0))?.prints([&*format!("argument: {argument:?}\n")])?;
    Ok(())
}

fn is_refused(context: &Context, content: &[u8], message: &str) -> Outcome {
    let verdict = with_content(context, content)?;
    verdict
        .status(qemu_status(KernelStatus::BootFailure.code()))?
        .prints([&*format!("boot failed: {message}\n")])?;
    has_not_that_of_the_image(&verdict)
}

fn too_long(context: &Context) -> Outcome {
    for len in [COMMAND_LINE_LEN_MAX, 1 << 20] {
        let message = format!(
            "the command line in opt/freehold/command-line has {len} bytes: give one of at most {}",
            COMMAND_LINE_LEN_MAX - 1
        );
        is_refused(context, &vec![b' '; len], &message)?;
    }
    Ok(())
}

fn not_utf8(context: &Context) -> Outcome {
    is_refused(context, b"-- \xfe", "the command line is not UTF-8 from byte 3 on")
}

fn ends_at_a_nul(context: &Context) -> Outcome {
    let verdict = with_content(context, b"log=info -- one\0 two \xff")?;
    let stdout = verdict.status(qemu_status(0))?.stdout();
    let arguments: Vec<&str> = stdout.lines().filter(|line| line.starts_with("argument: ")).collect();
    if arguments != ["argument: \"one\""] {
        return Err(verdict.failure("what stands before the NUL was expected, and nothing else"));
    }
    Ok(())
}
