//! The ROM: what boots from it, and what it says of what must not.

use crate::context::{Context, OnLane, Outcome};
use crate::disk::{Disk, HEADER_AT};
use crate::hello;
use guest_interface::fw_cfg::{FILE_COMMAND_LINE, FILE_DISK, FILE_HOST_INFORMATION};
use guest_interface::host_information::{self, HostInformation};
use guest_interface::layout::COMMAND_LINE_LEN_MAX;
use guest_interface::ports;
use guest_interface::status::KernelStatus;
use image_header::{self as header, BLOCK_LEN, HEADER_BLOCK, Header};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;
use std::time::Duration;
use system_tests::disk::qemu_status;
use system_tests::empty_guest;
use system_tests::lane::Lane;
use system_tests::qemu::Qemu;
use system_tests::rom::{self, LANES};
use system_tests::verdict::Failure;

const LIMIT: Duration = Duration::from_secs(60);
const MEMORY: &str = "64M";
const NOTHING: &str = "nothing to boot; give a kernel (-kernel) or a disk with a Freehold image";
const NO_RAM: &str = "no RAM where the image belongs; give the machine more memory";
const KERNEL_DAMAGED: &str = "kernel damaged; write the image again";

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let everywhere: [OnLane; 16] = [
        ("rom/state_at_the_entry", state_at_the_entry),
        ("rom/kernel_with_its_arguments", kernel_with_its_arguments),
        ("rom/all_ram_above_4_gib", all_ram_above_4_gib),
        ("rom/longest_command_line", longest_command_line),
        ("rom/host_information", host_information),
        ("rom/kernel_without_room", kernel_without_room),
        ("rom/kernel_of_another_protocol", kernel_of_another_protocol),
        ("rom/status_of_the_application", status_of_the_application),
        ("rom/image_with_its_arguments", image_with_its_arguments),
        ("rom/command_line_given_by_name", command_line_given_by_name),
        ("rom/spoilt_image", spoilt_image),
        ("rom/header_that_cannot_be", header_that_cannot_be),
        ("rom/image_without_room", image_without_room),
        ("rom/truncated_or_foreign", truncated_or_foreign),
        ("rom/nothing_to_boot", nothing_to_boot),
        ("rom/no_dma", no_dma),
    ];
    let with_ide: [OnLane; 4] = [
        ("rom/ide_disk", ide_disk),
        ("rom/ide_disk_spoilt", ide_disk_spoilt),
        ("rom/ide_disk_that_fails", ide_disk_that_fails),
        ("rom/ide_drive_that_is_no_disk", ide_drive_that_is_no_disk),
    ];
    let on_lane =
        |lane| everywhere.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = LANES.into_iter().flat_map(on_lane).collect();
    let lane = Lane::QemuPc;
    trials.extend(with_ide.map(|(name, test)| context.trial(lane, name, move || test(context, lane))));
    trials
}

fn machine(context: &Context, lane: Lane) -> Result<Qemu, Failure> {
    rom::machine(&context.artifacts, lane, MEMORY)
}

/// A machine that has an image as a file of fw_cfg.
fn with_image(context: &Context, lane: Lane, disk: &Disk) -> Result<Qemu, Failure> {
    Ok(machine(context, lane)?.file(FILE_DISK, &disk.path))
}

fn with_hello(context: &Context, lane: Lane) -> Result<Qemu, Failure> {
    Ok(machine(context, lane)?.kernel(&context.artifacts.hello))
}

/// Boots, and wants the ROM to say this, and nothing else to be said.
fn is_refused(machine: Qemu, message: &str) -> Outcome {
    let verdict = machine.end(LIMIT)?;
    verdict.status(qemu_status(KernelStatus::BootFailure.code()))?;
    let expected = format!("Freehold ROM: {message}\r\n");
    if verdict.stdout() != expected {
        return Err(verdict.failure(format!("{expected:?} was expected, and nothing else")));
    }
    Ok(())
}

