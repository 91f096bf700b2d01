//! The guest `misbehave`: whatever a guest does, the machine ends with its documented status and a message that names
//! the cause.

use crate::context::{Alone, Context, OnLane, Outcome};
use guest_interface::status::{KernelStatus, VmmStatus};
use libtest_mimic::Trial;
use std::time::Duration;
use system_tests::boot::Boot;
use system_tests::lane::Lane;
use system_tests::verdict::Failure;

/// One act and what must come of it.
struct Case {
    act: &'static str,
    status: u8,
    /// Texts of the guest's.
    guest: &'static [&'static str],
    /// Texts of the VMM's.
    vmm: &'static [&'static str],
}

const PANIC: u8 = KernelStatus::Panic.code();
const FAULT: u8 = KernelStatus::UnhandledFault.code();
pub(crate) const CALLERS: &str = "unikernel::appliance::run+0x";

const CASES: &[Case] = &[
    Case { act: "exit 0", status: 0, guest: &[], vmm: &[] },
    Case { act: "exit 1", status: 1, guest: &[], vmm: &[] },
    Case { act: "exit 95", status: 95, guest: &[], vmm: &[] },
    Case { act: "exit 96", status: 2, guest: &["from 0 to 95"], vmm: &[] },
    Case { act: "nonsense", status: 2, guest: &["'nonsense' is no act", "triple-fault"], vmm: &[] },
    Case {
        act: "panic",
        status: PANIC,
        guest: &[
            "panicked at tests/guests/misbehave/src/ending.rs:",
            "misbehaving on request",
            " misbehave::ending::panic+0x",
            CALLERS,
        ],
        vmm: &["the guest panicked (status 96)"],
    },
    Case {
        act: "panic-holding-console",
        status: PANIC,
        guest: &["misbehaving with the console held", " misbehave::ending::panic_holding_console", CALLERS],
        vmm: &["the guest panicked (status 96)"],
    },
    Case {
        act: "spoil-tables",
        status: KernelStatus::AuditFailure.code(),
        guest: &[
            "audit: clean\nmisbehave: nothing is wrong yet\n",
            "violation: the root slot of 0xffff800000000000 is used, and belongs to no kind\naudit: FAILED\n",
        ],
        vmm: &["the guest's audit of its page tables failed (status 102)"],
    },
    Case {
        act: "stack-overflow",
        status: KernelStatus::StackOverflow.code(),
        guest: &["stack overflow: 0x", "guard page below the boot stack", " misbehave::memory::recurse+0x"],
        vmm: &["a stack of the guest overflowed (status 98)"],
    },
    Case {
        act: "large-frame",
        status: KernelStatus::StackOverflow.code(),
        guest: &[
            "stack overflow: 0x",
            "guard page below the boot stack",
            " misbehave::memory::large_frame+0x",
        ],
        vmm: &["a stack of the guest overflowed (status 98)"],
    },
    Case {
        act: "allocate-forever",
        status: KernelStatus::OutOfMemory.code(),
        guest: &[
            "out of memory: no room for 1048576 bytes aligned to 1",
            " bytes in use",
            " could be had in one\n",
            " KiB are handed out, ",
            " x 2 MiB of it mapped, with credit for ",
            " faults by small pages, ",
            " misbehave::memory::allocate_forever+0x",
            CALLERS,
        ],
        vmm: &["the guest ran out of memory (status 99)"],
    },
    Case {
        act: "fail-in-handler",
        status: KernelStatus::OutOfMemory.code(),
        guest: &[
            "misbehave: the handler has Err(",
            "out of memory: no room for 1099511627776 bytes aligned to 1",
            " misbehave::memory::fail_in_handler+0x",
            CALLERS,
        ],
        vmm: &["the guest ran out of memory (status 99)"],
    },
    Case {
        act: "divide",
        status: FAULT,
        guest: &["Divide Error (#DE)", " misbehave::processor::divide+0x", CALLERS],
        vmm: &["(status 97)"],
    },
    Case {
        act: "invalid-opcode",
        status: FAULT,
        guest: &["(#UD)", " misbehave::processor::invalid_opcode+0x", CALLERS],
        vmm: &["(status 97)"],
    },
    Case {
        act: "breakpoint",
        status: FAULT,
        guest: &["Breakpoint (#BP)", " misbehave::processor::breakpoint+0x", CALLERS],
        vmm: &["(status 97)"],
    },
    Case {
        act: "triple-fault",
        status: VmmStatus::TripleFault.code(),
        guest: &[],
        vmm: &["the guest triple-faulted (status 112)"],
    },
    Case {
        act: "bad-status",
        status: VmmStatus::InvalidGuestStatus.code(),
        guest: &[],
        vmm: &["a status that is not one of its own (status 120)"],
    },
    Case { act: "unknown-ports", status: 0, guest: &["misbehave: all ports answered"], vmm: &[] },
    Case {
        act: "spin",
        status: VmmStatus::Timeout.code(),
        guest: &[],
        vmm: &["the time limit passed (status 113)", "it was 1s"],
    },
];

