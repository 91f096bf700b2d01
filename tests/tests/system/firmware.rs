//! Machines that start in a ROM: where that is, what it is given to boot a guest with, and how it ends.

use crate::context::{Alone, Context, OnLane, Outcome, trial};
use guest_interface::fw_cfg::{
    DIRECTORY_ENTRY_LEN, DIRECTORY_NAME_AT, DMA_ERROR, DMA_READ, DMA_SELECT, DMA_WRITE, FILE_COMMAND_LINE,
    FILE_DISK, FILE_HOST_INFORMATION, FILE_MEMORY_MAP, KEY_COMMAND_LINE, KEY_COMMAND_LINE_LEN, KEY_FEATURES,
    KEY_FILE_DIRECTORY, KEY_KERNEL_ADDRESS, KEY_KERNEL_ENTRY, KEY_KERNEL_LEN,
};
use guest_interface::host_information::{self, HostInformation};
use guest_interface::layout::IMAGE_BASE;
use guest_interface::ports;
use guest_interface::status::VmmStatus;
use image_header::{BLOCK_LEN, HEADER_BLOCK, Header};
use libtest_mimic::Trial;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use system_tests::boot::Boot;
use system_tests::empty_guest;
use system_tests::lane::Lane;
use system_tests::reset_rom::{Code, LEN};
use system_tests::verdict::{Failure, Verdict};
use tempfile::TempDir;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 5] = [
        ("firmware/status", status),
        ("firmware/items_by_the_data_register", items_by_the_data_register),
        ("firmware/kernel_is_loaded", kernel_is_loaded),
        ("firmware/disk", disk),
        ("firmware/other_command_line", other_command_line),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    let mut trials: Vec<Trial> = Lane::ALL.into_iter().flat_map(on_lane).collect();
    let on_kvm: [Alone; 7] = [
        ("firmware/of_any_length", of_any_length),
        ("firmware/memory_map_and_host_information", memory_map_and_host_information),
        ("firmware/refused_transfers", refused_transfers),
        ("firmware/can_not_be_written", can_not_be_written),
        ("firmware/halt", halt),
        ("firmware/triple_fault", triple_fault),
        ("firmware/time_limit_amid_transfers", time_limit_amid_transfers),
    ];
    trials.extend(on_kvm.map(|(name, test)| context.trial(Lane::Kvm, name, move || test(context))));
    trials.push(trial("refusal/firmware", || refused(context)));
    trials
}

/// A ROM and an image in a folder of their own.
struct Machine {
    rom: PathBuf,
    image: PathBuf,
    _folder: TempDir,
}

impl Machine {
    fn new(rom: &[u8], image: &[u8]) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::start)?;
        let (rom_path, image_path) = (folder.path().join("rom"), folder.path().join("image,1"));
        fs::write(&rom_path, rom).map_err(Failure::start)?;
        fs::write(&image_path, image).map_err(Failure::start)?;
        Ok(Self { rom: rom_path, image: image_path, _folder: folder })
    }

    fn boot(&self, context: &Context, lane: Lane) -> Boot {
        context.boot(lane, &self.image).options(["--firmware".as_ref(), self.rom.as_os_str()])
    }
}

fn run(context: &Context, lane: Lane, code: Code, image: &[u8]) -> Result<Verdict, Failure> {
    Machine::new(&code.into_rom(LEN), image)?.boot(context, lane).end()
}

/// What the ROM prints of an item.
fn item(
    context: &Context,
    lane: Lane,
    image: &[u8],
    key: u16,
    offset: u32,
    len: u16,
) -> Result<Vec<u8>, Failure> {
    let code = Code::new().read_by_dma(key, offset, len.into()).print(len).end(0);
    let verdict = run(context, lane, code, image)?;
    Ok(verdict.status(0)?.ended().stdout.clone())
}

