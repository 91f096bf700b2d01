//! Bad arguments and bad images: one line that says what is wrong, the status of a refusal, and nothing started.

use crate::context::{Alone, Context, Outcome, trial};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use guest_interface::status::VmmStatus;
use libtest_mimic::Trial;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use system_tests::elf::{self, Field};
use system_tests::process::Running;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(10);
const REFUSED: VmmStatus = VmmStatus::Refused;

/// A change of hello's bytes, and what is said about the result.
type Spoilt = (&'static str, fn(&mut Vec<u8>), &'static str);

const SPOILT: &[Spoilt] = &[
    ("empty", Vec::clear, "not an ELF file"),
    ("text", |file| *file = b"#!/bin/sh\nexit 0\n".repeat(100), "not an ELF file"),
    ("32_bit", |file| file[4] = 1, "not a 64-bit"),
    ("big_endian", |file| file[5] = 2, "64-bit little-endian"),
    ("other_processor", |file| file[18] = 183, "another processor"),
    ("shared_object", |file| file[16] = 3, "no fixed address"),
    ("no_program_headers", |file| file[56] = 0, "program headers"),
    ("65535_program_headers", |file| file[56..58].fill(0xff), "program headers"),
    ("odd_program_headers", |file| file[54] = 55, "program headers"),
    ("headers_behind_the_end", |file| elf::write(file, elf::PROGRAM_HEADERS_OFFSET, 1 << 40), "truncated"),
    ("headers_overflow", |file| elf::write(file, elf::PROGRAM_HEADERS_OFFSET, u64::MAX - 7), "truncated"),
    ("no_pvh_note", |file| retype(file, elf::NOTE), "no PVH note"),
    ("nothing_to_load", |file| retype(file, elf::LOAD), "nothing to load"),
    ("entry_nowhere", |file| elf::write(file, elf::ENTRY, 0x1000), "entry point 0x1000 is in no segment"),
    ("segment_behind_the_end", |file| set(file, 1, Field::Offset, 1 << 40), "truncated"),
    ("segment_overflows_the_file", |file| set(file, 1, Field::Offset, u64::MAX - 4095), "truncated"),
    ("segment_longer_in_file", |file| set(file, 1, Field::MemoryLen, 1), "more bytes in the file"),
    ("segment_in_boot_data", |file| set(file, 0, Field::PhysicalAddress, 0x1000), "below 0x100000"),
    ("segment_behind_ram", |file| set(file, 2, Field::PhysicalAddress, 64 << 20), "does not fit into RAM"),
    (
        "segment_in_device_hole",
        |file| set(file, 2, Field::PhysicalAddress, 0xfee0_0000),
        "does not fit into RAM",
    ),
    (
        "segment_overflows_memory",
        |file| set(file, 2, Field::PhysicalAddress, u64::MAX - 4095),
        "does not fit into RAM",
    ),
    ("segment_too_long", |file| set(file, 2, Field::MemoryLen, 1 << 50), "does not fit into RAM"),
    ("segment_of_all_memory", |file| set(file, 2, Field::MemoryLen, u64::MAX), "does not fit into RAM"),
    ("segments_overlap", |file| overlap(file), "overlap"),
];

/// Makes every program header of one type one that means nothing.
fn retype(file: &mut [u8], kind: u32) {
    for header in elf::program_headers_of(file, kind) {
        file[header..header + 4].fill(0);
    }
}

/// Sets a field of the load segment with a number.
fn set(file: &mut [u8], segment: usize, field: Field, value: u64) {
    let header = elf::program_headers_of(file, elf::LOAD)[segment];
    elf::write(file, header + field as usize, value);
}

fn overlap(file: &mut [u8]) {
    let first = elf::program_headers_of(file, elf::LOAD)[0];
    let address = elf::read(file, first + Field::PhysicalAddress as usize);
    set(file, 1, Field::PhysicalAddress, address);
}

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials: Vec<Trial> = SPOILT
        .iter()
        .map(|(name, spoil, says)| {
            let test = move || {
                let mut file = hello(context)?;
                spoil(&mut file);
                refuses_image(context, &file, says)
            };
            trial(format!("refusal/image/{name}"), test)
        })
        .collect();
    let tests: [Alone; 10] = [
        ("image/truncated_anywhere", truncated_anywhere),
        ("image/not_a_file", not_a_file),
        ("image/larger_than_memory", larger_than_memory),
        ("memory", memory),
        ("time_limit", time_limit),
        ("command_line", command_line),
        ("arguments", arguments),
        ("document_over_an_output", document_over_an_output),
        ("document_over_the_image", document_over_the_image),
        ("statistics_without_stdout", statistics_without_stdout),
    ];
    trials.extend(tests.map(|(name, test)| trial(format!("refusal/{name}"), move || test(context))));
    trials
}

