//! The appliance `memory-stress`: nearly all RAM is usable, and holds what is written to it.

use crate::context::{Context, Outcome};
use libtest_mimic::Trial;
use std::time::Duration;
use system_tests::lane::Lane;

/// What of a machine's RAM may stay untested: 4 MiB for the image, stacks and documents for the host; 0.6 % for what the kernel
/// notes about each frame (10 bytes), what the heap notes (0.1 %), and a table for each 2 MiB.
const fn untested_mib_max(memory_mib: u64) -> u64 {
    4 + (memory_mib * 6).div_ceil(1000)
}

/// Every size on KVM; in software, where memory is slow, each size that matters on one machine.
const BOOTS: [(Lane, &str, u64); 8] = [
    (Lane::Kvm, "16M", 16),
    (Lane::Kvm, "64M", 64),
    (Lane::Kvm, "1G", 1 << 10),
    (Lane::Kvm, "3G", 3 << 10),
    (Lane::Kvm, "6G", 6 << 10),
    (Lane::QemuQ35, "16M", 16),
    (Lane::QemuPc, "64M", 64),
    (Lane::QemuMicrovm, "1G", 1 << 10),
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    BOOTS
        .iter()
        .map(|&(lane, memory, mib)| {
            context
                .trial(lane, &format!("memory_stress/{memory}"), move || passes(context, lane, memory, mib))
        })
        .collect()
}

fn passes(context: &Context, lane: Lane, memory: &str, memory_mib: u64) -> Outcome {
    let _alone = (memory_mib >= 1 << 10).then(|| context.large_guest());
    let boot = context.boot(lane, &context.artifacts.memory_stress).memory(memory);
    let verdict = boot
        .timeout(Duration::from_secs(180))
        .arguments(["--seed", "0x5eed", "--method", "address-in-address,random"])
        .end()?;
    verdict.status(0)?.prints(["memory-stress: PASSED: ", " 0 wrong words", "seed 0x5eed"])?;
    let stdout = verdict.stdout();
    let tested = stdout.split("PASSED: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let tested: u64 = tested.parse().unwrap_or_default();
    if tested > memory_mib || tested + untested_mib_max(memory_mib) < memory_mib {
        return Err(verdict.failure(format!("nearly all of {memory_mib} MiB should be tested, not {tested}")));
    }
    Ok(())
}
