//! From the first Rust function to the application. [`start`] reads as the boot sequence.

mod acpi;
mod error;
mod fields;
pub(crate) mod head;
mod page_tables;
mod parameters;
mod start_info;

pub use error::BootError;

use crate::appliance;
use crate::cpu::{clock, descriptors, features, host::Host, vectors};
use crate::device::{console, milestone, result};
use crate::diagnosis::logger;
use crate::memory::guarded_stack::BOOT_STACK;
use crate::memory::heap::HEAP;
use crate::memory::image;
use crate::memory::ram::{self, Ram};
use core::cell::UnsafeCell;
use guest_interface::host_information::Milestone;
use page_tables::{Builder, OutOfTables, POOL_LEN, Table};
use parameters::Parameters;
use spin::Once;
use start_info::{PhysicalMemory, StartInfo};

static START_INFO: Once<StartInfo> = Once::new();

/// How much of memory the page tables of the head, and those that a VMM gives, map one to one.
const MAPPED_AT_START: u64 = 1 << 30;

/// Called by the head, on the boot stack, with the physical address of the PVH start info.
pub(crate) extern "C" fn start(start_info: u64) -> ! {
    clock::entered(clock::ticks());
    match boot(start_info) {
        Ok(arguments) => appliance::run(arguments),
        Err(error) => {
            // SAFETY: nobody has printed there: faults and panics never come back here.
            unsafe { console::print_emergency(format_args!("boot failed: {error}\n")) };
            crate::device::exit::kernel(guest_interface::status::KernelStatus::BootFailure)
        }
    }
}

/// The boot sequence. Returns the application's part of the command line.
fn boot(start_info: u64) -> Result<&'static str, BootError> {
    let host = Host::of_machine();
    let info = START_INFO.try_call_once(|| StartInfo::read(&MappedAtStart, start_info))?;
    if let Some((information, record)) = info.host_information {
        console::use_doorbell(information.doorbell_port);
        if let Some(port) = information.result_port {
            result::use_doorbell(port);
        }
        // SAFETY: `StartInfo` takes only a record that is whole, aligned, and in RAM that the kernel leaves alone and has
        // mapped writable, now and later.
        unsafe { milestone::use_record(record) };
        milestone::stamp_at(Milestone::KernelEntry, clock::entry_ticks());
    }
    let parameters = Parameters::read(info.command_line()?)?;
    if parameters.terminal {
        console::set_terminal();
    }
    let reserved = info.modules().chain([image::range()]);
    let mut ram = Ram::new(info.map(), reserved)?;

    descriptors::install(host);
    let mapped = install_page_tables(host, &ram)?;
    if let Err(OutOfTables { reached }) = mapped {
        ram.forget_from(reached)?;
    }
    let ram = ram::set_of_machine(ram);

    vectors::enable(host);
    clock::init(info.host_information.and_then(|(information, _)| information.tsc_hz));
    logger::init(parameters.level);
    say_hello(host, ram, &parameters, mapped);

    if ram.free().ranges().is_empty() {
        return Err(BootError::NoFreeRam);
    }
    // SAFETY: free RAM is nobody's, all RAM is mapped one to one, and this function runs once.
    unsafe { HEAP.init(ram.free()) };
    Ok(parameters.arguments)
}

/// Builds the boot page tables in their static pool and switches to them. The inner result says how far they reach.
fn install_page_tables(host: Host, ram: &Ram) -> Result<Result<(), OutOfTables>, BootError> {
    struct Pool(UnsafeCell<[Table; POOL_LEN]>);
    // SAFETY: used once, below, by the one processor that boots.
    unsafe impl Sync for Pool {}
    static POOL: Pool = Pool(UnsafeCell::new([Table::EMPTY; POOL_LEN]));

    if !features::has_no_execute() {
        return Err(BootError::NoExecuteMissing);
    }
    // SAFETY: `boot` runs once, so this is the only reference; afterwards only the processor reads the tables.
    let pool = unsafe { &mut *POOL.0.get() };
    let address = pool.as_ptr() as u64;
    let mut builder = Builder::new(pool, address, host, host.takes_1g_leaves(features::has_1g_leaves()));
    builder.map_image(&image::sections(), &[BOOT_STACK.guard()])?;
    builder.map_stack(descriptors::FAULT_STACK_MAPPED.start, &descriptors::fault_stack())?;
    let mapped = builder.map_ram(ram.all(), &image::range())?;
    // SAFETY: the tables map the running code, its data and its stack where they are; their entries use the no-execute
    // bit, which is enabled first.
    unsafe {
        if host.owns_control_registers() {
            enable_no_execute();
        }
        x86::controlregs::cr3_write(builder.root());
    }
    Ok(mapped)
}

/// Sets IA32_EFER.NXE (Intel SDM volume 4).
///
/// # Safety
/// The processor has the bit and runs at level 0.
unsafe fn enable_no_execute() {
    const NO_EXECUTE_ENABLE: u64 = 1 << 11;
    // SAFETY: the caller's promise; the other bits stay.
    unsafe {
        let efer = x86::msr::rdmsr(x86::msr::IA32_EFER);
        x86::msr::wrmsr(x86::msr::IA32_EFER, efer | NO_EXECUTE_ENABLE);
    }
}

/// The first log lines: what runs where, and what was odd about it.
fn say_hello(host: Host, ram: &Ram, parameters: &Parameters<'_>, mapped: Result<(), OutOfTables>) {
    let (all, free) = (ram.all().len_bytes(), ram.free().len_bytes());
    log::info!(
        "Freehold {} at {}, {} KiB of RAM, {} KiB free",
        env!("CARGO_PKG_VERSION"),
        host.name(),
        all >> 10,
        free >> 10
    );
    if let Some((hz, source)) = clock::frequency() {
        log::debug!("TSC at {}.{:03} MHz, {source}", hz / 1_000_000, hz / 1000 % 1000);
    }
    for range in ram.free().ranges() {
        log::debug!("free RAM {:#x} to {:#x}", range.start, range.end);
    }
    if let Err(OutOfTables { reached }) = mapped {
        log::warn!("RAM from {reached:#x} up stays unused: this host has no 1 GiB pages");
    }
    for word in parameters.unknown() {
        log::warn!(
            "kernel parameter '{word}' is not known; arguments for the application go behind a ' -- '"
        );
    }
}

/// The part of physical memory that is mapped one to one when the kernel starts.
struct MappedAtStart;

impl PhysicalMemory for MappedAtStart {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Option<()> {
        let end = address.checked_add(bytes.len() as u64)?;
        if address == 0 || end > MAPPED_AT_START {
            return None;
        }
        // SAFETY: within what is mapped; any bytes are valid, and nobody writes them meanwhile.
        unsafe { core::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }
}
