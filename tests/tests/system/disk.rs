//! Disk images: what boots from them, and what the loader says of those that must not.

use crate::context::{Context, OnLane, Outcome, trial};
use crate::hello;
use guest_interface::status::KernelStatus;
use image_header::{self as header, BLOCK_LEN, HEADER_BLOCK, Header, Segment};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use system_tests::disk::{LANES, boot, qemu_status, tool};
use system_tests::lane::Lane;
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const MEMORY: &str = "64M";
pub(crate) const HEADER_AT: usize = HEADER_BLOCK as usize * BLOCK_LEN;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 12] = [
        ("disk/hello_with_its_arguments", hello_with_its_arguments),
        ("disk/longest_command_line", longest_command_line),
        ("disk/all_ram_above_4_gib", all_ram_above_4_gib),
        ("disk/memory_behind_a_segment_is_cleared", memory_behind_a_segment_is_cleared),
        ("disk/memory_stress_passes", memory_stress_passes),
        ("disk/status_of_the_application", status_of_the_application),
        ("disk/spoilt_kernel", spoilt_kernel),
        ("disk/spoilt_command_line", spoilt_command_line),
        ("disk/spoilt_header", spoilt_header),
        ("disk/header_that_cannot_be", header_that_cannot_be),
        ("disk/spoilt_second_stage", spoilt_second_stage),
        ("disk/no_room_in_memory", no_room_in_memory),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = LANES.into_iter().flat_map(on_lane).collect();
    trials.push(context.trial(Lane::QemuPc, "disk/truncated", || truncated(context)));
    trials.push(trial("disk/same_input_same_bytes", || same_input_same_bytes(context)));
    trials.push(trial("disk/inspect", || inspect(context)));
    trials.push(trial("disk/refused", || refused(context)));
    trials
}

/// A disk image in a folder of its own.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

impl Disk {
    pub(crate) fn make(context: &Context, appliance: &Path, options: &[&str]) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::start)?;
        let path = folder.path().join("disk,raw");
        make(context, appliance, &path, options)?.status(0)?;
        Ok(Self { path, _folder: folder })
    }

    pub(crate) fn hello(context: &Context) -> Result<Self, Failure> {
        Self::make(context, &context.artifacts.hello, &[])
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Failure> {
        fs::read(&self.path).map_err(Failure::start)
    }

    pub(crate) fn header(&self) -> Result<Header, Failure> {
        let bytes = self.bytes()?;
        let block = bytes[HEADER_AT..].first_chunk();
        let header = block.and_then(|block| Header::decode(block).ok());
        header.ok_or_else(|| Failure::new("the image has no header"))
    }

    /// Changes the image's bytes.
    pub(crate) fn spoil(&self, change: impl FnOnce(&mut Vec<u8>)) -> Result<&Self, Failure> {
        let mut bytes = self.bytes()?;
        change(&mut bytes);
        fs::write(&self.path, bytes).map_err(Failure::start)?;
        Ok(self)
    }

    /// Writes a header whose checksum is right.
    pub(crate) fn replace_header(&self, header: &Header) -> Result<&Self, Failure> {
        let block = header.encode();
        self.spoil(|bytes| bytes[HEADER_AT..HEADER_AT + BLOCK_LEN].copy_from_slice(&block))
    }

    pub(crate) fn boot(&self, lane: Lane) -> Result<Verdict, Failure> {
        boot(lane, &self.path, MEMORY, LIMIT)
    }

    /// Boots, and wants the loader to say this, and the kernel to say nothing.
    fn is_refused(&self, lane: Lane, memory: &str, message: &str) -> Outcome {
        let verdict = boot(lane, &self.path, memory, LIMIT)?;
        verdict.status(qemu_status(KernelStatus::BootFailure.code()))?;
        let expected = format!("Freehold loader: {message}\r\n");
        if verdict.stdout() != expected {
            return Err(verdict.failure(format!("{expected:?} was expected, and nothing else")));
        }
        Ok(())
    }
}

fn make(context: &Context, appliance: &Path, output: &Path, options: &[&str]) -> Result<Verdict, Failure> {
    let arguments = ["make".as_ref(), appliance.as_os_str(), "--output".as_ref(), output.as_os_str()];
    tool(&context.artifacts, arguments.into_iter().chain(options.iter().map(AsRef::as_ref)))
}

fn hello_with_its_arguments(context: &Context, lane: Lane) -> Outcome {
    let arguments = r#"--args=one "two words" "" a"quo\te"#;
    let disk = Disk::make(context, &context.artifacts.hello, &[arguments, "--log", "debug"])?;
    let verdict = disk.boot(lane)?;
    verdict.status(qemu_status(0))?.prints([
        "hello from Freehold, running at ring 0\n",
        "argument: \"one\"\nargument: \"two words\"\nargument: \"\"\nargument: \"aquote\"\n",
        // At log level debug; the kernel finds the tables by itself.
        "ACPI: 1 processors",
    ])?;
    Ok(())
}

