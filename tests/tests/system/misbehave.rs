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
const CALLERS: &str = "unikernel::appliance::run+0x";

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
        act: "allocate-forever",
        status: KernelStatus::OutOfMemory.code(),
        guest: &[
            "out of memory: no room for 1048576 bytes aligned to 1",
            " bytes in use",
            " free",
            " misbehave::memory::allocate_forever+0x",
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

/// An access that the page tables or the processor forbid, and what the message says of its place.
struct Access {
    /// Act and place.
    act: &'static str,
    /// Behind `fault: `.
    says: &'static str,
    /// Behind the address.
    place: &'static str,
}

const fn access(act: &'static str, says: &'static str, place: &'static str) -> Access {
    Access { act, says, place }
}

const READ: &str = "page fault: read of 0x";
const WRITE: &str = "page fault: write of 0x";
const EXECUTION: &str = "page fault: execution of 0x";
const PROTECTION: &str = "General Protection (#GP), error code 0x0";
const NO_STACK: &str = "double fault: no exception can be delivered to a stack at 0x";
const OVERFLOW: &str = "stack overflow: 0x";
const NULL: &str = " (null pointer, never mapped)\n";

const ACCESSES: &[Access] = &[
    access("read null", "page fault: read of 0x10", NULL),
    access("read non-canonical", PROTECTION, "a non-canonical address"),
    access("read nowhere", READ, " bytes above the kernel symbol table, KVA, not mapped)\n"),
    access("read below-stack", READ, " (guard page below the boot stack, KVA, not mapped)\n"),
    access("read below-heap", READ, " (guard page below the heap, tracked, not mapped)\n"),
    access("read above-heap", READ, " (guard page above the heap, tracked, not mapped)\n"),
    access(
        "read tracked-slot",
        "page fault: read of 0x640000000000",
        " bytes above the heap, tracked, not mapped)\n",
    ),
    access(
        "read host-slot",
        "page fault: read of 0xffff800000001000",
        " bytes below the RAM window, not mapped)\n",
    ),
    access(
        "read mmio-slot",
        "page fault: read of 0xffff950000000000",
        " bytes below the RAM window, MMIO, not mapped)\n",
    ),
    access(
        "read top",
        "page fault: read of 0xfffffffffffffff8",
        " bytes above the fault stack, KVA, not mapped)\n",
    ),
    access(
        "read window-hole",
        "page fault: read of 0xffffa000000b0000",
        " the RAM window, KVA, not mapped)\n",
    ),
    access(
        "read window-beyond-ram",
        "page fault: read of 0xffffa10000000000",
        " bytes above the RAM window, KVA, not mapped)\n",
    ),
    access("read below-device", READ, " (guard page below the test device, MMIO, not mapped)\n"),
    access("read above-device", READ, " (guard page above the test device, MMIO, not mapped)\n"),
    access("read closed-device", READ, " bytes below the RAM window, MMIO, not mapped)\n"),
    access("read below-fault-stack", READ, " (guard page below the fault stack, KVA, not mapped)\n"),
    access("read above-fault-stack", READ, " (guard page above the fault stack, KVA, not mapped)\n"),
    access("read unmapped", READ, " bytes above the heap, tracked, not mapped)\n"),
    access("write null", "page fault: write of 0x10", NULL),
    access("write text", WRITE, " (kernel text, KVA, not writable, executable, 4 KiB page at 0x"),
    access(
        "write rodata",
        WRITE,
        " (kernel read-only data, KVA, not writable, not executable, 4 KiB page at 0x",
    ),
    access("write window-text", WRITE, " (RAM window, KVA, not writable, not executable, 4 KiB page at 0x"),
    access("write window-rodata", WRITE, " (RAM window, KVA, not writable, not executable, 4 KiB page at 0x"),
    access(
        "write read-only",
        WRITE,
        " bytes above the heap, tracked, not writable, not executable, 4 KiB page at 0x",
    ),
    access("write unmapped", WRITE, " bytes above the heap, tracked, not mapped)\n"),
    access("write host-slot", WRITE, " bytes below the RAM window, not mapped)\n"),
    access("call zero", "page fault: execution of 0x0", NULL),
    access("call non-canonical", PROTECTION, "a non-canonical address"),
    access("call nowhere", EXECUTION, ", KVA, not mapped)\n"),
    access(
        "call rodata",
        EXECUTION,
        " (kernel read-only data, KVA, not writable, not executable, 4 KiB page at 0x",
    ),
    access("call data", EXECUTION, " (kernel data, KVA, writable, not executable, 4 KiB page at 0x"),
    access("call stack", EXECUTION, " (boot stack, KVA, writable, not executable, 4 KiB page at 0x"),
    access("call fault-stack", EXECUTION, " (fault stack, KVA, writable, not executable, 4 KiB page at 0x"),
    access("call heap", EXECUTION, " (heap, tracked, writable, not executable, "),
    access(
        "call window-text",
        EXECUTION,
        " (RAM window, KVA, not writable, not executable, 4 KiB page at 0x",
    ),
    access("call window-heap", EXECUTION, " (RAM window, KVA, writable, not executable, "),
    access(
        "call device",
        EXECUTION,
        " (test device, MMIO, writable, not executable, 4 KiB page at 0xd0000000)\n",
    ),
    access("call host-slot", EXECUTION, " bytes below the RAM window, not mapped)\n"),
    access("push zero", "double fault: no exception can be delivered to a stack at 0x0", NULL),
    access("push null", NO_STACK, NULL),
    access("push non-canonical", NO_STACK, " (non-canonical address)\n"),
    access("push top", NO_STACK, " bytes above the fault stack, KVA, not mapped)\n"),
    access("push nowhere", NO_STACK, ", KVA, not mapped)\n"),
    access("push host-slot", NO_STACK, " bytes below the RAM window, not mapped)\n"),
    access("push text", NO_STACK, " (kernel text, KVA, not writable, executable, 4 KiB page at 0x"),
    access("push heap", NO_STACK, " (guard page below the heap, tracked, not mapped)\n"),
    access("push device", NO_STACK, " (guard page below the test device, MMIO, not mapped)\n"),
    access("push stack", OVERFLOW, " is in the guard page below the boot stack\n"),
    access("push fault-stack", OVERFLOW, " is in the guard page below the fault stack\n"),
    access("push below-fault-stack", OVERFLOW, " is in the guard page below the fault stack\n"),
];

/// Acts that are worth a boot on the slower machines, too.
const ON_EVERY_MACHINE: [&str; 6] =
    ["exit 95", "panic", "read null", "stack-overflow", "allocate-forever", "triple-fault"];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for lane in Lane::ALL {
        let everything = matches!(lane, Lane::Kvm | Lane::QemuMicrovm);
        for case in CASES.iter().filter(|case| everything || ON_EVERY_MACHINE.contains(&case.act)) {
            let name = format!("misbehave/{}", case.act.replace(' ', "_"));
            trials.push(context.trial(lane, &name, move || ends_as_documented(context, lane, case)));
        }
    }
    for (lane, everything) in Lane::ALL.map(|lane| (lane, matches!(lane, Lane::Kvm | Lane::QemuMicrovm))) {
        for access in ACCESSES.iter().filter(|access| everything || ON_EVERY_MACHINE.contains(&access.act)) {
            let name = format!("misbehave/{}", access.act.replace(' ', "_"));
            trials.push(context.trial(lane, &name, move || is_forbidden(context, lane, access)));
        }
    }
    for lane in [Lane::Kvm, Lane::QemuMicrovm] {
        let tests: [OnLane; 2] = [("misbehave/halt", halt), ("misbehave/flood", flood)];
        trials.extend(tests.map(|(name, test)| context.trial(lane, name, move || test(context, lane))));
    }
    let tests: [Alone; 3] = [
        ("misbehave/bad_doorbell", bad_doorbell),
        ("misbehave/spin_is_located", spin_is_located),
        ("misbehave/triple_fault_is_located", triple_fault_is_located),
    ];
    trials.extend(tests.map(|(name, test)| context.trial(Lane::Kvm, name, move || test(context))));
    trials
}

