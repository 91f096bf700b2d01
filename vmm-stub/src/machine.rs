//! A machine on KVM: built from memory, image and one vCPU, run to its end, and taken apart.
//!
//! ```text
//! read image -> map memory -> slots in KVM -> load image, boot data -> CPUID, registers -> vCPU thread -> end
//!      or firmware                            or items for firmware
//! ```

use crate::boot::image::Image;
use crate::boot::start::{Appliance, Payload, Start};
use crate::boot::{acpi, firmware, load, page_tables, start_info};
use crate::devices::bus::PortBus;
use crate::devices::console::Console;
use crate::devices::fw_cfg::FwCfg;
use crate::devices::fw_cfg::items::Items;
use crate::error::Error;
use crate::host::kvm::{Flavour, KvmHost};
use crate::host::pvm;
use crate::kvm_statistics::Statistics;
use crate::kvm_statistics::source::Sources;
use crate::memory::backing::Backing;
use crate::memory::firmware::Firmware;
use crate::memory::size::MemoryLen;
use crate::memory::slots::{MemorySlots, SlotDemands};
use crate::memory::{GuestMemory, backing};
use crate::report::Ending;
use crate::result::Published;
use crate::statistics::ExitCounts;
use crate::stoppable_thread::{StoppableThread, Wake};
use crate::vcpu::cpuid;
use crate::vcpu::registers::{self, Location};
use crate::vcpu::run::{End, run_until_end};
use crate::wait::Signals;
use guest_interface::host_information::HostInformation;
use guest_interface::layout::BOOT_PAGE_TABLES;
use guest_interface::ports;
use guest_interface::status::{ExitStatus, VmmStatus};
use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, VcpuFd, VmFd};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

/// Number of vCPUs.
const PROCESSORS: u8 = 1;

/// A machine that is ready to run.
pub(crate) struct Machine {
    /// Keeps the machine alive in KVM, with its memory slots.
    vm: VmFd,
    vcpu: VcpuFd,
    memory: GuestMemory,
    slots: MemorySlots,
    tsc_hz: Option<u64>,
    sources: Option<Sources>,
    wants_result: bool,
    /// For firmware, if there is some.
    items: Option<Items>,
}

/// What somebody asked for that a machine gives besides its ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What the guest publishes.
    pub(crate) result: bool,
    /// What KVM counts.
    pub(crate) statistics: bool,
    /// In it, how many pages the guest has written.
    pub(crate) dirty_log: bool,
}

/// What is left of a machine that has run.
pub(crate) struct Finished {
    /// Known unless KVM failed.
    pub(crate) ending: Result<Ending, Error>,
    pub(crate) counts: ExitCounts,
    pub(crate) lost_bytes: u64,
    pub(crate) dropped_records: u64,
    /// Whether the last that was printed is no whole line.
    pub(crate) is_in_line: bool,
    pub(crate) published: Published,
    /// If they were asked for.
    pub(crate) statistics: Option<Result<Statistics, Error>>,
    /// When the vCPU first entered the guest, and when it left it for the last time.
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    pub(crate) memory: GuestMemory,
    pub(crate) tsc_hz: Option<u64>,
}

impl Machine {
    /// Builds a machine on a host and loads what it starts with.
    ///
    /// # Errors
    /// For memory the host lacks, for what KVM refuses, and [`Error::Interrupted`] if memory takes time.
    pub(crate) fn build(
        host: KvmHost,
        start: &Start,
        memory_len: MemoryLen,
        backing: Option<Backing>,
        wanted: Wanted,
        signals: &Signals,
    ) -> Result<Self, Error> {
        let sources = wanted.statistics.then(|| Sources::open(&host)).transpose()?;
        let memory = backing::map(memory_len, backing, || signals.go_on())?;
        let demands = SlotDemands {
            protects_rom: host.kvm.check_extension(Cap::ReadonlyMem),
            notes_writes: wanted.dirty_log,
        };
        let firmware = start.firmware().map(Firmware::map).transpose()?;
        let slots = MemorySlots::add(&host.vm, &memory, firmware.as_ref(), demands)?;

        let tsc_hz = host.kvm.check_extension(Cap::GetTscKhz).then(|| host.vcpu.get_tsc_khz().ok()).flatten();
        let tsc_hz = tsc_hz.map(|khz| u64::from(khz) * 1000).filter(|&hz| hz != 0);
        let information = HostInformation {
            doorbell_port: ports::DOORBELL,
            tsc_hz,
            result_port: wanted.result.then_some(ports::RESULT),
        };
        let cpuid = set_cpuid(&host)?;
        let items = match start {
            Start::Appliance(Appliance { image, command_line, .. }) => {
                load::load(image, &memory)?;
                start_info::write(&memory, memory_len, command_line, &information, PROCESSORS)?;
                set_start_state(&host, &cpuid, image, &memory)?;
                None
            }
            // The vCPU stays in the state that KVM gives it, that of a reset.
            Start::Firmware { payload, .. } => {
                if let Payload::Appliance(Appliance { image, .. }) = payload {
                    load::load(image, &memory)?;
                }
                acpi::write(&memory, PROCESSORS).map_err(|source| Error::WriteGuest(source.into()))?;
                Some(firmware::items(memory_len, &information, payload))
            }
        };
        let KvmHost { vm, vcpu, .. } = host;
        Ok(Self { vm, vcpu, memory, slots, tsc_hz, sources, wants_result: wanted.result, items })
    }