fn longest_command_line(context: &Context, lane: Lane) -> Outcome {
    let argument = "x".repeat(guest_interface::layout::COMMAND_LINE_LEN_MAX - "log=info -- \0".len());
    let disk = Disk::make(context, &context.artifacts.hello, &["--args", &argument])?;
    let verdict = disk.boot(lane)?;
    verdict.status(qemu_status(0))?.prints([&*format!("argument: {argument:?}\n")])?;
    Ok(())
}

fn all_ram_above_4_gib(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(lane, &Disk::hello(context)?.path, "5G", LIMIT)?;
    hello::has_ram(verdict.status(qemu_status(0))?, 5 << 20)
}

/// One more segment puts bytes of the first where another has nothing on the disk; its checksum is that of what has to be
/// there in the end.
fn memory_behind_a_segment_is_cleared(context: &Context, lane: Lane) -> Outcome {
    const LEN: u32 = 4096;
    const CRC_OF_ZEROS: u32 = 0xc71c_0011;
    let disk = Disk::hello(context)?;
    let mut header = disk.header()?;
    let cleared = header.segments.iter().find(|it| it.memory_len - it.disk_len >= LEN);
    let cleared = cleared.ok_or_else(|| Failure::new("no segment of hello has cleared memory"))?;
    let dirt = Segment {
        address: cleared.address + cleared.memory_len - LEN,
        disk_len: LEN,
        memory_len: LEN,
        crc: CRC_OF_ZEROS,
        ..header.segments[0]
    };
    header.segments.insert(0, dirt);
    disk.replace_header(&header)?.boot(lane)?.status(qemu_status(0))?;
    // Without the other segment's clearing the bytes stay, and are not what the checksum says.
    header.segments.rotate_left(1);
    disk.replace_header(&header)?.is_refused(lane, MEMORY, "kernel damaged; write the image again")
}

fn memory_stress_passes(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.memory_stress, &["--args", "--size 4M"])?;
    let verdict = disk.boot(lane)?;
    verdict
        .status(qemu_status(0))?
        .prints(["memory-stress: PASSED: 4 MiB, 10 method runs", " 0 wrong words"])?;
    Ok(())
}

fn status_of_the_application(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.memory_stress, &["--args", "--no-such-option"])?;
    disk.boot(lane)?.status(qemu_status(2))?;
    Ok(())
}

/// The last byte of each segment, and one in the middle of the first.
fn spoilt_kernel(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    let start = |block: u32| block as usize * BLOCK_LEN;
    let segments = disk.header()?.segments;
    let mut places: Vec<usize> =
        segments.iter().map(|it| start(it.block) + it.disk_len as usize - 1).collect();
    places.push(start(segments[0].block) + segments[0].disk_len as usize / 2);
    for place in places {
        disk.spoil(|bytes| bytes[place] ^= 1)?;
        disk.is_refused(lane, MEMORY, "kernel damaged; write the image again")?;
        disk.spoil(|bytes| bytes[place] ^= 1)?;
    }
    disk.boot(lane)?.status(qemu_status(0))?;
    Ok(())
}

fn spoilt_command_line(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    let place = disk.header()?.command_line_block as usize * BLOCK_LEN;
    disk.spoil(|bytes| bytes[place + 1] ^= 1)?;
    disk.is_refused(lane, MEMORY, "command line damaged; write the image again")
}

fn spoilt_header(context: &Context, lane: Lane) -> Outcome {
    type Change = fn(&mut [u8; BLOCK_LEN]);
    let changes: [(Change, &str); 4] = [
        (|header| header[0] = b'G', "no image header"),
        (|header| header[20] ^= 1, "header damaged"),
        (|header| header[BLOCK_LEN - 1] ^= 0x80, "header damaged"),
        (
            |header| {
                header[8] = 2;
                header::seal(header);
            },
            "unknown version",
        ),
    ];
    for (change, message) in changes {
        let disk = Disk::hello(context)?;
        disk.spoil(|bytes| {
            if let Some(header) = bytes[HEADER_AT..].first_chunk_mut() {
                change(header);
            }
        })?;
        disk.is_refused(lane, MEMORY, message)?;
    }
    Ok(())
}

/// Headers whose checksum is right, and that say what can't be.
fn header_that_cannot_be(context: &Context, lane: Lane) -> Outcome {
    type Change = fn(&mut Header);
    let changes: [Change; 7] = [
        |header| header.segments.clear(),
        |header| header.command_line_len = 0,
        |header| header.command_line_len = 4097,
        |header| header.segments[1].memory_len = header.segments[1].disk_len - 1,
        |header| header.entry = 0,
        |header| header.entry = header.segments[0].address - 1,
        |header| header.entry = header.segments[3].address + header.segments[3].disk_len,
    ];
    for change in changes {
        let disk = Disk::hello(context)?;
        let mut header = disk.header()?;
        change(&mut header);
        disk.replace_header(&header)?.is_refused(lane, MEMORY, "header damaged")?;
    }
    Ok(())
}

