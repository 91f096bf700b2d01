//! The files in which KVM gives statistics: one of the machine, one of each vCPU.

use super::layout::Layout;
use super::{Statistic, Statistics, StatisticsError};
use crate::error::Error;
use crate::host::kvm::KvmHost;
use crate::memory::slots::MemorySlots;
use kvm_bindings::{KVM_CAP_BINARY_STATS_FD, KVMIO};
use kvm_ioctls::VmFd;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use vmm_sys_util::ioctl::ioctl;
use vmm_sys_util::ioctl_io_nr;

ioctl_io_nr!(KVM_GET_STATS_FD, KVMIO, 0xce);

/// The files of a machine. They have to be read before the machine goes: not all kernels keep it for them.
#[derive(Debug)]
pub(crate) struct Sources {
    vm: Source,
    vcpus: Vec<Source>,
}

impl Sources {
    /// Opens the files of a machine, and reads all of them but the statistics.
    ///
    /// # Errors
    /// [`Error::StatisticsMissing`], [`Error::StatisticsUnusable`].
    pub(crate) fn open(host: &KvmHost) -> Result<Self, Error> {
        if host.kvm.check_extension_raw(KVM_CAP_BINARY_STATS_FD.into()) <= 0 {
            return Err(Error::StatisticsMissing);
        }
        let open = || Ok(Self { vm: Source::open(&host.vm)?, vcpus: vec![Source::open(&host.vcpu)?] });
        open().map_err(Error::StatisticsUnusable)
    }

    /// Reads the statistics as they are at this moment, and how many pages were written.
    ///
    /// # Errors
    /// [`Error::StatisticsLost`].
    pub(crate) fn read(&self, vm: &VmFd, slots: &MemorySlots) -> Result<Statistics, Error> {
        let read = || {
            let vcpus = self.vcpus.iter().map(Source::read).collect::<Result<_, _>>()?;
            let statistics = self.vm.read()?;
            let dirty_pages = slots.take_written_pages(vm);
            let dirty_pages = dirty_pages.map_err(|error| StatisticsError::DirtyLog(error.into()))?;
            Ok(Statistics { vm: statistics, vcpus, dirty_pages })
        };
        read().map_err(Error::StatisticsLost)
    }
}

#[derive(Debug)]
struct Source {
    file: File,
    layout: Layout,
}

impl Source {
    /// Opens the file of a VM or vCPU.
    fn open(of: &impl AsRawFd) -> Result<Self, StatisticsError> {
        // SAFETY: the ioctl takes no argument. Of a descriptor that is no VM's or vCPU's it is refused.
        let descriptor = unsafe { ioctl(of, KVM_GET_STATS_FD()) };
        if descriptor < 0 {
            return Err(StatisticsError::Open(io::Error::last_os_error()));
        }
        // SAFETY: the kernel has just opened it for this caller, and nobody else knows it.
        let file = unsafe { File::from_raw_fd(descriptor) };
        let layout = Layout::read(|offset, len| read_at(&file, offset, len))?;
        Ok(Self { file, layout })
    }

    fn read(&self) -> Result<Vec<Statistic>, StatisticsError> {
        self.layout.statistics(|offset, len| read_at(&self.file, offset, len))
    }
}

fn read_at(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, StatisticsError> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).map_err(StatisticsError::Read)?;
    Ok(bytes)
}