    /// Runs the machine to its end, or until the time limit or a signal ends it.
    ///
    /// # Errors
    /// For a failure of the VMM itself; what goes wrong in the guest is an [`Ending`].
    pub(crate) fn run(self, signals: &Signals, limit: Option<Duration>) -> Result<Finished, Error> {
        let Self { vm, mut vcpu, memory, slots, tsc_hz, sources, wants_result, items } = self;
        let output = std::io::stdout().as_fd().try_clone_to_owned().map_err(Error::system("print"))?;
        let stop = Arc::new(AtomicBool::new(false));
        // A file and not Stdout, whose buffer and retries would come between the console and a signal.
        let console = Console::new(File::from(output), stop.clone());
        let fw_cfg = items.map(|items| FwCfg::new(items, memory.clone(), stop.clone()));
        let mut bus = PortBus::new(memory.clone(), console, wants_result, fw_cfg);

        let work_stop = stop.clone();
        let thread = StoppableThread::start("vcpu0", stop, move || {
            let mut counts = ExitCounts::default();
            let started = Instant::now();
            let end = run_until_end(&mut vcpu, &mut bus, &work_stop, &mut counts);
            let ended = Instant::now();
            bus.finish();
            let location = Location::read(&vcpu, end.as_ref().is_ok_and(End::is_triple_fault));
            (end, location, counts, bus, started, ended)
        })?;
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let wake = thread.wait(signals, deadline);
        thread.stop()?;
        let (end, location, counts, mut bus, started, ended) = thread.join()?;
        let statistics = sources.map(|sources| sources.read(&vm, &slots));
        drop(vm);

        let ending = end.and_then(|end| Ok(ending(end, wake?, limit, location)));
        Ok(Finished {
            ending,
            counts,
            lost_bytes: bus.lost_bytes(),
            dropped_records: bus.dropped_records(),
            is_in_line: bus.is_in_line(),
            published: bus.take_published(),
            statistics,
            started,
            ended,
            memory,
            tsc_hz,
        })
    }
}

/// How a machine ended, from how its vCPU did and why the wait for it ended. A guest that ended by itself has, even if
/// its time was up in the same moment.
fn ending(end: End, wake: Wake, limit: Option<Duration>, location: Option<Location>) -> Ending {
    let (status, detail) = match (end, wake) {
        (End::Status(status), _) => (status, None),
        (End::Unrunnable(reason), _) => (ExitStatus::Vmm(VmmStatus::GuestUnrunnable), Some(reason)),
        (End::Stopped, Wake::Interrupted) => (ExitStatus::Vmm(VmmStatus::Interrupted), None),
        (End::Stopped, Wake::Timeout | Wake::Ended) => {
            (ExitStatus::Vmm(VmmStatus::Timeout), limit.map(|limit| format!("it was {limit:?}")))
        }
    };
    Ending { status, detail, location }
}

/// Sets the CPUID of the vCPU. Returns it.
fn set_cpuid(host: &KvmHost) -> Result<CpuId, Error> {
    let mut cpuid =
        host.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(Error::kvm("to tell its CPUID"))?;
    cpuid::correct(&mut cpuid, 0, host.kvm.check_extension(Cap::TscDeadlineTimer));
    host.vcpu.set_cpuid2(&cpuid).map_err(Error::kvm("the CPUID"))?;
    Ok(cpuid)
}

/// Sets registers and, where guests start in 64-bit mode, page tables.
fn set_start_state(host: &KvmHost, cpuid: &CpuId, image: &Image, memory: &GuestMemory) -> Result<(), Error> {
    match host.flavour {
        Flavour::Ordinary => registers::set_pvh_start_state(&host.vcpu, image.entry().pvh),
        Flavour::Pvm => {
            memory
                .write_slice(&page_tables::build(), GuestAddress(BOOT_PAGE_TABLES))
                .map_err(|source| Error::WriteGuest(source.into()))?;
            pvm::set_start_state(&host.vcpu, cpuid, image.entry().long_mode)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(10));

    fn status(end: End, wake: Wake) -> ExitStatus {
        ending(end, wake, LIMIT, None).status
    }

    #[test]
    fn a_stopped_guest_ends_by_what_stopped_it() {
        assert_eq!(status(End::Stopped, Wake::Timeout), ExitStatus::Vmm(VmmStatus::Timeout));
        assert_eq!(status(End::Stopped, Wake::Interrupted), ExitStatus::Vmm(VmmStatus::Interrupted));
        assert_eq!(ending(End::Stopped, Wake::Timeout, LIMIT, None).detail.unwrap(), "it was 10s");
    }

    #[test]
    fn a_guest_that_ended_in_time_keeps_its_status() {
        let own = ExitStatus::from_guest(3);
        for wake in [Wake::Ended, Wake::Timeout, Wake::Interrupted] {
            assert_eq!(status(End::Status(own), wake), own);
        }
        let unrunnable = ending(End::Unrunnable("because".to_owned()), Wake::Ended, None, None);
        assert_eq!(unrunnable.status, ExitStatus::Vmm(VmmStatus::GuestUnrunnable));
        assert_eq!(unrunnable.detail.unwrap(), "because");
    }
}
