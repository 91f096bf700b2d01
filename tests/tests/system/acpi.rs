//! ACPI tables that no VMM here gives: the kernel says what is wrong with them and runs without.

use crate::context::{Context, Outcome};
use libtest_mimic::Trial;
use system_tests::lane::Lane;
use system_tests::start_stub::{copy_behind, write_behind, write_start_info};

/// Offset of the RSDP's address in the start info.
const RSDP: u8 = 32;
/// Length of the RSDP.
const RSDP_LEN: u8 = 36;
/// Offsets in the RSDP: its checksum, and the two halves of the XSDT's address.
const CHECKSUM: u8 = 8;
const XSDT: u8 = 24;
/// What the checksum over all of the RSDP must make up for when the XSDT's address changes is part of this word.
const EXTENDED_CHECKSUM: u8 = 32;
/// Where there are no tables.
const ELSEWHERE: u32 = 0xfee0_0000;
/// With it the bytes of the RSDP's length and of [`ELSEWHERE`] add up to 0, as those before them do.
const MADE_UP: u32 = 0x100 - (RSDP_LEN as u32 + (ELSEWHERE >> 24) + (ELSEWHERE >> 16 & 0xff)) % 0x100;

/// A name, the code that spoils, what is said of it, and whether QEMU has it, too.
type Case = (&'static str, fn() -> Vec<u8>, &'static str, bool);

const SAID: &str = "the ACPI tables are not used: ";
const NOT_FIRMWARE: &str = " is not in firmware memory";

const CASES: [Case; 6] = [
    ("rsdp_beyond_ram", || write_start_info(RSDP, 0xffff_0000), NOT_FIRMWARE, true),
    ("rsdp_above_4_gib", || write_start_info(RSDP + 4, 0x7fff_ffff), NOT_FIRMWARE, true),
    ("rsdp_where_the_kernel_is", || write_start_info(RSDP, 0x20_0000), NOT_FIRMWARE, true),
    ("rsdp_unaligned", || write_start_info(RSDP, 0xe_0001), "there is no RSDP at 0xe0001", true),
    ("rsdp_checksum", || spoil_rsdp(&[(CHECKSUM, 0x1234_5678)]), "the checksum of RSDP at 0x80000 ", false),
    (
        "root_table_is_elsewhere",
        || spoil_rsdp(&[(XSDT, ELSEWHERE), (EXTENDED_CHECKSUM, MADE_UP)]),
        NOT_FIRMWARE,
        false,
    ),
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let lanes = [Lane::Kvm, Lane::QemuQ35];
    let cases = lanes.into_iter().flat_map(|lane| CASES.iter().map(move |case| (lane, case)));
    let cases = cases.filter(|(lane, case)| case.3 || !lane.is_qemu());
    cases
        .map(|(lane, case)| {
            context.trial(lane, &format!("acpi/{}", case.0), move || is_said(context, lane, case))
        })
        .collect()
}

/// The RSDP itself lies where the guest can only read.
fn spoil_rsdp(words: &[(u8, u32)]) -> Vec<u8> {
    [copy_behind(RSDP, RSDP_LEN), write_behind(RSDP, words)].concat()
}

fn is_said(context: &Context, lane: Lane, (_, code, said, _): &Case) -> Outcome {
    let verdict = context.boot_spoilt(lane, &code())?;
    verdict.status(0)?.prints([SAID, *said, "hello from Freehold", "audit: clean"])?;
    Ok(())
}
