//! Disk images of every format: that each boots, and what is said of those that must not be trusted.

use crate::context::{Alone, Context, OnLane, Outcome, trial};
use guest_interface::status::KernelStatus;
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use libtest_mimic::Trial;
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use system_tests::disk::{LANES, boot_drive, qemu_status, tool, tool_with};
use system_tests::lane::Lane;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(60);
const MEMORY: &str = "64M";

/// The options of QEMU's `-drive` for a CD.
const AS_CD: &str = "format=raw,media=cdrom";

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let plain: [OnLane; 7] = [
        ("disk/format/vhd_boots", |context, lane| boots(context, lane, "vhd", "format=vpc,snapshot=on")),
        ("disk/format/iso_boots_as_cd", |context, lane| boots(context, lane, "iso", AS_CD)),
        ("disk/format/iso_boots_as_disk", |context, lane| {
            boots(context, lane, "iso", "format=raw,snapshot=on")
        }),
        ("disk/format/oci_has_a_disk_that_boots", oci_has_a_disk_that_boots),
        ("disk/format/longest_command_line_on_a_cd", longest_command_line_on_a_cd),
        ("disk/format/large_appliance_on_a_cd", large_appliance_on_a_cd),
        ("disk/format/spoilt_cd", spoilt_cd),
    ];
    // These need qemu-img.
    let converted: [OnLane; 2] = [
        ("disk/format/qcow2_boots", |context, lane| {
            boots(context, lane, "qcow2", "format=qcow2,snapshot=on")
        }),
        ("disk/format/vmdk_boots", |context, lane| boots(context, lane, "vmdk", "format=vmdk,snapshot=on")),
    ];
    let alone: [Alone; 5] = [
        ("disk/format/damaged_containers", damaged_containers),
        ("disk/format/without_qemu_img", without_qemu_img),
        ("disk/format/failing_qemu_img", failing_qemu_img),
        ("disk/format/refused", refused),
        ("disk/format/libvirt", libvirt),
    ];
    let mut trials = Vec::new();
    for lane in LANES {
        let on_lane = |(name, test): OnLane| context.trial(lane, name, move || test(context, lane));
        trials.extend(plain.map(on_lane));
        let lacks_tool = context.lanes.missing(lane).is_some() || context.lanes.lacks_qemu_img(lane);
        trials.extend(converted.map(|test| on_lane(test).with_ignored_flag(lacks_tool)));
    }
    let lacks_tool = LANES.into_iter().all(|lane| context.lanes.lacks_qemu_img(lane));
    let foreign = trial("disk/format/foreign_containers", || foreign_containers(context));
    trials.push(foreign.with_ignored_flag(lacks_tool));
    trials.extend(alone.map(|(name, test)| trial(name, move || test(context))));
    trials
}

/// An image of `hello` in a folder of its own.
struct Image {
    path: PathBuf,
    folder: TempDir,
}

impl Image {
    fn make(context: &Context, format: &str, options: &[&str]) -> Result<Self, Failure> {
        Self::of(context, &context.artifacts.hello, format, options)
    }

    fn of(context: &Context, appliance: &Path, format: &str, options: &[&str]) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::start)?;
        let path = folder.path().join("image, 1");
        make(context, appliance, &path, format, options, &[])?.status(0)?;
        Ok(Self { path, folder })
    }

    /// One with an argument, of which the same bytes were made before.
    fn make_twice(context: &Context, format: &str) -> Result<Self, Failure> {
        let make = || Self::make(context, format, &["--args", "one"]);
        let image = make()?;
        if make()?.bytes()? != image.bytes()? {
            return Err(Failure::new("the same appliance and arguments give different bytes"));
        }
        Ok(image)
    }

    fn bytes(&self) -> Result<Vec<u8>, Failure> {
        fs::read(&self.path).map_err(Failure::start)
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        fs::write(&self.path, bytes).map_err(Failure::start)
    }

    /// Inspects the image with these bytes in place of its own, and wants to be told this in one line.
    fn is_refused(&self, context: &Context, bytes: &[u8], message: &str) -> Outcome {
        self.write(bytes)?;
        refuses(&inspect(context, &self.path)?, &[message])
    }
}

/// Wants one line that has all of these texts, and a status.
fn refuses(verdict: &Verdict, texts: &[&str]) -> Outcome {
    verdict.status(1)?.complains(["disk-image: "])?.complains(texts.iter().copied())?;
    if verdict.stderr().lines().count() != 1 {
        return Err(verdict.failure("one line was expected on stderr"));
    }
    Ok(())
}

