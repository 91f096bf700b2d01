//! Memory maps that no VMM here gives: the kernel boots in what is sound of them, or says what is wrong and ends.

use crate::context::{Context, Outcome};
use guest_interface::status::KernelStatus;
use libtest_mimic::Trial;
use system_tests::lane::Lane;
use system_tests::start_stub::{write_behind, write_start_info};

/// Offsets in the start info: the map's address, and the number of its entries.
const MAP_ADDRESS: u8 = 40;
const MAP_ENTRIES: u8 = 48;
/// Offsets in an entry.
const START: u8 = 0;
const LEN: u8 = 8;
const KIND: u8 = 16;
const ENTRY_LEN: u8 = 24;

const BOOT_FAILURE: u8 = KernelStatus::BootFailure.code();

/// A way to spoil a map, and what must come of it.
struct Case {
    name: &'static str,
    /// Whether it takes the map to be as `vmm-stub` makes it.
    of_vmm_stub: bool,
    code: fn() -> Vec<u8>,
    status: u8,
    prints: &'static [&'static str],
}

/// The 32-bit halves of a field of one entry.
fn field(entry: u8, offset: u8, value: u64) -> [(u8, u32); 2] {
    let at = entry * ENTRY_LEN + offset;
    [(at, value as u32), (at + 4, (value >> 32) as u32)]
}

fn spoil(fields: &[[(u8, u32); 2]]) -> Vec<u8> {
    write_behind(MAP_ADDRESS, fields.concat().as_slice())
}

const CASES: [Case; 10] = [
    Case {
        name: "no_entries",
        of_vmm_stub: false,
        code: || write_start_info(MAP_ENTRIES, 0),
        status: BOOT_FAILURE,
        prints: &["boot failed: the memory map has no RAM from 0x200000 to 0x"],
    },
    Case {
        name: "more_entries_than_are_read",
        of_vmm_stub: false,
        code: || write_start_info(MAP_ENTRIES, 1_000_000),
        status: BOOT_FAILURE,
        prints: &["boot failed: the memory map has 1000000 entries"],
    },
    Case {
        name: "no_version_with_a_map",
        of_vmm_stub: false,
        code: || write_start_info(4, 0),
        status: BOOT_FAILURE,
        prints: &["boot failed: PVH start info of version 0"],
    },
    Case {
        name: "a_map_that_is_elsewhere",
        of_vmm_stub: false,
        code: || [write_start_info(MAP_ADDRESS, 0xffff_f000), write_start_info(MAP_ADDRESS + 4, 7)].concat(),
        status: BOOT_FAILURE,
        prints: &["boot failed: the memory map at 0x7fffff000"],
    },
    Case {
        name: "no_ram_where_the_image_is",
        of_vmm_stub: true,
        code: || spoil(&[field(1, START, 0x40_0000)]),
        status: BOOT_FAILURE,
        prints: &["boot failed: the memory map has no RAM from 0x200000 to 0x"],
    },
    Case {
        name: "too_little_ram_beside_the_image",
        of_vmm_stub: true,
        code: || spoil(&[field(1, START, 0x20_0000), field(1, LEN, 0xa_0000)]),
        status: BOOT_FAILURE,
        prints: &["boot failed: "],
    },
    Case {
        name: "ram_up_to_the_last_address",
        of_vmm_stub: true,
        code: || spoil(&[field(1, LEN, u64::MAX)]),
        status: BOOT_FAILURE,
        prints: &["boot failed: "],
    },
    Case {
        name: "more_ram_above_4_gib_than_there_can_be",
        of_vmm_stub: true,
        code: || spoil(&[field(0, START, 1 << 32), field(0, LEN, 1 << 50)]),
        status: 0,
        prints: &["hello from Freehold"],
    },
    Case {
        name: "entries_that_overlap",
        of_vmm_stub: true,
        code: || spoil(&[field(0, LEN, 0x90_0000), field(1, START, 0x8_0000)]),
        status: 0,
        prints: &["hello from Freehold"],
    },
    Case {
        name: "ram_that_is_called_reserved_besides",
        of_vmm_stub: true,
        code: || spoil(&[field(0, START, 0x120_0000), field(0, LEN, 0x1000), [(KIND, 2), (KIND + 4, 0)]]),
        status: 0,
        prints: &["hello from Freehold"],
    },
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let lanes = [Lane::Kvm, Lane::QemuMicrovm, Lane::QemuQ35];
    let cases = lanes.into_iter().flat_map(|lane| CASES.iter().map(move |case| (lane, case)));
    let cases = cases.filter(|(lane, case)| !(lane.is_qemu() && case.of_vmm_stub));
    let trial = |(lane, case): (Lane, &'static Case)| {
        context.trial(lane, &format!("memory_map/{}", case.name), move || comes_to(context, lane, case))
    };
    cases.map(trial).collect()
}

fn comes_to(context: &Context, lane: Lane, case: &Case) -> Outcome {
    let verdict = context.boot_spoilt(lane, &(case.code)())?;
    verdict.status(case.status)?.prints(case.prints.iter().copied())?;
    Ok(())
}