/// A file by its name: key and length, as the directory says.
fn file(context: &Context, lane: Lane, image: &[u8], name: &str) -> Result<Option<(u16, u32)>, Failure> {
    let directory = item(context, lane, image, KEY_FILE_DIRECTORY, 0, 4 + 40 * DIRECTORY_ENTRY_LEN as u16)?;
    let entries = directory[4..].chunks_exact(DIRECTORY_ENTRY_LEN);
    let is_it = |entry: &&[u8]| entry[DIRECTORY_NAME_AT..].starts_with(&[name.as_bytes(), &[0]].concat());
    Ok(entries.into_iter().find(is_it).map(|entry| {
        let len = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        (u16::from_be_bytes([entry[4], entry[5]]), len)
    }))
}

fn content(context: &Context, lane: Lane, image: &[u8], name: &str) -> Result<Vec<u8>, Failure> {
    let (key, len) =
        file(context, lane, image, name)?.ok_or_else(|| Failure::new(format!("there is no {name}")))?;
    item(context, lane, image, key, 0, len as u16)
}

fn expect(what: &str, found: &[u8], expected: &[u8]) -> Outcome {
    if found == expected {
        return Ok(());
    }
    let len = found.len().min(200);
    Err(Failure::new(format!("{what} is {:x?}, and {expected:x?} was expected", &found[..len])))
}

fn status(context: &Context, lane: Lane) -> Outcome {
    for status in [0, 7, 100] {
        run(context, lane, Code::new().end(status), b"no image")?.status(status)?;
    }
    Ok(())
}

fn items_by_the_data_register(context: &Context, lane: Lane) -> Outcome {
    let code = Code::new().read(0, 5).print(5).read(KEY_FEATURES, 4).print(4).end(0);
    let verdict = run(context, lane, code, b"no image")?;
    expect("what the ROM prints", &verdict.status(0)?.ended().stdout, b"QEMU\0\x03\0\0\0")
}