/// Acts that are worth a boot on the slower machines, too.
const ON_EVERY_MACHINE: [&str; 5] =
    ["exit 95", "panic", "stack-overflow", "allocate-forever", "triple-fault"];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for lane in Lane::ALL {
        let everything = matches!(lane, Lane::Kvm | Lane::QemuMicrovm);
        for case in CASES.iter().filter(|case| everything || ON_EVERY_MACHINE.contains(&case.act)) {
            let name = format!("misbehave/{}", case.act.replace(' ', "_"));
            trials.push(context.trial(lane, &name, move || ends_as_documented(context, lane, case)));
        }
    }
    for lane in [Lane::Kvm, Lane::QemuMicrovm] {
        let tests: [OnLane; 3] = [
            ("misbehave/halt", |context, lane| halt(context, lane, "halt", "halt+0x")),
            ("misbehave/halt-unmasked", |context, lane| {
                halt(context, lane, "halt-unmasked", "halt_unmasked+0x")
            }),
            ("misbehave/flood", flood),
        ];
        trials.extend(tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane))));
    }
    let tests: [Alone; 5] = [
        ("misbehave/stray_interrupt", stray_interrupt),
        ("misbehave/bad_doorbell", bad_doorbell),
        ("misbehave/power_off", power_off),
        ("misbehave/spin_is_located", spin_is_located),
        ("misbehave/triple_fault_is_located", triple_fault_is_located),
    ];
    trials.extend(tests.map(|(name, test)| context.trial(Lane::Kvm, name, move || test(context))));
    trials
}

pub(crate) fn boot(context: &Context, lane: Lane, act: &str) -> Boot {
    let limit = if matches!(act, "spin" | "halt" | "halt-unmasked") { 1 } else { 20 };
    context
        .boot(lane, &context.artifacts.misbehave)
        .timeout(Duration::from_secs(limit))
        .arguments(act.split(' '))
}

fn ends_as_documented(context: &Context, lane: Lane, case: &Case) -> Outcome {
    let verdict = boot(context, lane, case.act).end()?;
    verdict.status(case.status)?.prints(case.guest.iter().copied())?;
    if case.vmm.is_empty() {
        return match &*verdict.stderr() {
            "" => Ok(()),
            _ => Err(verdict.failure("nothing was expected on stderr")),
        };
    }
    verdict.complains(case.vmm.iter().copied())?;
    Ok(())
}

/// The VMM notices a halt that nothing can end. QEMU does not, and waits for its time limit.
fn halt(context: &Context, lane: Lane, act: &str, place: &str) -> Outcome {
    let verdict = boot(context, lane, act).end()?;
    if lane.is_qemu() {
        verdict.status(VmmStatus::Timeout.code())?;
    } else {
        let place = format!("(misbehave::processor::{place}");
        let texts = ["halted or powered off without a status (status 118)", &place];
        verdict.status(VmmStatus::Halted.code())?.complains(texts)?;
    }
    Ok(())
}

/// Every byte of much output arrives, in order.
fn flood(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(context, lane, "flood").options(["--log", "off"]).end()?;
    verdict.status(0)?;
    let mut expected = vec!["misbehave: flood".to_owned()];
    expected.extend((0..500).map(|number| format!("flood {number:03} {}", "grüße, 世界! ".repeat(20))));
    expected.extend(["0123456789".repeat(2000), "ü".repeat(3000), "flood: done".to_owned()]);
    let stdout = verdict.stdout();
    let wrong = stdout.lines().zip(&expected).position(|(line, expected)| line != expected);
    if let Some(number) = wrong {
        return Err(verdict.failure(format!("line {number} should be {:?}", expected[number])));
    }
    if stdout.lines().count() != expected.len() {
        return Err(verdict.failure(format!("{} lines were expected", expected.len())));
    }
    Ok(())
}

fn bad_doorbell(context: &Context) -> Outcome {
    let verdict = boot(context, Lane::Kvm, "bad-doorbell").options(["--timing"]).end()?;
    verdict
        .status(0)?
        .prints(["misbehave: this line is rung by hand\n", "misbehave: still able to print\n"])?
        .complains(["\"dropped_records\":"])?;
    if verdict.stderr().contains("\"dropped_records\":0") {
        return Err(verdict.failure("the VMM should count the records that it drops"));
    }
    Ok(())
}

/// On QEMU the local APIC has no register for it.
fn stray_interrupt(context: &Context) -> Outcome {
    let verdict = boot(context, Lane::Kvm, "stray-interrupt").end()?;
    let texts =
        ["interrupt 200, which nothing has asked for", " misbehave::processor::stray_interrupt+0x", CALLERS];
    verdict.status(FAULT)?.prints(texts)?.complains(["(status 97)"])?;
    Ok(())
}

/// The ACPI sleep register is `vmm-stub`'s own: where QEMU has one, only its ACPI tables say.
fn power_off(context: &Context) -> Outcome {
    let verdict = boot(context, Lane::Kvm, "power-off").end()?;
    let texts = ["powered off without a status (status 118)", "(misbehave::device::power_off+0x"];
    verdict
        .status(VmmStatus::Halted.code())?
        .prints(["misbehave: the sleep register reads as 0\n"])?
        .complains(texts)?;
    Ok(())
}

fn spin_is_located(context: &Context) -> Result<(), Failure> {
    boot(context, Lane::Kvm, "spin").end()?.complains(["(misbehave::processor::spin+0x"])?;
    Ok(())
}

/// Wherever the processor tells: the state of an AMD processor is lost.
fn triple_fault_is_located(context: &Context) -> Result<(), Failure> {
    let verdict = boot(context, Lane::Kvm, "triple-fault").end()?;
    if context.paging()?.is_svm() {
        verdict.complains(["(status 112); an AMD processor does not tell where the guest was\n"])?;
    } else {
        verdict.complains(["(misbehave::processor::triple_fault+0x", "rsp 0x", "cr2 0x"])?;
    }
    Ok(())
}