fn hello(context: &Context) -> Result<Vec<u8>, Failure> {
    fs::read(&context.artifacts.hello).map_err(Failure::start)
}

/// Runs `vmm-stub` with arguments, which it must refuse in one line that holds a text.
fn refuses<S: AsRef<OsStr>>(context: &Context, arguments: &[S], says: &str) -> Outcome {
    let mut command = Command::new(&context.artifacts.vmm_stub);
    command.args(arguments);
    let running = Running::start(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(LIMIT))?;
    verdict.status(REFUSED.code())?.complains_in_one_line()?.complains([says])?;
    if !verdict.stdout().is_empty() {
        return Err(verdict.failure("nothing was expected on stdout"));
    }
    Ok(())
}

/// A file in a folder that lives as long as the first value.
fn file_with(bytes: &[u8]) -> Result<(TempDir, std::path::PathBuf), Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("image");
    fs::write(&path, bytes).map_err(Failure::start)?;
    Ok((folder, path))
}

fn refuses_image(context: &Context, bytes: &[u8], says: &str) -> Outcome {
    let (_folder, path) = file_with(bytes)?;
    let path_text = path.to_string_lossy();
    let arguments = ["run", &*path_text, "--memory", "64M", "--timeout", "2s"];
    refuses(context, &arguments, says)?;
    refuses(context, &arguments, &path_text)
}

/// Cut within its headers at every byte, and beyond at many.
fn truncated_anywhere(context: &Context) -> Outcome {
    let file = hello(context)?;
    let headers = elf::headers(&file).end;
    let (folder, path) = file_with(&[])?;
    let path_text = path.to_string_lossy().into_owned();
    for len in (0..headers).chain((headers..file.len()).step_by(file.len() / 50)).chain([file.len() - 1]) {
        fs::write(&path, &file[..len]).map_err(Failure::start)?;
        let says = if len < 4 { "not an ELF file" } else { "truncated" };
        refuses(context, &["run", &*path_text, "--timeout", "2s"], says)
            .map_err(|failure| Failure::new(format!("cut to {len} bytes: {failure}")))?;
    }
    drop(folder);
    Ok(())
}

fn not_a_file(context: &Context) -> Outcome {
    refuses(context, &["run", ""], "<IMAGE>")?;
    for path in ["/nowhere/hello", "/dev/null/hello"] {
        refuses(context, &["run", path], "can't read")?;
    }
    for path in ["/", "/dev/zero", "/dev/null"] {
        refuses(context, &["run", path], "not a regular file")?;
    }
    refuses(context, &[OsStr::new("run"), OsStr::from_bytes(b"/not/utf-8/\xff\n")], "can't read")
}

fn larger_than_memory(context: &Context) -> Outcome {
    let mut file = hello(context)?;
    set(&mut file, 2, Field::MemoryLen, 10 << 20);
    let (_folder, path) = file_with(&file)?;
    refuses(context, &[Path::new("run"), &path, Path::new("--memory=8M")], "give a larger --memory")
}

fn memory(context: &Context) -> Outcome {
    let hello = context.artifacts.hello.to_string_lossy();
    for (memory, says) in [
        ("0", "8 MiB"),
        ("1", "8 MiB"),
        ("8388607", "8 MiB"),
        ("8191K", "8 MiB"),
        ("8388609", "page"),
        ("512G", "511"),
        ("1T", "511"),
        ("99999999999999999999", "511"),
        ("18446744073709551615", "511"),
        ("18014398509481984K", "511"),
        ("", "--memory"),
        ("M", "--memory"),
        ("-1", "--memory"),
        ("-64M", "--memory"),
        ("64 M", "--memory"),
        ("64MB", "--memory"),
        ("1.5G", "--memory"),
        ("0x4000000", "--memory"),
        ("ünï", "--memory"),
    ] {
        refuses(context, &["run", &hello, &format!("--memory={memory}")], says)?;
    }
    refuses(context, &["run", &hello, "--memory"], "--memory")
}

fn time_limit(context: &Context) -> Outcome {
    let hello = context.artifacts.hello.to_string_lossy();
    for limit in ["0", "0s", "", "s", "-1s", "1.5s", "10 s", "10d", "999999999999999999999s", "tomorrow"] {
        refuses(context, &["run", &hello, &format!("--timeout={limit}")], "--timeout")?;
    }
    Ok(())
}