/// It is in memory when the ROM starts. Only the guest ends with 0.
fn kernel_is_loaded(context: &Context, lane: Lane) -> Outcome {
    let image = empty_guest::image();
    run(context, lane, Code::new().read_by_dma(KEY_KERNEL_ENTRY, 0, 4).protect().jump_to_item(), &image)?
        .status(0)?;
    let number = |key| {
        let bytes = item(context, lane, &image, key, 0, 4)?;
        Ok::<u32, Failure>(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    };
    let (address, len, entry) =
        (number(KEY_KERNEL_ADDRESS)?, number(KEY_KERNEL_LEN)?, number(KEY_KERNEL_ENTRY)?);
    if address != IMAGE_BASE as u32
        || len as usize != image.len()
        || !(address..address + len).contains(&entry)
    {
        return Err(Failure::new(format!("kernel of {len:#x} bytes at {address:#x}, entry {entry:#x}")));
    }
    let line = b"log=info audit\0";
    expect(
        "the length of the line",
        &number(KEY_COMMAND_LINE_LEN)?.to_le_bytes(),
        &(line.len() as u32).to_le_bytes(),
    )?;
    expect("the command line", &item(context, lane, &image, KEY_COMMAND_LINE, 0, line.len() as u16)?, line)?;
    match file(context, lane, &image, FILE_DISK)? {
        None => Ok(()),
        Some(_) => Err(Failure::new("a kernel is given as a disk, too")),
    }
}

/// Whatever it is; each part of it, up to its end.
fn disk(context: &Context, lane: Lane) -> Outcome {
    let image: Vec<u8> = (0..300_001_u32).map(|index| (index / 7 % 251) as u8).collect();
    let Some((key, len)) = file(context, lane, &image, FILE_DISK)? else {
        return Err(Failure::new("there is no disk"));
    };
    expect("the disk's length", &len.to_le_bytes(), &(image.len() as u32).to_le_bytes())?;
    for offset in [0, 131_071, 299_001] {
        let found = item(context, lane, &image, key, offset as u32, 1000)?;
        expect("a part of the disk", &found, &image[offset..offset + 1000])?;
    }
    let last = [&image[299_991..], &[0; 10]].concat();
    expect("the disk's end", &item(context, lane, &image, key, 299_991, 20)?, &last)?;
    match file(context, lane, &image, FILE_COMMAND_LINE)? {
        None => Ok(()),
        Some(_) => Err(Failure::new("a command line for a disk that says none")),
    }
}

/// A disk with a header and this command line, and no more.
fn disk_with_command_line(line: &str) -> Vec<u8> {
    let line = [line.as_bytes(), &[0]].concat();
    let mut header = Header {
        stage_crc: 0,
        stage_blocks: 0,
        entry: 0,
        command_line_block: HEADER_BLOCK + 1,
        command_line_len: line.len() as u32,
        command_line_crc: 0,
        kernel_block: 0,
        kernel_len: 0,
        kernel_sha256: [0; 32],
        name: Default::default(),
        tool_version: Default::default(),
        segments: Default::default(),
    };
    header.command_line_crc = crc32fast::hash(&line);
    let nothing = image_header::Segment { block: 0, address: 0, disk_len: 0, memory_len: 0, crc: 0 };
    header.segments.push(nothing);
    let mut disk = vec![0; HEADER_BLOCK as usize * BLOCK_LEN];
    disk.extend(header.encode());
    disk.extend(line);
    disk
}

fn other_command_line(context: &Context, lane: Lane) -> Outcome {
    let disk = disk_with_command_line("log=warn audit -- old");
    let found = file(context, lane, &disk, FILE_COMMAND_LINE)?;
    if found.is_some() {
        return Err(Failure::new("a command line although the disk says the same"));
    }
    let line = content_with(context, lane, &disk, &["--log", "off", "--env", "A=b,c d"], &["new"])?;
    expect("the command line", &line, b"log=off audit env=A=\"b,c d\" -- new")?;
    // What can't be read has no command line to change.
    let mut damaged = disk;
    damaged[HEADER_BLOCK as usize * BLOCK_LEN + 100] ^= 1;
    let found = content_with(context, lane, &damaged, &[], &["new"])?;
    expect("the command line of a damaged disk", &found, b"")
}

/// The command line that a ROM is given; nothing if none is.
fn content_with(
    context: &Context,
    lane: Lane,
    image: &[u8],
    options: &[&str],
    arguments: &[&str],
) -> Result<Vec<u8>, Failure> {
    let print = |key, len: u16| -> Result<Vec<u8>, Failure> {
        let code = Code::new().read_by_dma(key, 0, len.into()).print(len).end(0);
        let machine = Machine::new(&code.into_rom(LEN), image)?;
        let verdict = machine.boot(context, lane).options(options).arguments(arguments).end()?;
        Ok(verdict.status(0)?.ended().stdout.clone())
    };
    let directory = print(KEY_FILE_DIRECTORY, 4 + 40 * DIRECTORY_ENTRY_LEN as u16)?;
    let mut entries = directory[4..].chunks_exact(DIRECTORY_ENTRY_LEN);
    match entries.find(|entry| entry[DIRECTORY_NAME_AT..].starts_with(FILE_COMMAND_LINE.as_bytes())) {
        Some(entry) => {
            print(u16::from_be_bytes([entry[4], entry[5]]), u16::from_be_bytes([entry[2], entry[3]]))
        }
        None => Ok(Vec::new()),
    }
}

/// To where there is no memory, or none that the guest can write to.
fn refused_transfers(context: &Context) -> Outcome {
    let places = [(4, 0xfee0_0000), (u32::MAX, 0), (5, (64 << 20) - 4), (1, 0xe_0000), (1, 0xffff_f000)];
    let code = places.into_iter().fold(Code::new(), |code, (len, address)| {
        code.transfer(DMA_SELECT | DMA_READ, len, address).expect_control(DMA_ERROR)
    });
    let code = code.transfer(DMA_SELECT | DMA_WRITE, 4, 0x1000).expect_control(DMA_ERROR);
    run(context, Lane::Kvm, code.end(0), b"no image")?.status(0)?;
    Ok(())
}

fn of_any_length(context: &Context) -> Outcome {
    for len in [4096, 3 * 4096, 64 << 10, 1 << 20] {
        let machine = Machine::new(&Code::new().end(9).into_rom(len), b"no image")?;
        machine.boot(context, Lane::Kvm).end()?.status(9)?;
    }
    Ok(())
}

fn memory_map_and_host_information(context: &Context) -> Outcome {
    let map = content(context, Lane::Kvm, b"no image", FILE_MEMORY_MAP)?;
    let expected = [(0_u64, 0x9_fc00_u64), (0x10_0000, 63 << 20)]
        .map(|(start, len)| [&start.to_le_bytes()[..], &len.to_le_bytes(), &[1, 0, 0, 0]].concat());
    expect("the memory map", &map, &expected.concat())?;
    let record = content(context, Lane::Kvm, b"no image", FILE_HOST_INFORMATION)?;
    let record: Option<&[u8; host_information::LEN]> = record.as_slice().try_into().ok();
    match record.and_then(HostInformation::decode) {
        Some(HostInformation { doorbell_port: ports::DOORBELL, result_port: None, .. }) => Ok(()),
        other => Err(Failure::new(format!("the host information is {other:?}"))),
    }
}

fn can_not_be_written(context: &Context) -> Outcome {
    run(context, Lane::Kvm, Code::new().bytes([0x90]).protect().write_to_rom(), b"no image")?.status(0)?;
    Ok(())
}

fn halt(context: &Context) -> Outcome {
    // cli; hlt
    let verdict = run(context, Lane::Kvm, Code::new().bytes([0xfa, 0xf4]), b"no image")?;
    verdict.status(VmmStatus::Halted.code())?;
    Ok(())
}

fn triple_fault(context: &Context) -> Outcome {
    // In protected mode without an interrupt table: ud2
    let verdict = run(context, Lane::Kvm, Code::new().protect().bytes([0x0f, 0x0b]), b"no image")?;
    verdict.status(VmmStatus::TripleFault.code())?;
    Ok(())
}

/// Each of them clears nearly all of the machine's memory.
fn time_limit_amid_transfers(context: &Context) -> Outcome {
    let code = Code::new().transfer(DMA_SELECT | DMA_READ, 200 << 20, 0x10_0000);
    let back = -(code.len() as i16 + 3);
    let code = code.bytes([0xe9]).bytes(back.to_le_bytes());
    let machine = Machine::new(&code.into_rom(LEN), b"no image")?;
    let boot = machine.boot(context, Lane::Kvm).memory("256M").timeout(Duration::from_millis(300));
    boot.end()?.status(VmmStatus::Timeout.code())?;
    Ok(())
}

fn refused(context: &Context) -> Outcome {
    let machine = Machine::new(&[0xff; 4096], b"no image")?;
    let refuse = |rom: &std::path::Path, says: &str| -> Outcome {
        let boot = context.boot(Lane::Kvm, &machine.image).options(["--firmware".as_ref(), rom.as_os_str()]);
        let verdict = boot.end()?;
        verdict.status(VmmStatus::Refused.code())?.complains([says])?.complains_in_one_line()?;
        Ok(())
    };
    refuse("/nowhere/rom".as_ref(), "it can't be read")?;
    refuse("/dev/zero".as_ref(), "it is not a regular file")?;
    for len in [0, 100, 4097, (1 << 20) + 4096] {
        fs::write(&machine.rom, vec![0xff; len]).map_err(Failure::start)?;
        refuse(&machine.rom, &format!("it has {len} bytes, and a ROM has whole pages"))?;
    }
    fs::write(&machine.rom, [0xff; 4096]).map_err(Failure::start)?;
    let boot = machine.boot(context, Lane::Kvm).options(["--result".as_ref(), machine.rom.as_os_str()]);
    boot.end()?
        .status(VmmStatus::Refused.code())?
        .complains(["which is the firmware"])?
        .complains_in_one_line()?;
    // Longer than its length can be told; it has no bytes.
    let huge = fs::File::create(&machine.image).map_err(Failure::start)?;
    huge.set_len((4 << 30) - 1).map_err(Failure::start)?;
    let verdict = machine.boot(context, Lane::Kvm).end()?;
    verdict.status(VmmStatus::Refused.code())?.complains(["less than 4 GiB"])?.complains_in_one_line()?;
    Ok(())
}