fn make(
    context: &Context,
    appliance: &Path,
    output: &Path,
    format: &str,
    options: &[&str],
    environment: &[(&str, &Path)],
) -> Result<Verdict, Failure> {
    let arguments = ["make".as_ref(), appliance.as_os_str(), "--output".as_ref(), output.as_os_str()];
    let options = ["--format", format].into_iter().chain(options.iter().copied());
    tool_with(&context.artifacts, arguments.into_iter().chain(options.map(AsRef::as_ref)), environment)
}

fn inspect(context: &Context, image: &Path) -> Result<Verdict, Failure> {
    tool(&context.artifacts, ["inspect".as_ref(), image.as_os_str()])
}

fn boots(context: &Context, lane: Lane, format: &str, options: &str) -> Outcome {
    let image = Image::make_twice(context, format)?;
    let format = format!("format        {format}, {} bytes\n", image.bytes()?.len());
    let expected = [&*format, "kernel        hello, ", "command line  log=info -- one\n"];
    inspect(context, &image.path)?.status(0)?.prints(expected)?;
    greets(&boot_drive(lane, &image.path, options, MEMORY, LIMIT)?)
}

fn greets(verdict: &Verdict) -> Outcome {
    verdict.status(qemu_status(0))?.prints(["hello from Freehold", "argument: \"one\"\n"])?;
    Ok(())
}

fn oci_has_a_disk_that_boots(context: &Context, lane: Lane) -> Outcome {
    let image = Image::make_twice(context, "oci")?;
    inspect(context, &image.path)?.status(0)?.prints(["format        oci, ", "kernel        hello, "])?;
    let layer = largest_file(&image.bytes()?)?;
    let disk = image.folder.path().join("disk");
    fs::write(&disk, largest_file(&layer)?).map_err(Failure::start)?;
    greets(&boot_drive(lane, &disk, "format=raw,snapshot=on", MEMORY, LIMIT)?)
}

/// Of an OCI archive it is the layer, and of that the disk.
fn largest_file(archive: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut largest = Vec::new();
    for entry in tar::Archive::new(archive).entries().map_err(Failure::start)? {
        let mut content = Vec::new();
        entry.and_then(|mut entry| entry.read_to_end(&mut content)).map_err(Failure::start)?;
        if content.len() > largest.len() {
            largest = content;
        }
    }
    Ok(largest)
}

fn longest_command_line_on_a_cd(context: &Context, lane: Lane) -> Outcome {
    let argument = "x".repeat(guest_interface::layout::COMMAND_LINE_LEN_MAX - "log=info -- \0".len());
    let image = Image::make(context, "iso", &["--args", &argument])?;
    let verdict = boot_drive(lane, &image.path, AS_CD, MEMORY, LIMIT)?;
    verdict.status(qemu_status(0))?.prints([&*format!("argument: {argument:?}\n")])?;
    Ok(())
}

fn large_appliance_on_a_cd(context: &Context, lane: Lane) -> Outcome {
    let image = Image::of(context, &context.artifacts.memory_stress, "iso", &["--args", "--size 4M"])?;
    let verdict = boot_drive(lane, &image.path, AS_CD, MEMORY, LIMIT)?;
    verdict.status(qemu_status(0))?.prints(["memory-stress: PASSED: 4 MiB"])?;
    Ok(())
}

/// The loader says of a CD what it says of a disk.
fn spoilt_cd(context: &Context, lane: Lane) -> Outcome {
    let image = Image::make(context, "iso", &[])?;
    let bytes = image.bytes()?;
    let header_at = HEADER_BLOCK as usize * BLOCK_LEN;
    let header = bytes[header_at..].first_chunk().and_then(|block| Header::decode(block).ok());
    let header = header.ok_or_else(|| Failure::new("the image has no header"))?;
    let last =
        header.segments.last().map_or(0, |it| it.block as usize * BLOCK_LEN + it.disk_len as usize - 1);
    for (place, message) in [
        (header_at, "no image header"),
        (header_at + 20, "header damaged"),
        (header_at + BLOCK_LEN + 700, "loader damaged"),
        (header.command_line_block as usize * BLOCK_LEN, "command line damaged; write the image again"),
        (last, "kernel damaged; write the image again"),
    ] {
        let mut spoilt = bytes.clone();
        spoilt[place] ^= 1;
        image.write(&spoilt)?;
        loader_says(lane, &image.path, message)?;
    }
    // SeaBIOS does not start a CD of less than that, of which little else is missing.
    image.write(&bytes[..header.kernel_block as usize * BLOCK_LEN + (64 << 10)])?;
    loader_says(lane, &image.path, "disk read failed")
}