fn spoilt_second_stage(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    disk.spoil(|bytes| bytes[HEADER_AT + BLOCK_LEN + 700] ^= 4)?;
    disk.is_refused(lane, MEMORY, "loader damaged")?;
    // A header that says there is none.
    let disk = Disk::hello(context)?;
    let header = Header { stage_blocks: 0, stage_crc: 0, ..disk.header()? };
    disk.replace_header(&header)?.is_refused(lane, MEMORY, "loader damaged")
}

fn no_room_in_memory(context: &Context, lane: Lane) -> Outcome {
    let message = "no RAM where the image belongs; give the machine more memory";
    Disk::hello(context)?.is_refused(lane, "2M", message)?;
    // Segments that go where they must not.
    for address in [0, 0x7c00, 0xf_f000, 0xc000_0000, 0xfee0_0000, u32::MAX] {
        let disk = Disk::hello(context)?;
        let mut header = disk.header()?;
        header.segments[1].address = address;
        disk.replace_header(&header)?.is_refused(lane, MEMORY, message)?;
    }
    Ok(())
}

/// On pc only: SeaBIOS itself refuses an AHCI disk of less than a cylinder.
fn truncated(context: &Context) -> Outcome {
    let disk = Disk::hello(context)?;
    let header = disk.header()?;
    for block in [header.kernel_block + 9, header.command_line_block, HEADER_BLOCK + 1, HEADER_BLOCK] {
        let disk = Disk::hello(context)?;
        disk.spoil(|bytes| bytes.truncate(block as usize * BLOCK_LEN))?;
        disk.is_refused(Lane::QemuPc, MEMORY, "disk read failed")?;
    }
    Ok(())
}

fn same_input_same_bytes(context: &Context) -> Outcome {
    let make = |options: &[&str]| Disk::make(context, &context.artifacts.hello, options)?.bytes();
    let image = make(&[])?;
    if make(&[])? != image {
        return Err(Failure::new("the same appliance and arguments give different bytes"));
    }
    let other = make(&["--args", "x"])?;
    // GUIDs of disk and partition (UEFI specification 5.3.2 and 5.3.3).
    for guid in [BLOCK_LEN + 56..BLOCK_LEN + 72, 2 * BLOCK_LEN + 16..2 * BLOCK_LEN + 32] {
        if image[guid.clone()] == other[guid.clone()] || image[guid.clone()] == [0; 16] {
            return Err(Failure::new(format!("the GUID at {guid:?} does not follow from the content")));
        }
    }
    if image.len() >= 1 << 20 {
        return Err(Failure::new(format!("an image of hello has {} bytes", image.len())));
    }
    Ok(())
}

/// What is refused is said in one line, and nothing is written.
fn refused(context: &Context) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = |name: &str| folder.path().join(name);
    let (text, exists, output) = (path("text"), path("exists"), path("output"));
    fs::write(&text, "no appliance".repeat(20)).map_err(Failure::start)?;
    fs::write(&exists, "kept").map_err(Failure::start)?;
    let hello = &context.artifacts.hello;
    let long = "x".repeat(4096);
    let not_folder = text.join("output");
    let full = Path::new("/dev/full/output");
    let cases: [(&Path, &Path, &[&str], &str); 8] = [
        (&text, &output, &[], "is not an appliance: it is no 64-bit ELF file"),
        (&context.artifacts.vmm_stub, &output, &[], "is not an appliance: it is no static executable"),
        (&path("missing"), &output, &[], "can't read"),
        (hello, &exists, &[], "exists; give --force to replace it"),
        (hello, &not_folder, &[], "can't write"),
        (hello, full, &[], "can't write"),
        (hello, &output, &["--format", "vdi"], "format 'vdi' is not known; there are: raw, qcow2, vhd,"),
        (hello, &output, &["--args", &long], "bytes, and the kernel takes 4096"),
    ];
    for (appliance, output, options, message) in cases {
        let verdict = make(context, appliance, output, options)?;
        verdict.status(1)?.complains(["disk-image: ", message])?;
        if verdict.stderr().lines().count() != 1 {
            return Err(verdict.failure("one line was expected on stderr"));
        }
    }
    if output.exists() || fs::read(&exists).map_err(Failure::start)? != b"kept" {
        return Err(Failure::new("a refused image was written"));
    }
    make(context, hello, &exists, &["--force"])?.status(0)?;
    Ok(())
}

fn inspect(context: &Context) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args", "one"])?;
    let inspect = || tool(&context.artifacts, ["inspect".as_ref(), disk.path.as_os_str()]);
    inspect()?.status(0)?.prints(["kernel        hello, ", "command line  log=info -- one\n"])?;
    let kernel = disk.header()?.kernel_block as usize * BLOCK_LEN;
    disk.spoil(|bytes| bytes[kernel] ^= 1)?;
    inspect()?.status(1)?.complains(["disk-image: ", "is damaged: the kernel's SHA-256 is another"])?;
    disk.spoil(|bytes| bytes.truncate(kernel))?;
    inspect()?.status(1)?.complains(["disk-image: ", "is truncated: it has "])?;
    Ok(())
}