/// The processor's state that PVH demands, and what the ROM leaves besides: a kernel whose status is the number of the first
/// check that fails.
fn state_at_the_entry(context: &Context, lane: Lane) -> Outcome {
    // RAM below and above what a PC has below 1 MiB; pc and q35 reserve addresses for AMD's HyperTransport.
    let ranges = if lane == Lane::QemuMicrovm { 2 } else { 3 };
    let checks: [&[u8]; 10] = [
        &[0x0f, 0x20, 0xc0, 0x83, 0xf8, 0x11], // mov eax, cr0; cmp eax, 0x11
        &[0x0f, 0x20, 0xe0, 0x85, 0xc0],       // mov eax, cr4; test eax, eax
        &[0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x09, 0xd0], // mov ecx, EFER; rdmsr; or eax, edx
        &[0x8c, 0xc9, 0x0f, 0x03, 0xc1, 0x83, 0xf8, 0xff], // mov ecx, cs; lsl eax, ecx; cmp eax, -1
        &[0x8c, 0xd9, 0x0f, 0x03, 0xc1, 0x83, 0xf8, 0xff], // ds
        &[0x8c, 0xc1, 0x0f, 0x03, 0xc1, 0x83, 0xf8, 0xff], // es
        &[0x8c, 0xd1, 0x0f, 0x03, 0xc1, 0x83, 0xf8, 0xff], // ss
        &[0x81, 0x3b, 0x78, 0xc5, 0x6e, 0x33], // cmp dword [ebx], magic
        &[0xbc, 0, 0x60, 0, 0, 0x9c, 0x58, 0xa9, 0, 0x03, 2, 0], // mov esp, 0x6000; pushf; pop eax; test VM, IF, TF
        &[0x8b, 0x43, 0x30, 0x83, 0xf8, ranges], // mov eax, [ebx + memory map's length]; cmp eax, ranges
    ];
    // jmp over; end: mov eax, edi; out 0xf4, eax; jmp $
    let mut code = vec![0xeb, 6, 0x89, 0xf8, 0xe7, ports::EXIT as u8, 0xeb, 0xfe];
    for (number, check) in (1_u8..).zip(checks) {
        code.extend([0xbf, number, 0, 0, 0]); // mov edi, number
        code.extend(check);
        let behind = code.len() as i32 + 6;
        code.extend([0x0f, 0x85]); // jne end
        code.extend((2 - behind).to_le_bytes());
    }
    code.extend([0x31, 0xff]); // xor edi, edi
    let behind = code.len() as i32 + 5;
    code.push(0xe9); // jmp end
    code.extend((2 - behind).to_le_bytes());

    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("kernel");
    fs::write(&path, empty_guest::with_code(&code)).map_err(Failure::start)?;
    machine(context, lane)?.kernel(&path).end(LIMIT)?.status(qemu_status(0))?;
    Ok(())
}

fn kernel_with_its_arguments(context: &Context, lane: Lane) -> Outcome {
    let line = r#"log=debug -- one "two words" "" a"quo\te"#;
    let verdict = with_hello(context, lane)?.option("-append", line).end(LIMIT)?;
    verdict.status(qemu_status(0))?.prints([
        "hello from Freehold, running at ring 0\n",
        "argument: \"one\"\nargument: \"two words\"\nargument: \"\"\nargument: \"aquote\"\n",
        // Less the page at 0, and what QEMU's own map calls RAM below 1 MiB; a kernel takes whole pages.
        &*format!(", {} KiB of RAM", (64 << 10) - 4 - (0x10_0000 - 0x9_f000) / 1024),
        "no ACPI tables",
    ])?;
    Ok(())
}

fn all_ram_above_4_gib(context: &Context, lane: Lane) -> Outcome {
    let machine = rom::machine(&context.artifacts, lane, "5G")?.kernel(&context.artifacts.hello);
    hello::has_ram(machine.end(LIMIT)?.status(qemu_status(0))?, 5 << 20)
}

fn longest_command_line(context: &Context, lane: Lane) -> Outcome {
    let argument = "x".repeat(COMMAND_LINE_LEN_MAX - "-- \0".len());
    let line = format!("-- {argument}");
    let expected = format!("argument: {argument:?}\n");
    with_hello(context, lane)?
        .option("-append", &line)
        .end(LIMIT)?
        .status(qemu_status(0))?
        .prints([&*expected])?;
    let named = with_hello(context, lane)?.text(FILE_COMMAND_LINE, &line).end(LIMIT)?;
    named.status(qemu_status(0))?.prints([&*expected])?;
    let message = "the command line given has more than 4095 bytes";
    is_refused(with_hello(context, lane)?.option("-append", format!("{line}x")), message)?;
    is_refused(with_hello(context, lane)?.text(FILE_COMMAND_LINE, &format!("{line}x")), message)
}

/// A kernel that is told of a doorbell prints there, and here nothing hears it.
fn host_information(context: &Context, lane: Lane) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("record");
    let information =
        HostInformation { doorbell_port: ports::DOORBELL, tsc_hz: Some(1_000_000_000), result_port: None };
    fs::write(&path, information.encode()).map_err(Failure::start)?;
    let given = || Ok(with_hello(context, lane)?.file(FILE_HOST_INFORMATION, &path));
    let verdict = given()?.end(LIMIT)?;
    if verdict.status(qemu_status(0))?.stdout() != "" {
        return Err(verdict.failure("the kernel does not know of the doorbell"));
    }
    for len in [1, host_information::LEN - 1, host_information::LEN + 1] {
        fs::write(&path, vec![0; len]).map_err(Failure::start)?;
        is_refused(given()?, "host information of a wrong length")?;
    }
    Ok(())
}

