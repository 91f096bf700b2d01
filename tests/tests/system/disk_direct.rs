//! Disk images that `vmm-stub run` boots without a loader: what the guest is told, and what is refused.

use crate::context::{Context, OnLane, Outcome, trial};
use crate::disk::{Disk, HEADER_AT};
use guest_interface::status::VmmStatus;
use image_header::BLOCK_LEN;
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use system_tests::lane::Lane;
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};

const LIMIT: Duration = Duration::from_secs(60);
const REFUSED: u8 = VmmStatus::Refused.code();

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 4] = [
        ("disk/direct/as_the_image_says", as_the_image_says),
        ("disk/direct/given_arguments_and_options", given_arguments_and_options),
        ("disk/direct/status_of_the_application", status_of_the_application),
        ("disk/direct/memory_stress_passes", memory_stress_passes),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = Lane::ALL.into_iter().flat_map(on_lane).collect();
    trials.push(trial("disk/direct/damaged", || damaged(context)));
    trials.push(trial("disk/direct/truncated", || truncated(context)));
    trials.push(trial("disk/direct/foreign", || foreign(context)));
    trials.push(trial("disk/direct/other_formats", || other_formats(context)));
    trials
}

/// Without the options that [`Context::boot`] gives all others.
fn run(context: &Context, lane: Lane, disk: &Disk, rest: &[&str]) -> Result<Verdict, Failure> {
    let mut command = Command::new(&context.artifacts.vmm_stub);
    command.arg("run").arg(&disk.path).args(lane.options()).args(["--memory", "64M", "--timeout", "30s"]);
    let running = Running::start(command.args(rest)).map_err(Failure::start)?;
    Verdict::new(&command, running.end(LIMIT))
}

fn refused(context: &Context, disk: &Path, message: &str) -> Outcome {
    // On no host: nothing is started.
    let mut command = Command::new(&context.artifacts.vmm_stub);
    command.arg("run").arg(disk).args(["--host", "qemu"]);
    let running = Running::start(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(LIMIT))?;
    verdict.status(REFUSED)?.complains([message])?.complains_in_one_line()?;
    Ok(())
}

fn lines(verdict: &Verdict, start: &str) -> Vec<String> {
    verdict.stdout().lines().filter_map(|line| line.strip_prefix(start)).map(str::to_owned).collect()
}

fn as_the_image_says(context: &Context, lane: Lane) -> Outcome {
    let arguments = r#"--args=one "two words" "" a"quo\te"#;
    let disk = Disk::make(context, &context.artifacts.hello, &[arguments, "--log", "off"])?;
    let verdict = run(context, lane, &disk, &[])?;
    verdict.status(0)?.prints(["hello from Freehold"])?;
    let expected = [r#""one""#, r#""two words""#, r#""""#, r#""aquote""#];
    if lines(&verdict, "argument: ") != expected || verdict.stdout().contains("INFO") {
        return Err(verdict.failure(format!("{expected:?} was expected, and no log")));
    }
    Ok(())
}

fn given_arguments_and_options(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args=old", "--log", "off"])?;
    let verdict = run(context, lane, &disk, &["--log", "debug", "--audit", "--env", "A=b c"])?;
    verdict.status(0)?.prints(["DEBUG", "audit: clean", "argument: \"old\"", "variable: A=\"b c\""])?;
    let verdict = run(context, lane, &disk, &["--", "new", "--"])?;
    verdict.status(0)?;
    if lines(&verdict, "argument: ") != ["\"new\"", "\"--\""] || verdict.stdout().contains("INFO") {
        return Err(verdict.failure("other arguments, and the image's log level, were expected"));
    }
    Ok(())
}

fn status_of_the_application(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.memory_stress, &["--args=--no-such-option"])?;
    run(context, lane, &disk, &[])?.status(2)?;
    Ok(())
}

fn memory_stress_passes(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.memory_stress, &["--args=--size 4M --method random"])?;
    run(context, lane, &disk, &[])?.status(0)?.prints(["memory-stress: PASSED: 4 MiB, 1 method runs"])?;
    Ok(())
}

fn damaged(context: &Context) -> Outcome {
    let disk = Disk::hello(context)?;
    let header = disk.header()?;
    let at = |block: u32| block as usize * BLOCK_LEN;
    let segment = header.segments[0];
    for (place, message) in [
        (HEADER_AT + 20, "is damaged: the header's checksum is another; make it again"),
        (
            at(header.command_line_block) + 1,
            "is damaged: the command line's checksum is another; make it again",
        ),
        (
            at(segment.block) + segment.disk_len as usize / 2,
            "is damaged: the kernel's checksum is another; make it again",
        ),
    ] {
        disk.spoil(|bytes| bytes[place] ^= 1)?;
        refused(context, &disk.path, message)?;
        disk.spoil(|bytes| bytes[place] ^= 1)?;
    }
    let mut lying = header;
    lying.entry += 4;
    disk.replace_header(&lying)?;
    refused(context, &disk.path, "is damaged: the header does not describe the kernel")
}

fn truncated(context: &Context) -> Outcome {
    let header = Disk::hello(context)?.header()?;
    for block in [header.kernel_block + 9, header.kernel_block, header.command_line_block] {
        let disk = Disk::hello(context)?;
        disk.spoil(|bytes| bytes.truncate(block as usize * BLOCK_LEN))?;
        refused(context, &disk.path, "is truncated: it has ")?;
    }
    Ok(())
}

fn foreign(context: &Context) -> Outcome {
    let disk = Disk::hello(context)?;
    disk.spoil(|bytes| bytes[HEADER_AT] = b'G')?;
    refused(context, &disk.path, "it is not an ELF file, nor a disk image of Freehold")
}

fn other_formats(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("disk");
    for (start, format) in [(&b"QFI\xfb\0\0\0\x03"[..], "qcow2"), (b"KDMV\x01\0\0\0", "VMDK")] {
        fs::write(&path, [start, &[0; 1 << 16]].concat()).map_err(Failure::start)?;
        refused(
            context,
            &path,
            &format!("is a {format} image; convert it to a raw one with `qemu-img convert"),
        )?;
    }
    Ok(())
}
