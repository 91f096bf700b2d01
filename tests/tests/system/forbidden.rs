//! The guest `misbehave` reads, writes, calls and pushes where that is forbidden: each ends with its status and a message
//! that names the access and the place, on every host.

use crate::context::{Context, Outcome};
use crate::misbehave::{CALLERS, boot};
use guest_interface::status::KernelStatus;
use libtest_mimic::Trial;
use system_tests::lane::Lane;

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
/// Places around the MMIO windows, without the nearest region: on some machines that is the local APIC.
const HOST_SLOT: &str = ", not mapped)\n";
const FREED: &str = " (heap, tracked, freed or never allocated)\n";
const CLOSED_DEVICE: &str = ", MMIO, not mapped)\n";

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
    access("read host-slot", "page fault: read of 0xffff800000001000", HOST_SLOT),
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
    access("read closed-device", READ, CLOSED_DEVICE),
    access("read below-fault-stack", READ, " (guard page below the fault stack, KVA, not mapped)\n"),
    access("read above-fault-stack", READ, " (guard page above the fault stack, KVA, not mapped)\n"),
    access("read freed", READ, FREED),
    access("read given-back", READ, FREED),
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
    access("write freed", WRITE, FREED),
    access("write unmapped", WRITE, " bytes above the heap, tracked, not mapped)\n"),
    access("write host-slot", WRITE, HOST_SLOT),
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
    access("call untouched", EXECUTION, " (heap, tracked, not mapped)\n"),
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
    access("call host-slot", EXECUTION, HOST_SLOT),
    access("push zero", "double fault: no exception can be delivered to a stack at 0x0", NULL),
    access("push null", NO_STACK, NULL),
    access("push non-canonical", NO_STACK, " (non-canonical address)\n"),
    access("push top", NO_STACK, " bytes above the fault stack, KVA, not mapped)\n"),
    access("push nowhere", NO_STACK, ", KVA, not mapped)\n"),
    access("push host-slot", NO_STACK, HOST_SLOT),
    access("push text", NO_STACK, " (kernel text, KVA, not writable, executable, 4 KiB page at 0x"),
    access("push heap", NO_STACK, FREED),
    access("push device", NO_STACK, " (guard page below the test device, MMIO, not mapped)\n"),
    access("push stack", OVERFLOW, " is in the guard page below the boot stack\n"),
    access("push fault-stack", OVERFLOW, " is in the guard page below the fault stack\n"),
    access("push below-fault-stack", OVERFLOW, " is in the guard page below the fault stack\n"),
];

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (lane, everything) in Lane::ALL.map(|lane| (lane, matches!(lane, Lane::Kvm | Lane::QemuMicrovm))) {
        // One will do for the slower machines.
        for access in ACCESSES.iter().filter(|access| everything || access.act == "read null") {
            let name = format!("forbidden/{}", access.act.replace(' ', "_"));
            trials.push(context.trial(lane, &name, move || is_forbidden(context, lane, access)));
        }
    }
    trials
}

/// The message is about this access and this place, and names what was running, unless that had no stack to be found by.
fn is_forbidden(context: &Context, lane: Lane, access: &Access) -> Outcome {
    let verdict = boot(context, lane, access.act).end()?;
    let overflow = access.says == OVERFLOW;
    let (status, vmm) = match overflow {
        true => (KernelStatus::StackOverflow.code(), "a stack of the guest overflowed (status 98)"),
        false => (KernelStatus::UnhandledFault.code(), "a fault that nothing handles (status 97)"),
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