/// The kernel begins at 2 MiB, and takes more than 300 KiB.
fn kernel_without_room(context: &Context, lane: Lane) -> Outcome {
    for memory in ["2M", "2304K"] {
        let machine = rom::machine(&context.artifacts, lane, memory)?.kernel(&context.artifacts.hello);
        is_refused(machine, "no RAM where the kernel belongs; give the machine more memory")?;
    }
    Ok(())
}

/// Kernels that QEMU knows, and hands over in other ways.
fn kernel_of_another_protocol(context: &Context, lane: Lane) -> Outcome {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("kernel");
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut linux = vec![0; 64 << 10];
    linux[0x1f1] = 4;
    linux[0x202..0x208].copy_from_slice(b"HdrS\x02\x02");
    linux[0x211] = 1;
    // Multiboot specification 0.6.96, 3.1: addresses are in the header.
    let (magic, flags, start) = (0x1bad_b002_u32, 1 << 16, 0x20_0000);
    let checksum = 0_u32.wrapping_sub(magic + flags);
    let mut multiboot =
        numbers(&[magic, flags, checksum, start, start, start + 0x3000, start + 0x3000, start]);
    multiboot.resize(0x3000, 0xf4);
    for kernel in [linux, multiboot] {
        fs::write(&path, kernel).map_err(Failure::start)?;
        is_refused(machine(context, lane)?.kernel(&path), "the kernel given has no PVH entry")?;
    }
    Ok(())
}

fn status_of_the_application(context: &Context, lane: Lane) -> Outcome {
    let machine = machine(context, lane)?.kernel(&context.artifacts.memory_stress);
    machine.option("-append", "-- --no-such-option").end(LIMIT)?.status(qemu_status(2))?;
    Ok(())
}

