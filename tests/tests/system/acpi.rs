//! ACPI tables that no VMM here gives: the kernel says what is wrong with them and runs without.

use crate::context::{Context, Outcome};
use libtest_mimic::Trial;
use system_tests::lane::Lane;
use system_tests::start_stub::{write_behind, write_start_info};

/// Offset of the RSDP's address in the start info.
const RSDP: u8 = 32;
/// Offsets in the RSDP: its checksum, and the two halves of the XSDT's address.
const CHECKSUM: u8 = 8;
const XSDT: u8 = 24;
/// What the checksum over all of the RSDP must make up for when the XSDT's address changes is part of this word.
const EXTENDED_CHECKSUM: u8 = 32;

/// A name, the code that spoils, and whether it writes into the RSDP.
type Case = (&'static str, fn() -> Vec<u8>, bool);

const SAID: &str = "the ACPI tables are not used: ";

const CASES: [Case; 6] = [
    ("rsdp_beyond_ram", || write_start_info(RSDP, 0xffff_0000), false),
    ("rsdp_above_4_gib", || write_start_info(RSDP + 4, 0x7fff_ffff), false),
    ("rsdp_where_the_kernel_is", || write_start_info(RSDP, 0x20_0000), false),
    ("rsdp_unaligned", || write_start_info(RSDP, 0xe_0001), false),
    ("rsdp_checksum", || write_behind(RSDP, &[(CHECKSUM, 0x1234_5678)]), true),
    ("root_table_is_elsewhere", || write_behind(RSDP, &[(XSDT, 0xfee0_0000), (EXTENDED_CHECKSUM, 0)]), true),
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let lanes = [Lane::Kvm, Lane::QemuQ35];
    let cases = lanes.into_iter().flat_map(|lane| CASES.iter().map(move |case| (lane, case)));
    // QEMU's firmware has the RSDP in its ROM, where nothing can be written.
    let cases = cases.filter(|(lane, case)| !(lane.is_qemu() && case.2));
    cases
        .map(|(lane, case)| {
            context.trial(lane, &format!("acpi/{}", case.0), move || is_said(context, lane, case))
        })
        .collect()
}

fn is_said(context: &Context, lane: Lane, (_, code, _): &Case) -> Outcome {
    let verdict = context.boot_spoilt(lane, &code())?;
    verdict.status(0)?.prints([SAID, "hello from Freehold", "audit: clean"])?;
    Ok(())
}
