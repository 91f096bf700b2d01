//! QEMU with KVM's acceleration: guests come in by the 32-bit PVH entry. Where the KVM is KVM_PVM, which emulates them there,
//! they have to find out and to switch themselves to native running; behind that all is as if `vmm-stub` had started them so.

use crate::context::{Context, Outcome};
use crate::disk::Disk;
use guest_interface::status::KernelStatus;
use libtest_mimic::Trial;
use std::time::Duration;
use system_tests::disk::qemu_status;
use system_tests::lane::Lane;
use system_tests::paging::Paging;
use system_tests::qemu::{Accelerator, Qemu};
use system_tests::verdict::{Failure, Verdict};

const MEMORY: &str = "64M";
/// On KVM_PVM a BIOS takes seconds.
const LIMIT: Duration = Duration::from_secs(120);
const MACHINES: [&str; 3] = ["microvm", "q35", "pc"];

/// A test of a scenario on a machine of QEMU's, with its name.
type OnMachine = (&'static str, fn(&Context, &str) -> Outcome);

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    let tests: [OnMachine; 4] = [
        ("hello", hello),
        ("memory_stress", memory_stress),
        ("kernel_tests", kernel_tests),
        ("stack_overflow", stack_overflow),
    ];
    let mut trials = Vec::new();
    for machine in MACHINES {
        for (name, test) in tests {
            let run = move || test(context, machine);
            trials.push(context.qemu_kvm_trial(&format!("{name}/{machine}"), run));
        }
    }
    trials.push(context.qemu_kvm_trial("disk/hello", || boots_from_a_disk(context)));
    trials
}

fn machine(machine: &str) -> Qemu {
    Qemu::new(Accelerator::Kvm, machine, MEMORY)
}

/// What the kernel calls the host that it runs natively on.
fn host(context: &Context) -> Result<&'static str, Failure> {
    Ok(if context.paging()? == Paging::Pvm { "PVM level 3" } else { "ring 0" })
}

fn hello(context: &Context, name: &str) -> Outcome {
    let line = r#"log=debug audit -- one "two words""#;
    let verdict = machine(name).kernel(&context.artifacts.hello).command_line(line).end(LIMIT)?;
    verdict.status(qemu_status(0))?.prints([
        &*format!("hello from Freehold, running at {}\n", host(context)?),
        "argument: \"one\"\nargument: \"two words\"\n",
        "local APIC in x2APIC mode, its timer takes TSC deadlines\n",
        "audit: clean\n",
    ])?;
    Ok(())
}

/// With the vectors that a guest of `vmm-stub` has.
fn memory_stress(context: &Context, name: &str) -> Outcome {
    let image = &context.artifacts.memory_stress;
    let native = context.boot(Lane::Kvm, image).arguments(["--size", "1M", "--method", "random"]).end()?;
    let vectors = vectors(&native)?;
    let verdict = machine(name).kernel(image).command_line("audit -- --size 4M").end(LIMIT)?;
    verdict.status(qemu_status(0))?.prints([
        &*vectors,
        "memory-stress: PASSED: 4 MiB, 10 method runs",
        "audit: clean\n",
    ])?;
    Ok(())
}

/// The end of the line that says what memory-stress begins with.
fn vectors(verdict: &Verdict) -> Result<String, Failure> {
    let stdout = verdict.status(0)?.stdout();
    let end = stdout.lines().find_map(|line| line.split_once(", vectors "));
    let end = end.ok_or_else(|| verdict.failure("memory-stress did not say its vectors"))?.1;
    Ok(format!(", vectors {end}\n"))
}

fn kernel_tests(context: &Context, name: &str) -> Outcome {
    let verdict = machine(name).kernel(&context.artifacts.kernel_tests).command_line("audit").end(LIMIT)?;
    verdict.status(qemu_status(0))?.prints([" passed, 0 failed", "audit: clean\n"])?;
    Ok(())
}

/// A page fault without a stack to be delivered on, which the host has to bring to another.
fn stack_overflow(context: &Context, name: &str) -> Outcome {
    let verdict =
        machine(name).kernel(&context.artifacts.misbehave).command_line("-- stack-overflow").end(LIMIT)?;
    verdict
        .status(qemu_status(KernelStatus::StackOverflow.code()))?
        .prints(["guard page below the boot stack", " misbehave::memory::recurse+0x"])?;
    Ok(())
}

fn boots_from_a_disk(context: &Context) -> Outcome {
    let disk = Disk::make(context, &context.artifacts.hello, &["--args", "one"])?;
    let verdict = machine("pc").disk(&disk.path).end(LIMIT)?;
    let greeting = format!("hello from Freehold, running at {}\n", host(context)?);
    verdict.status(qemu_status(0))?.prints([&*greeting, "argument: \"one\"\n"])?;
    Ok(())
}