fn image_with_its_arguments(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &[r#"--args=one "two words""#])?;
    let verdict = with_image(context, lane, &disk)?.end(LIMIT)?;
    let said = ["hello from Freehold, running at ring 0\n", "argument: \"one\"\nargument: \"two words\"\n"];
    verdict.status(qemu_status(0))?.prints(said)?;
    // A kernel that is given comes first.
    let verdict = with_image(context, lane, &disk)?
        .kernel(&context.artifacts.memory_stress)
        .option("-append", "-- --no-such-option")
        .end(LIMIT)?;
    verdict.status(qemu_status(2))?;
    Ok(())
}

fn command_line_given_by_name(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args", "replaced"])?;
    let machines =
        [with_image(context, lane, &disk)?, with_hello(context, lane)?.option("-append", "-- replaced")];
    for machine in machines {
        let verdict = machine.text(FILE_COMMAND_LINE, "log=off -- given").end(LIMIT)?;
        if verdict.stdout() != "hello from Freehold, running at ring 0\nargument: \"given\"\n" {
            return Err(verdict.failure("one argument was expected"));
        }
        verdict.status(qemu_status(0))?;
    }
    Ok(())
}

/// A change of an image, and what the ROM then says.
type Damage = (fn(&mut Vec<u8>, &Header), &'static str);

const DAMAGES: [Damage; 6] = [
    (|image, _| image[HEADER_AT] = b'G', "no image header"),
    (|image, _| image[HEADER_AT + 20] ^= 1, "header damaged"),
    (
        |image, _| {
            if let Some(header) = image[HEADER_AT..].first_chunk_mut() {
                header[header::offset::VERSION] = 2;
                header::seal(header);
            }
        },
        "unknown version",
    ),
    (
        |image, header| image[header.command_line_block as usize * BLOCK_LEN + 1] ^= 1,
        "command line damaged; write the image again",
    ),
    (|image, header| image[header.segments[0].block as usize * BLOCK_LEN + 5] ^= 1, KERNEL_DAMAGED),
    (
        |image, header| {
            let last = header.segments[header.segments.len() - 1];
            image[last.block as usize * BLOCK_LEN + last.disk_len as usize - 1] ^= 1;
        },
        KERNEL_DAMAGED,
    ),
];

fn is_refused_when_damaged(context: &Context, boot: impl Fn(&Disk) -> Result<Qemu, Failure>) -> Outcome {
    for (damage, message) in DAMAGES {
        let disk = Disk::hello(context)?;
        let header = disk.header()?;
        disk.spoil(|image| damage(image, &header))?;
        is_refused(boot(&disk)?, message)?;
    }
    Ok(())
}

fn spoilt_image(context: &Context, lane: Lane) -> Outcome {
    is_refused_when_damaged(context, |disk| with_image(context, lane, disk))
}

/// Headers whose checksum is right, and that say what can't be.
fn header_that_cannot_be(context: &Context, lane: Lane) -> Outcome {
    type Change = fn(&mut Header);
    let changes: [Change; 5] = [
        |header| header.segments.clear(),
        |header| header.command_line_len = 4097,
        |header| header.command_line_len = 0,
        |header| header.segments[1].memory_len = header.segments[1].disk_len - 1,
        |header| header.entry = header.segments[0].address - 1,
    ];
    for change in changes {
        let disk = Disk::hello(context)?;
        let mut header = disk.header()?;
        change(&mut header);
        disk.replace_header(&header)?;
        is_refused(with_image(context, lane, &disk)?, "header damaged")?;
    }
    Ok(())
}

fn image_without_room(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    let small = rom::machine(&context.artifacts, lane, "2M")?.file(FILE_DISK, &disk.path);
    is_refused(small, NO_RAM)?;
    for address in [0, 0x7000, 0xf_f000, 0x4000_0000, 0xffff_0000] {
        // Of the kernel's segments not the one that holds the entry, without which the header were damaged.
        let mut header = disk.header()?;
        header.segments[2].address = address;
        let disk = Disk::hello(context)?;
        disk.replace_header(&header)?;
        is_refused(with_image(context, lane, &disk)?, NO_RAM)?;
    }
    Ok(())
}

fn truncated_or_foreign(context: &Context, lane: Lane) -> Outcome {
    let header = Disk::hello(context)?.header()?;
    for block in [header.kernel_block + 9, header.command_line_block, HEADER_BLOCK, 0] {
        let disk = Disk::hello(context)?;
        // QEMU takes no empty file.
        disk.spoil(|image| image.truncate((block as usize * BLOCK_LEN).max(1)))?;
        is_refused(with_image(context, lane, &disk)?, "disk read failed")?;
    }
    let disk = Disk::hello(context)?;
    disk.spoil(|image| image.fill(0x55))?;
    is_refused(with_image(context, lane, &disk)?, "no image header")
}

fn nothing_to_boot(context: &Context, lane: Lane) -> Outcome {
    is_refused(machine(context, lane)?, NOTHING)?;
    is_refused(machine(context, lane)?.text(FILE_COMMAND_LINE, "-- for nothing"), NOTHING)
}

fn no_dma(context: &Context, lane: Lane) -> Outcome {
    let machine = with_hello(context, lane)?.option("-global", "fw_cfg_io.dma_enabled=off");
    is_refused(machine, "the machine has no fw_cfg with DMA")
}

fn ide_disk(context: &Context, lane: Lane) -> Outcome {
    let boot = |appliance: &Path, arguments: &str| {
        let disk = Disk::make(context, appliance, &["--args", arguments])?;
        machine(context, lane)?.disk(&disk.path).end(LIMIT)
    };
    let verdict = boot(&context.artifacts.hello, "one")?;
    verdict.status(qemu_status(0))?.prints(["argument: \"one\"\n"])?;
    let verdict = boot(&context.artifacts.memory_stress, "--size 4M")?;
    verdict.status(qemu_status(0))?.prints(["memory-stress: PASSED: 4 MiB, 10 method runs"])?;
    // The disk that fw_cfg gives comes first.
    let (first, second) = (Disk::hello(context)?, Disk::hello(context)?);
    second.spoil(|image| image.fill(0))?;
    with_image(context, lane, &first)?.disk(&second.path).end(LIMIT)?.status(qemu_status(0))?;
    Ok(())
}

fn ide_disk_spoilt(context: &Context, lane: Lane) -> Outcome {
    is_refused_when_damaged(context, |disk| Ok(machine(context, lane)?.disk(&disk.path)))?;
    let header = Disk::hello(context)?.header()?;
    for block in [header.kernel_block + 9, HEADER_BLOCK] {
        let disk = Disk::hello(context)?;
        disk.spoil(|image| image.truncate(block as usize * BLOCK_LEN))?;
        is_refused(machine(context, lane)?.disk(&disk.path), "disk read failed")?;
    }
    Ok(())
}

/// QEMU's block layer reports an error for one block.
fn ide_disk_that_fails(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    let header = disk.header()?;
    for block in [HEADER_BLOCK, header.command_line_block, header.segments[1].block] {
        let image = disk.path.display().to_string().replace(',', ",,");
        let drive = format!(
            "driver=raw,rerror=report,file.driver=blkdebug,file.image.driver=file,file.image.filename={image},\
             file.inject-error.0.event=read_aio,file.inject-error.0.sector={block}"
        );
        is_refused(machine(context, lane)?.option("-drive", drive), "disk read failed")?;
    }
    Ok(())
}

fn ide_drive_that_is_no_disk(context: &Context, lane: Lane) -> Outcome {
    let disk = Disk::hello(context)?;
    let image = disk.path.display().to_string().replace(',', ",,");
    let drive = format!("file={image},format=raw,if=ide,media=cdrom,readonly=on");
    is_refused(machine(context, lane)?.option("-drive", drive), NOTHING)
}
