//! From the first Rust function to the application. [`start`] reads as the boot sequence.

mod acpi;
mod command_line;
mod error;
mod fields;
pub(crate) mod head;
mod interrupts;
mod paging;
mod parameters;
mod pvm_switch;
mod start_info;

pub use error::BootError;

use crate::appliance;
use crate::cpu::{clock, descriptors, host::Host, vectors};
use crate::device::{console, exit, fw_cfg, milestone, result};
use crate::diagnosis::logger;
use crate::environment;
use crate::memory::AddressRange;
use crate::memory::guarded_stack::BOOT_STACK;
use crate::memory::image;
use crate::memory::live::{self, BringUpError, Live, MAPPED_AT_START, RAM_WINDOW};
use crate::memory::ram::{self, MapEntry, Ram};
use acpi::{FirmwareMemory, Platform};
use command_line::CommandLineFile;
use core::ptr::NonNull;
use guest_interface::fw_cfg::FILE_COMMAND_LINE;
use guest_interface::host_information::{self, Milestone};
use parameters::Parameters;
use spin::Once;
use start_info::{PhysicalMemory, StartInfo};

static START_INFO: Once<StartInfo> = Once::new();
static COMMAND_LINE_FILE: Once<CommandLineFile> = Once::new();

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
        // SAFETY: `StartInfo` takes only a record that is whole, aligned, and in RAM that the kernel leaves alone; it is mapped
        // one to one until the record is moved to its place in the RAM window, below.
        unsafe { milestone::use_record(record) };
        milestone::stamp_at(Milestone::KernelEntry, clock::entry_ticks());
    }
    // Under the VMM that gives host information each access to a port is dear, and the command line is the one that is wanted.
    if host.is_virtual()
        && info.host_information.is_none()
        && let Some(file) = CommandLineFile::read(fw_cfg::Ports)?
    {
        COMMAND_LINE_FILE.call_once(|| file);
    }
    let line = COMMAND_LINE_FILE.get().map_or_else(|| info.command_line(), CommandLineFile::line)?;
    let parameters = Parameters::read(line)?;
    if parameters.terminal {
        console::set_terminal();
    }
    let reserved = info.modules().chain([image::range()]);
    let mut ram = Ram::new(info.map(), reserved)?;

    descriptors::install(host);
    let paging = paging::prepare(host)?;
    // SAFETY: 1, the head and VMMs map the first GiB one to one, by tables in the image or below 1 MiB. 2, by the memory map,
    // without the image and modules. 3, it is prepared. 4, `boot` runs once.
    let (machine, unused_from) =
        unsafe { live::bring_up(paging, &mut ram, &BOOT_STACK, &[descriptors::fault_stack()]) }?;
    let ram = ram::set_of_machine(ram);
    if let Some((information, record)) = info.host_information {
        let end = record + host_information::LEN as u64;
        if ram.all().ranges().iter().any(|range| range.start <= record && end <= range.end) {
            // SAFETY: as above; the window shows all RAM, and low RAM is never handed out.
            unsafe { milestone::use_record(RAM_WINDOW.as_u64() + record) };
        } else {
            milestone::use_no_record();
        }
        if let Some(port) = information.result_port {
            result::use_doorbell(machine, port).map_err(BringUpError::from)?;
        }
    }

    vectors::enable(host);
    clock::init(info.host_information.and_then(|(information, _)| information.tsc_hz));
    logger::init(parameters.level);
    say_hello(host, ram, &parameters, unused_from);

    let platform = read_acpi(machine, info);
    if let Some(power_off) = platform.as_ref().and_then(|platform| platform.power_off) {
        exit::use_power_off(power_off);
    }

    live::heap::start(machine)?;
    // Under the VMM that gives host information nothing is at the pins of such controllers, and each access to a port is dear.
    let local_apic = platform.map(|platform| platform.local_apic_address);
    interrupts::start(info.host_information.is_none(), local_apic);
    environment::set(parameters.environment());
    appliance::at_end(parameters.audit, parameters.dump);
    Ok(parameters.arguments)
}

/// The first log lines: what runs where, and what was odd about it.
fn say_hello(host: Host, ram: &Ram, parameters: &Parameters<'_>, unused_from: Option<u64>) {
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
    let source = if COMMAND_LINE_FILE.is_completed() { FILE_COMMAND_LINE } else { "the start info" };
    log::debug!("command line from {source}");
    for range in ram.free().ranges() {
        log::debug!("free RAM {:#x} to {:#x}", range.start, range.end);
    }
    if let Some(address) = unused_from {
        log::warn!(
            "RAM from {address:#x} up stays unused: what is noted about frames has to fit into the first GiB"
        );
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
        let image = image::range();
        let is_in_image = address < image.end && image.start < end;
        if address == 0 || end > MAPPED_AT_START || is_in_image {
            return None;
        }
        // SAFETY: within what is mapped, and outside of the image, where all that this kernel writes at the start lies; any bytes
        // are valid.
        unsafe { core::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Some(())
    }
}

/// What ACPI says of the machine; nothing, if there are no tables, or bad ones.
fn read_acpi(machine: Live, info: &StartInfo) -> Option<Platform> {
    match acpi::read(&FirmwareTables { machine, info }, info.rsdp) {
        Ok(Some(platform)) => {
            let count = platform.processors.enabled();
            log::debug!("ACPI: {count} processors, local APIC at {:#x}", platform.local_apic_address);
            for id in platform.processors.apic_ids() {
                log::trace!("ACPI: a processor with APIC id {id}");
            }
            Some(platform)
        }
        Ok(None) => {
            log::debug!("no ACPI tables");
            None
        }
        Err(error) => {
            log::warn!("the ACPI tables are not used: {error}");
            None
        }
    }
}

/// Where PCs have I/O APICs, local APICs and the flash of their firmware.
const APICS_AND_FLASH: AddressRange = 0xfec0_0000..0x1_0000_0000;

/// Firmware tables, as the memory map and the RAM window have them.
struct FirmwareTables<'a> {
    machine: Live,
    info: &'a StartInfo,
}

// SAFETY: 1, what is shown once stays mapped for ever. 2, it is read-only in the window, or below 1 MiB, where this kernel
// writes nothing but the milestones of a record of its own.
unsafe impl FirmwareMemory for FirmwareTables<'_> {
    fn show(&self, physical: u64, len_bytes: u64) -> Option<NonNull<u8>> {
        let is_kept = |page: &AddressRange| {
            let kept = |entry: MapEntry| {
                !entry.is_ram && entry.range.start <= page.start && page.end <= entry.range.end
            };
            // Maps call the I/O APIC, local APICs and flash reserved, too.
            !APICS_AND_FLASH.contains(&page.start) && self.info.map().any(kept)
        };
        live::show_firmware(self.machine, is_kept, physical, len_bytes)
    }
}