fn boot(context: &Context, lane: Lane, act: &str) -> Boot {
    let limit = if matches!(act, "spin" | "halt") { 1 } else { 20 };
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

/// The message is about this access and this place, and names what was running, unless that had no stack to be found by.
fn is_forbidden(context: &Context, lane: Lane, access: &Access) -> Outcome {
    let verdict = boot(context, lane, access.act).end()?;
    let overflow = access.says == OVERFLOW;
    let (status, vmm) = match overflow {
        true => (KernelStatus::StackOverflow.code(), "a stack of the guest overflowed (status 98)"),
        false => (FAULT, "a fault that nothing handles (status 97)"),
    };
    verdict.status(status)?.complains([vmm])?;
    let stdout = verdict.stdout();
    let message = stdout.split_once("fault: ").map_or("", |(_, message)| message);
    let cause = message.split_inclusive('\n').next().unwrap_or_default();
    let place = cause.strip_prefix(access.says).is_some_and(|rest| rest.contains(access.place));
    if !place {
        return Err(verdict.failure(format!("'{}…{}' was expected", access.says, access.place)));
    }
    let act = access.act.split(' ').next().unwrap_or_default();
    verdict.prints([&*format!(" misbehave::memory::{act}"), CALLERS])?;
    if stdout.contains("while reporting") {
        return Err(verdict.failure("the report should not fault itself"));
    }
    Ok(())
}

/// KVM tells the VMM of a halt that nothing can end. QEMU does not, and waits for its time limit.
fn halt(context: &Context, lane: Lane) -> Outcome {
    let verdict = boot(context, lane, "halt").end()?;
    if lane.is_qemu() {
        verdict.status(VmmStatus::Timeout.code())?;
    } else {
        let texts = ["halted without a status (status 118)", "(misbehave::processor::halt+0x"];
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

fn spin_is_located(context: &Context) -> Result<(), Failure> {
    boot(context, Lane::Kvm, "spin").end()?.complains(["(misbehave::processor::spin+0x"])?;
    Ok(())
}

fn triple_fault_is_located(context: &Context) -> Result<(), Failure> {
    let verdict = boot(context, Lane::Kvm, "triple-fault").end()?;
    verdict.complains(["(misbehave::processor::triple_fault+0x", "rsp 0x", "cr2 0x"])?;
    Ok(())
}