fn loader_says(lane: Lane, cd: &Path, message: &str) -> Outcome {
    let verdict = boot_drive(lane, cd, AS_CD, MEMORY, LIMIT)?;
    verdict.status(qemu_status(KernelStatus::BootFailure.code()))?;
    let expected = format!("Freehold loader: {message}\r\n");
    if verdict.stdout() != expected {
        return Err(verdict.failure(format!("{expected:?} was expected, and nothing else")));
    }
    Ok(())
}

/// Of the formats that need no tool; where there is one, [`foreign_containers`] does the same to the others.
fn damaged_containers(context: &Context) -> Outcome {
    for (format, damage) in [
        ("vhd", "is damaged: the checksum of the VHD's footer"),
        ("iso", "is damaged: its ISO 9660 file system or boot catalog"),
        ("oci", "is damaged: the SHA-256 of a part of it"),
    ] {
        let image = Image::make(context, format, &[])?;
        let bytes = image.bytes()?;
        // In the middle a disk is cut, in which the kernel lies; the VHD's footer, the catalog, and a blob are spoilt.
        let place = match format {
            "vhd" => bytes.len() - 400,
            "iso" => 19 * 2048 + 40,
            _ => bytes.len() / 2,
        };
        let cut = &bytes[..(100 << 10)];
        let is_cut =
            if format == "oci" { "its archive can't be read to the end" } else { "is truncated: it has " };
        image.is_refused(context, cut, is_cut)?;
        let mut spoilt = bytes.clone();
        spoilt[place] ^= 1;
        image.is_refused(context, &spoilt, damage)?;
    }
    // The disk in a whole container.
    let image = Image::make(context, "vhd", &[])?;
    let mut bytes = image.bytes()?;
    bytes[HEADER_BLOCK as usize * BLOCK_LEN + 100] ^= 1;
    image.is_refused(context, &bytes, "is damaged: the header's checksum is another")
}

fn foreign_containers(context: &Context) -> Outcome {
    for format in ["qcow2", "vmdk"] {
        let image = Image::make(context, format, &[])?;
        let bytes = image.bytes()?;
        image.is_refused(context, &bytes[..20], "its end is missing")?;
        image.is_refused(context, &bytes[..bytes.len() / 2], "'")?;
        let magic = [b"FREEHOLD".as_slice(), &1u32.to_le_bytes()].concat();
        let header = bytes.windows(magic.len()).position(|window| window == magic);
        let header = header.ok_or_else(|| Failure::new("the disk's header is not in the image"))?;
        let mut spoilt = bytes.clone();
        spoilt[header + 100] ^= 1;
        image.is_refused(context, &spoilt, "is damaged: the header's checksum is another")?;
    }
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("image");
    let foreign = "is not a disk image of Freehold: ";
    for (options, message) in [
        (&["-f", "raw"][..], "no header in block 40"),
        (&["-f", "qcow2"], "no header in block 40"),
        (&["-f", "vmdk"], "no header in block 40"),
        (&["-f", "vmdk", "-o", "subformat=monolithicFlat"], "it is too short"),
        (&["-f", "vpc", "-o", "subformat=fixed"], "no header in block 40"),
        (&["-f", "vpc", "-o", "subformat=dynamic"], "it is a VHD that is not fixed"),
        (&["-f", "qcow2", "-u", "-b", "/etc/hostname", "-F", "raw"], "part of it is in another file"),
    ] {
        let mut command = Command::new("qemu-img");
        let made = command.args(["create", "-q"]).args(options).arg(&path).arg("8M").status();
        if !made.map_err(Failure::start)?.success() {
            return Err(Failure::new(format!("{command:?} failed")));
        }
        refuses(&inspect(context, &path)?, &[foreign, message])?;
    }
    // A whole VMDK that a parent is laid under, which has an image.
    let image = Image::make(context, "vmdk", &[])?;
    let mut overlay = Command::new("qemu-img");
    overlay.args(["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b"]).arg(&image.path).arg(&path);
    if !overlay.status().map_err(Failure::start)?.success() {
        return Err(Failure::new(format!("{overlay:?} failed")));
    }
    refuses(&inspect(context, &path)?, &[foreign, "part of it is in another file"])?;
    Ok(())
}

