//! Disk images under UEFI firmware: what boots, and what the loader says of those that must not. A boot takes seconds, so there
//! is one for each thing that can differ from the BIOS loader.

use crate::context::{Alone, Context, Outcome, trial};
use crate::disk::{Disk, HEADER_AT, LIMIT};
use crate::hello;
use guest_interface::status::KernelStatus;
use image_header::{BLOCK_LEN, Header, Segment};
use libtest_mimic::Trial;
use std::io::Write;
use std::path::Path;
use system_tests::disk::{boot_by_uefi, boot_drive, qemu_status, tool};
use system_tests::lane::Lane;
use system_tests::qemu::RAW_DISK;
use system_tests::verdict::{Failure, Verdict};

const LANE: Lane = Lane::QemuQ35;
const MEMORY: &str = "128M";
const MEMORY_KIB: u64 = 128 << 10;

/// What OVMF keeps of the RAM at most.
const FIRMWARE_KIB_MAX: u64 = 8 << 10;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [Alone; 13] = [
        ("disk/uefi/boots_where_a_bios_does", boots_where_a_bios_does),
        ("disk/uefi/all_ram_above_4_gib", all_ram_above_4_gib),
        ("disk/uefi/cd_boots", cd_boots),
        ("disk/uefi/memory_stress_passes", memory_stress_passes),
        ("disk/uefi/memory_behind_a_segment_is_cleared", memory_behind_a_segment_is_cleared),
        ("disk/uefi/what_firmware_leaves_is_replaced", what_firmware_leaves_is_replaced),
        ("disk/uefi/what_firmware_keeps_is_refused", what_firmware_keeps_is_refused),
        ("disk/uefi/no_room_in_memory", no_room_in_memory),
        ("disk/uefi/spoilt_header", spoilt_header),
        ("disk/uefi/spoilt_command_line", spoilt_command_line),
        ("disk/uefi/spoilt_kernel", spoilt_kernel),
        ("disk/uefi/missing_file", missing_file),
        ("disk/uefi/truncated", truncated),
    ];
    let on_lane = |(name, test): Alone| {
        let trial = context.trial(LANE, name, move || test(context));
        if context.ovmf.is_err() { trial.with_ignored_flag(true) } else { trial }
    };
    let mut trials: Vec<Trial> = tests.into_iter().map(on_lane).collect();
    let formats = on_lane(("disk/uefi/other_formats_boot", other_formats_boot));
    let is_ignored = formats.has_ignored_flag() || context.lanes.lacks_qemu_img(LANE);
    trials.push(formats.with_ignored_flag(is_ignored));
    trials.push(
        trial("lanes/qemu-q35/ovmf", || match context.ovmf {
            Ok(_) => Ok(()),
            Err(missing) => Err(Failure::new(format!("the lane is required: {missing}"))),
        })
        .with_ignored_flag(context.ovmf.is_err() && !context.lanes.is_required(LANE)),
    );
    trials.push(trial("disk/uefi/same_input_same_bytes", || same_input_same_bytes(context)));
    trials.push(trial("disk/uefi/inspect", || inspect(context)));
    trials.push(trial("disk/uefi/loader_that_is_none", || loader_that_is_none(context)));
    trials
}

/// Makes an image with a UEFI loader.
fn make(context: &Context, appliance: &Path, options: &[&str]) -> Result<Disk, Failure> {
    let loader = context.artifacts.uefi_loader().map_err(|missing| Failure::new(missing.to_string()))?;
    let loader = format!("--uefi-loader={}", loader.display());
    Disk::make(context, appliance, &[&[&*loader], options].concat())
}

fn make_hello(context: &Context) -> Result<Disk, Failure> {
    make(context, &context.artifacts.hello, &[])
}

fn boot(context: &Context, disk: &Disk, memory: &str) -> Result<Verdict, Failure> {
    let ovmf = context.ovmf.as_ref().map_err(|missing| Failure::new(missing.to_string()))?;
    boot_by_uefi(ovmf, &disk.path, RAW_DISK, memory, &[], LIMIT)
}