fn command_line(context: &Context) -> Outcome {
    let hello = &*context.artifacts.hello.to_string_lossy();
    for (arguments, says) in [
        (&[][..], "--help"),
        (&["--fast"], "--fast"),
        (&["walk"], "walk"),
        (&["run"], "<IMAGE>"),
        (&["run", hello, "another"], "another"),
        (&["run", hello, "--fast"], "--fast"),
        (&["run", hello, "--host", "bare-metal"], "bare-metal"),
        (&["run", hello, "--host", "qemu", "--machine", "pdp11"], "pdp11"),
        (&["run", hello, "--machine", "q35"], "--host qemu"),
        (&["run", hello, "--backing", "hugetlb-1t"], "hugetlb-2m"),
        (&["run", hello, "--backing", "hugetlb-2m", "--memory", "65M"], "the next lower is 64M"),
        (&["run", hello, "--backing", "anonymous", "--host", "qemu"], "--host kvm"),
        (&["run", hello, "--log", "loud"], "loud"),
        (&["run", hello, "--env"], "--env"),
        (&["run", hello, "--env", "=1"], "names no variable"),
        (&["run", hello, "--env", "two words=1"], "names no variable"),
        (&["run", hello, "--env", "FREEHOLD_GONE"], "give --env FREEHOLD_GONE=value"),
        (&["doctor", "again"], "again"),
    ] {
        refuses(context, arguments, says)?;
    }
    Ok(())
}

/// Arguments for the application that no command line can carry.
fn arguments(context: &Context) -> Outcome {
    let hello = context.artifacts.hello.as_os_str();
    let longest = COMMAND_LINE_LEN_MAX - "log=info -- \0".len();
    for (argument, says) in [
        ("x".repeat(longest + 1).as_bytes(), "4097 bytes"),
        ("\"".repeat(longest / 2).as_bytes(), "command line"),
        ("x".repeat(100_000).as_bytes(), "command line"),
        (b"\xff", "not UTF-8"),
        (b"half a character \xc3", "not UTF-8"),
    ] {
        let arguments = [OsStr::new("run"), hello, OsStr::new("--"), OsStr::from_bytes(argument)];
        refuses(context, &arguments, says)?;
    }
    Ok(())
}

/// Runs a script with `vmm-stub` as `$0`, in a folder with hello as `image`. It must be refused in one line, on stderr or in
/// the file `err`, that holds a text. Gives the folder.
fn refuses_in_shell(context: &Context, script: &str, says: &str) -> Result<TempDir, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    fs::copy(&context.artifacts.hello, folder.path().join("image")).map_err(Failure::start)?;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&context.artifacts.vmm_stub).current_dir(folder.path());
    let running = Running::start(&mut command).map_err(Failure::start)?;
    let verdict = Verdict::new(&command, running.end(LIMIT))?;
    verdict.status(REFUSED.code())?;
    let file = fs::read_to_string(folder.path().join("err")).unwrap_or_default();
    let said = format!("{}{file}", verdict.stderr());
    if !said.contains(says) || said.lines().count() != 1 || !verdict.stdout().is_empty() {
        return Err(verdict.failure(format!("{says:?} was expected in one line, and not {said:?}")));
    }
    Ok(folder)
}

/// A document would replace the file, and what was printed would be gone with it.
fn document_over_an_output(context: &Context) -> Outcome {
    for (script, says) in [
        ("--stats out > out", "\"out\", which is standard output; use `--stats -`"),
        ("--stats ./out >> out", "which is standard output; use `--stats -`"),
        ("--stats /dev/stdout > out", "which is standard output; use `--stats -`"),
        (
            "--stats /dev/stdout; echo $? > status) | cat; exit $(cat status",
            "which is standard output; use `--stats -`",
        ),
        ("--stats /dev/fd/1 > /dev/null", "which is standard output; use `--stats -`"),
        ("--result out > out", "which is standard output; give --result another path"),
        ("--stats err 2> err", "which is standard error; give --stats another path"),
        ("--result /dev/stderr 2> err", "which is standard error; give --result another path"),
    ] {
        // In parentheses, so that one can be closed before a pipe.
        refuses_in_shell(context, &format!("(\"$0\" run image --timeout 5s {script})"), says)
            .map_err(|failure| Failure::new(format!("{script}: {failure}")))?;
    }
    Ok(())
}

fn document_over_the_image(context: &Context) -> Outcome {
    let image = hello(context)?;
    for option in ["--stats", "--result"] {
        for path in ["image", "$PWD/image", "link"] {
            let script = format!("ln -s image link; \"$0\" run image --timeout 5s {option} {path}");
            let says = format!("which is the appliance; give {option} another path");
            let folder = refuses_in_shell(context, &script, &says)?;
            if fs::read(folder.path().join("image")).map_err(Failure::start)? != image {
                return Err(Failure::new(format!("{script}: the image is another")));
            }
        }
    }
    Ok(())
}

/// The runtime puts /dev/null in the place of what is closed, and a document printed there would be lost without a word.
fn statistics_without_stdout(context: &Context) -> Outcome {
    for redirection in [">&-", "1< /dev/null"] {
        let script = format!("\"$0\" run image --timeout 5s --stats - {redirection}");
        refuses_in_shell(
            context,
            &script,
            "closed or open for reading only; open it, or give --stats a file",
        )?;
    }
    Ok(())
}