/// Formats that need it say so, and which package has it; the others don't.
fn without_qemu_img(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let environment = [("PATH", folder.path())];
    let hello = &context.artifacts.hello;
    let output = folder.path().join("output");
    let package = "qemu-img is missing, and needed for this format; install it: apt-get install qemu-utils";
    for format in ["qcow2", "vmdk"] {
        let verdict = make(context, hello, &output, format, &[], &environment)?;
        refuses(&verdict, &["can't make \"", package])?;
        if output.exists() {
            return Err(verdict.failure("an image was written"));
        }
    }
    for format in ["raw", "vhd", "iso", "oci"] {
        make(context, hello, &output, format, &["--force"], &environment)?.status(0)?;
    }
    let mut qcow2 = [0; 104];
    qcow2[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    fs::write(&output, qcow2).map_err(Failure::start)?;
    let verdict = tool_with(&context.artifacts, ["inspect".as_ref(), output.as_os_str()], &environment)?;
    refuses(&verdict, &["\" can't be read: ", package])
}

/// A tool that was interrupted, or had no room, leaves nothing: neither a part of an image nor a temporary file.
fn failing_qemu_img(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let place = |name: &str| folder.path().join(name);
    let (bin, temporary, images) = (place("bin"), place("temporary"), place("images"));
    for folder in [&bin, &temporary, &images] {
        fs::create_dir(folder).map_err(Failure::start)?;
    }
    let hello = &context.artifacts.hello;
    let environment = [("PATH", &*bin), ("TMPDIR", &*temporary)];
    for (script, message) in [
        ("printf half > /dev/stdout; kill -INT $$", "qemu-img failed: signal: 2 (SIGINT)"),
        ("echo 'qemu-img: No space left on device' >&2; exit 1", "failed: No space left on device"),
        ("printf 'no vmdk'", "without a description that can be read"),
    ] {
        let program = bin.join("qemu-img");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).map_err(Failure::start)?;
        fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(Failure::start)?;
        let verdict = make(context, hello, &images.join("image"), "vmdk", &[], &environment)?;
        refuses(&verdict, &["can't make \"", message])?;
        for folder in [&temporary, &images] {
            if fs::read_dir(folder).map_err(Failure::start)?.next().is_some() {
                return Err(verdict.failure(format!("something is left in {}", folder.display())));
            }
        }
    }
    let verdict = make(context, hello, &images.join("image"), "vmdk", &[], &[("TMPDIR", &place("none"))])?;
    refuses(&verdict, &["no temporary file for qemu-img in '"])?;
    Ok(())
}

fn refused(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = |name: &str| folder.path().join(name);
    let exists = path("exists");
    fs::write(&exists, "kept").map_err(Failure::start)?;
    let hello = &context.artifacts.hello;
    for format in ["vhd", "iso", "oci"] {
        let verdict = make(context, hello, &exists, format, &[], &[])?;
        refuses(&verdict, &["exists; give --force"])?;
        let verdict = make(context, hello, folder.path(), format, &["--force"], &[])?;
        refuses(&verdict, &["is no regular file"])?;
    }
    let verdict = make(context, hello, &path("a\"b.vmdk"), "vmdk", &[], &[])?;
    refuses(&verdict, &["a VMDK names itself"])?;
    let verdict = make(context, hello, &path("output"), "VHD", &[], &[])?;
    refuses(&verdict, &["there are: raw, qcow2, vhd, vmdk, iso, oci"])?;
    let left = fs::read_dir(folder.path()).map_err(Failure::start)?.count();
    if left != 1 || fs::read(&exists).map_err(Failure::start)? != b"kept" {
        return Err(Failure::new("a refused image was written"));
    }
    Ok(())
}

fn libvirt(context: &Context) -> Outcome {
    let domain = |image: &Image, options: &[&str]| {
        let arguments = ["libvirt".as_ref(), image.path.as_os_str()];
        tool(&context.artifacts, arguments.into_iter().chain(options.iter().map(AsRef::as_ref)))
    };
    let image = Image::make(context, "iso", &[])?;
    let path = image.path.display().to_string();
    domain(&image, &["--memory", "1G", "--name", "one", "--command-line", "log=debug -- <&"])?
        .status(0)?
        .prints([
            "<name>one</name>",
            "<memory unit='MiB'>1024</memory>",
            "<entry name='opt/freehold/command-line'>log=debug -- &lt;&amp;</entry>",
            "device='cdrom'",
            &*path,
        ])?;
    let verdict = domain(&image, &["--firmware", "efi"])?;
    refuses(&verdict, &["has no EFI system partition"])?;
    let verdict = domain(&Image::make(context, "oci", &[])?, &[])?;
    refuses(&verdict, &["is a container image"])?;
    image.write(b"foreign")?;
    refuses(&domain(&image, &[])?, &["is not a disk image of Freehold"])?;
    Ok(())
}
