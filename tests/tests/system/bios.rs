//! Disk images under BIOSes that tell of memory what SeaBIOS does not.

use crate::context::{Context, OnLane, Outcome};
use guest_interface::status::KernelStatus;
use libtest_mimic::Trial;
use std::fs;
use std::ops::Range;
use std::time::Duration;
use system_tests::disk::{LANES, boot_with_rom, qemu_status, tool};
use system_tests::lane::Lane;
use system_tests::option_rom::{self, RAM, RESERVED};
use system_tests::verdict::{Failure, Verdict};

const LIMIT: Duration = Duration::from_secs(60);

type Map = [(Range<u64>, u32)];

/// What SeaBIOS says of 64 MiB, less the first page.
const LOW_RAM: (Range<u64>, u32) = (0x1000..0x9_fc00, RAM);
const HIGH_RAM: (Range<u64>, u32) = (0x10_0000..0x400_0000, RAM);

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnLane; 3] = [
        ("disk/bios/first_page_reserved", first_page_reserved),
        ("disk/bios/range_without_length", range_without_length),
        ("disk/bios/reserved_within_ram", reserved_within_ram),
    ];
    let on_lane = |lane| tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane)));
    LANES.into_iter().flat_map(on_lane).collect()
}

fn boot(context: &Context, lane: Lane, map: &Map) -> Result<Verdict, Failure> {
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let (disk, rom) = (folder.path().join("disk.raw"), folder.path().join("option.rom"));
    let make = ["make".as_ref(), context.artifacts.hello.as_os_str(), "--output".as_ref(), disk.as_os_str()];
    tool(&context.artifacts, make)?.status(0)?;
    let bytes = option_rom::with_memory_map(map).ok_or_else(|| Failure::new("the map is too long"))?;
    fs::write(&rom, bytes).map_err(Failure::start)?;
    boot_with_rom(lane, &disk, &rom, "64M", LIMIT)
}

fn greets(verdict: &Verdict) -> Outcome {
    verdict.status(qemu_status(0))?.prints(["hello from Freehold, running at ring 0\n"])?;
    Ok(())
}

fn first_page_reserved(context: &Context, lane: Lane) -> Outcome {
    greets(&boot(context, lane, &[(0..0x1000, RESERVED), LOW_RAM, HIGH_RAM])?)
}

/// Such a range is none, wherever it lies.
fn range_without_length(context: &Context, lane: Lane) -> Outcome {
    let empty = |address| (address..address, RESERVED);
    greets(&boot(context, lane, &[empty(0x21_0000), LOW_RAM, empty(0x8000), HIGH_RAM, empty(0x20_1000)])?)
}

/// RAM that something else overlaps is none, where the image belongs.
fn reserved_within_ram(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(context, lane, &[LOW_RAM, HIGH_RAM, (0x21_0000..0x21_1000, RESERVED)])?;
    verdict.status(qemu_status(KernelStatus::BootFailure.code()))?;
    verdict.prints(["Freehold loader: no RAM where the image belongs; give the machine more memory"])?;
    Ok(())
}