/// Boots, and wants the loader to say one line that starts so, and the kernel to say nothing. The firmware says something, too.
fn is_refused(context: &Context, disk: &Disk, message: &str) -> Outcome {
    let verdict = boot(context, disk, MEMORY)?;
    verdict.status(qemu_status(KernelStatus::BootFailure.code()))?;
    let stdout = verdict.stdout();
    let lines: Vec<&str> = stdout.lines().filter(|line| line.contains("Freehold")).collect();
    if lines.len() != 1 || !lines[0].starts_with(&format!("Freehold loader: {message}")) {
        return Err(verdict.failure(format!("one line {message:?} of the loader was expected")));
    }
    Ok(())
}

/// Where the copy of the header is that the loader reads.
fn header_file(disk: &Disk) -> Result<usize, Failure> {
    let bytes = disk.bytes()?;
    let header = &bytes[HEADER_AT..HEADER_AT + BLOCK_LEN];
    let block = bytes.chunks(BLOCK_LEN).rposition(|block| block == header).map(|block| block * BLOCK_LEN);
    block.filter(|at| *at != HEADER_AT).ok_or_else(|| Failure::new("the header is no file of the image"))
}

/// Writes a header whose checksum is right, for the UEFI loader alone.
fn replace_header(disk: &Disk, header: &Header) -> Outcome {
    let at = header_file(disk)?;
    disk.spoil(|bytes| bytes[at..at + BLOCK_LEN].copy_from_slice(&header.encode()))?;
    Ok(())
}

/// A segment of zeros.
fn cleared(start: u64, end: u64) -> Segment {
    Segment { block: 0, address: start as u32, disk_len: 0, memory_len: (end - start) as u32, crc: 0 }
}

/// One image under both.
fn boots_where_a_bios_does(context: &Context) -> Outcome {
    let arguments = r#"--args=one "two words" "" a"quo\te"#;
    let disk = make(context, &context.artifacts.hello, &[arguments, "--log", "debug"])?;
    let by_uefi = boot(context, &disk, MEMORY)?;
    for verdict in [&by_uefi, &disk.boot(LANE)?, &disk.boot(Lane::QemuPc)?] {
        verdict.status(qemu_status(0))?.prints([
            "hello from Freehold, running at ring 0\n",
            "argument: \"one\"\nargument: \"two words\"\nargument: \"\"\nargument: \"aquote\"\n",
            "ACPI: 1 processors",
        ])?;
    }
    has_ram(&by_uefi, MEMORY_KIB)
}

fn has_ram(verdict: &Verdict, memory_kib: u64) -> Outcome {
    hello::has_most_ram(verdict, memory_kib, FIRMWARE_KIB_MAX)
}

fn all_ram_above_4_gib(context: &Context) -> Outcome {
    let verdict = boot(context, &make_hello(context)?, "5G")?;
    has_ram(verdict.status(qemu_status(0))?, 5 << 20)
}

/// One image under both, as a CD and as a disk.
fn cd_boots(context: &Context) -> Outcome {
    let ovmf = context.ovmf.as_ref().map_err(|missing| Failure::new(missing.to_string()))?;
    let disk = make(context, &context.artifacts.hello, &["--format", "iso"])?;
    for options in ["format=raw,media=cdrom", RAW_DISK] {
        for verdict in [
            boot_by_uefi(ovmf, &disk.path, options, MEMORY, &[], LIMIT)?,
            boot_drive(LANE, &disk.path, options, MEMORY, LIMIT)?,
        ] {
            verdict.status(qemu_status(0))?.prints(["hello from Freehold, running at ring 0\n"])?;
        }
    }
    let verdict = tool(&context.artifacts, ["inspect".as_ref(), disk.path.as_os_str()])?;
    verdict.status(0)?.prints(["format        iso, ", "loader        UEFI, "])?;
    Ok(())
}

