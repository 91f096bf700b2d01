//! The guest as a platform.

use crate::heap_pages::HeapPages;
use alloc::string::String;
use core::fmt;
use core::time::Duration;
use memory_stress::churn::map::typed::TypedCore;
use memory_stress::kernel::{Kernels, Vectors};
use memory_stress::platform::Platform;
use memory_stress::program::{self, Verdict};
use unikernel::ApplicationStatus;
use unikernel::cpu::{clock, vectors};
use unikernel::device::{console, result};
use unikernel::heap;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::live::{self, Live, LocalFlush};

struct Guest;

/// Runs the program with the guest's arguments.
pub(crate) fn run(arguments: &[String]) -> ApplicationStatus {
    match program::run(arguments, &Guest) {
        Verdict::Passed => ApplicationStatus::SUCCESS,
        Verdict::Incomplete => ApplicationStatus::FAILURE,
        Verdict::Refused => ApplicationStatus::USAGE,
        Verdict::WrongWords => unikernel::appliance::fail_verification(),
        Verdict::AuditFailed => unikernel::appliance::fail_audit(),
    }
}

impl Platform for Guest {
    type Mapper = TypedCore<Live, LocalFlush>;
    type DemandMemory = HeapPages;

    fn now(&self) -> Duration {
        clock::since_boot()
    }

    fn free_bytes(&self) -> u64 {
        heap::statistics().free_bytes
    }

    fn trim(&self) {
        heap::trim();
    }

    fn kernels(&self) -> Kernels {
        let vectors = match vectors::widest() {
            vectors::Vectors::None => Vectors::None,
            vectors::Vectors::Avx2 => Vectors::Avx2,
            vectors::Vectors::Avx512 => Vectors::Avx512,
        };
        // SAFETY: the kernel has enabled them.
        unsafe { Kernels::new(vectors) }
    }

    fn physical_address(&self, address: u64) -> Option<u64> {
        live::physical_address(VirtAddr::new(address)).map(PhysAddr::as_u64)
    }

    fn mapper(&self) -> Option<Self::Mapper> {
        let machine = live::machine()?;
        // SAFETY: these are the tables that the processor walks.
        Some(unsafe {
            TypedCore::new(machine, LocalFlush, |_, _, address| {
                core::ptr::with_exposed_provenance_mut(address.as_u64() as usize)
            })
        })
    }

    fn demand_memory(&self) -> HeapPages {
        HeapPages
    }

    fn is_terminal(&self) -> bool {
        console::is_terminal()
    }

    fn print(&self, text: fmt::Arguments<'_>) {
        console::print(text);
        if self.is_terminal() {
            console::flush();
        }
    }

    fn publish(&self, document: &str) {
        // Whether anybody asked for results is the host's to say.
        let _ = result::publish(document);
    }

    fn has_page_tables(&self) -> bool {
        true
    }

    fn audit(&self) -> bool {
        let Some(report) = unikernel::appliance::audit_report() else { return false };
        self.print(format_args!("{report}\n"));
        report.is_clean()
    }

    fn dump_address_space(&self) {
        unikernel::appliance::dump_address_space();
    }
}