fn other_formats_boot(context: &Context) -> Outcome {
    let ovmf = context.ovmf.as_ref().map_err(|missing| Failure::new(missing.to_string()))?;
    for (format, driver) in [("qcow2", "qcow2"), ("vhd", "raw"), ("vmdk", "vmdk")] {
        let argument = format!("--args={format}");
        let disk = make(context, &context.artifacts.hello, &["--format", format, &argument])?;
        let drive = format!("format={driver},snapshot=on");
        let verdict = boot_by_uefi(ovmf, &disk.path, &drive, MEMORY, &[], LIMIT)?;
        verdict.status(qemu_status(0))?.prints([&*format!("argument: \"{format}\"\n")])?;
    }
    Ok(())
}

fn memory_stress_passes(context: &Context) -> Outcome {
    let disk = make(context, &context.artifacts.memory_stress, &["--args", "--size 4M"])?;
    boot(context, &disk, MEMORY)?
        .status(qemu_status(0))?
        .prints(["memory-stress: PASSED: 4 MiB, 10 method runs", " 0 wrong words"])?;
    Ok(())
}

/// QEMU fills the place of the kernel's cleared memory with ones, which OVMF leaves there.
fn memory_behind_a_segment_is_cleared(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let segments = disk.header()?.segments;
    let cleared = segments.iter().max_by_key(|it| it.memory_len - it.disk_len);
    let cleared = cleared.ok_or_else(|| Failure::new("the image has no segments"))?;
    let mut ones = tempfile::NamedTempFile::new().map_err(Failure::start)?;
    let len = cleared.memory_len - cleared.disk_len;
    ones.write_all(&vec![0xff; len as usize]).map_err(Failure::start)?;
    let address = cleared.address + cleared.disk_len;
    let device = format!("loader,file={},addr={address:#x},force-raw=on", ones.path().display());
    let ovmf = context.ovmf.as_ref().map_err(|missing| Failure::new(missing.to_string()))?;
    let verdict = boot_by_uefi(ovmf, &disk.path, RAW_DISK, MEMORY, &[("-device", &device)], LIMIT)?;
    verdict.status(qemu_status(0))?.prints(["hello from Freehold"])?;
    Ok(())
}

/// Segments of zeros take all free RAM that the kernel has found but the first MiB of it: where loader, stack, page tables,
/// drivers and boot services were, too.
fn what_firmware_leaves_is_replaced(context: &Context) -> Outcome {
    let disk = make(context, &context.artifacts.hello, &["--log", "debug"])?;
    let first = boot(context, &disk, MEMORY)?;
    let stdout = first.stdout();
    let ranges = stdout.lines().filter_map(|line| {
        let (start, end) = line.split_once("free RAM 0x")?.1.split_once(" to 0x")?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    });
    let ranges: Vec<(u64, u64)> = ranges.filter(|(start, _)| *start >= 0x20_0000).collect();
    let cleared_kib = ranges.iter().map(|(start, end)| (end - start) >> 10).sum::<u64>();
    if cleared_kib + 2 * FIRMWARE_KIB_MAX < MEMORY_KIB {
        return Err(first.failure(format!("the kernel says only {ranges:x?} of its free RAM")));
    }
    let mut header = disk.header()?;
    header.segments.extend(ranges.iter().map(|(start, end)| cleared(*start, *end)));
    replace_header(&disk, &header)?;
    let verdict = boot(context, &disk, MEMORY)?;
    verdict.status(qemu_status(0))?.prints(["hello from Freehold", "ACPI: 1 processors"])?;
    has_ram(&verdict, MEMORY_KIB)
}

/// OVMF has a page table of its own at 8 MiB.
fn what_firmware_keeps_is_refused(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let mut header = disk.header()?;
    header.segments.push(cleared(0x7f_f000, 0x80_1000));
    replace_header(&disk, &header)?;
    is_refused(context, &disk, "the image belongs where firmware has 0x800000 to 0x80")
}

fn no_room_in_memory(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let mut header = disk.header()?;
    header.segments.push(cleared(0xc000_0000, 0xc000_1000));
    replace_header(&disk, &header)?;
    is_refused(context, &disk, "no RAM where the image belongs; give the machine more memory")
}

fn spoilt_header(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let at = header_file(&disk)?;
    disk.spoil(|bytes| bytes[at + 20] ^= 1)?;
    is_refused(context, &disk, "header damaged")
}

fn spoilt_command_line(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let at = disk.header()?.command_line_block as usize * BLOCK_LEN;
    disk.spoil(|bytes| bytes[at + 1] ^= 1)?;
    is_refused(context, &disk, "command line damaged; write the image again")
}

/// The last byte of the last segment.
fn spoilt_kernel(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let segments = disk.header()?.segments;
    let last = segments.last().ok_or_else(|| Failure::new("the image has no segments"))?;
    let at = last.block as usize * BLOCK_LEN + last.disk_len as usize - 1;
    disk.spoil(|bytes| bytes[at] ^= 1)?;
    is_refused(context, &disk, "kernel damaged; write the image again")
}

/// The kernel has another name in its folder.
fn missing_file(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let bytes = disk.bytes()?;
    let at = bytes.windows(11).rposition(|name| name == b"KERNEL     ");
    let at = at.ok_or_else(|| Failure::new("the image has no file KERNEL"))?;
    disk.spoil(|bytes| bytes[at + 5] = b'T')?;
    is_refused(context, &disk, "\\freehold\\kernel is missing; write the image again")
}

fn truncated(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let block = disk.header()?.kernel_block + 9;
    disk.spoil(|bytes| bytes.truncate(block as usize * BLOCK_LEN))?;
    is_refused(context, &disk, "disk read failed")
}

fn same_input_same_bytes(context: &Context) -> Outcome {
    let image = make_hello(context)?.bytes()?;
    if make_hello(context)?.bytes()? != image {
        return Err(Failure::new("the same appliance, loader and arguments give different bytes"));
    }
    if image.len() >= 1 << 20 {
        return Err(Failure::new(format!("an image of hello has {} bytes", image.len())));
    }
    let kernel = std::fs::read(&context.artifacts.hello).map_err(Failure::start)?;
    let copies = image.chunks(BLOCK_LEN).filter(|block| kernel.starts_with(block)).count();
    if copies != 1 {
        return Err(Failure::new(format!("the kernel lies on the disk {copies} times")));
    }
    Ok(())
}

fn inspect(context: &Context) -> Outcome {
    let disk = make_hello(context)?;
    let inspect = || tool(&context.artifacts, ["inspect".as_ref(), disk.path.as_os_str()]);
    inspect()?.status(0)?.prints([
        "loader        BIOS, ",
        "loader        UEFI, ",
        "kernel        hello, ",
    ])?;
    let at = header_file(&disk)?;
    disk.spoil(|bytes| bytes[at] ^= 1)?;
    let message = "is damaged: the EFI system partition is not as it was written";
    inspect()?.status(1)?.complains(["disk-image: ", message])?;
    Ok(())
}

fn loader_that_is_none(context: &Context) -> Outcome {
    let hello = context.artifacts.hello.display().to_string();
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let output = folder.path().join("image").display().to_string();
    for (loader, message) in
        [(&*hello, "is no UEFI loader: it is no 64-bit PE file"), ("/missing", "can't read")]
    {
        let arguments = ["make", &hello, "--output", &output, "--uefi-loader", loader];
        let verdict = tool(&context.artifacts, arguments)?;
        verdict.status(1)?.complains(["disk-image: ", message])?;
        if verdict.stderr().lines().count() != 1 {
            return Err(verdict.failure("one line was expected on stderr"));
        }
    }
    Ok(())
}
