//! Windows on device registers: mapped as long as they exist, between guard pages, cached as asked, refused over RAM.

use super::regions::{self, Region};
use super::{Live, LocalFlush, machine};
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::page_size::{PageSize, Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::MmioAttributes;
use crate::memory::page_table::level::LeafSize;
use crate::memory::page_table::{Error, Mmio, MmioRun, VaRange, VirtRange, flush};
use crate::memory::subtree::Subtree;
use core::fmt;

/// Device registers, mapped as long as this exists.
#[derive(Debug)]
pub struct MmioWindow {
    name: &'static str,
    /// The registers.
    registers: VirtRange,
    /// With the guards. Gone when it was given back.
    range: Option<VaRange<Mmio, Live>>,
}

/// Why there is no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmioError {
    /// The kernel has no address space of its own yet.
    TooEarly,
    /// What can't be mapped, and why.
    Map(Error),
}

impl fmt::Display for MmioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooEarly => {
                formatter.write_str("device registers can be mapped once the kernel's page tables are loaded")
            }
            Self::Map(cause) => cause.fmt(formatter),
        }
    }
}

impl core::error::Error for MmioError {}

impl From<Error> for MmioError {
    fn from(error: Error) -> Self {
        Self::Map(error)
    }
}

impl MmioWindow {
    /// Maps the pages around `len_bytes` bytes of registers at a physical address; `name` is what messages call them. Refused
    /// is what the kernel knows as RAM: whole pages of the memory map, without those that it had to leave out.
    ///
    /// # Errors
    /// [`MmioError`]: among others [`Error::IsRam`] over RAM, [`Error::BadPhysicalRange`] beyond the last physical address.
    ///
    /// # Safety
    /// Nothing that is done through the window has the device read or write memory that it may not.
    pub unsafe fn map(
        name: &'static str,
        registers: PhysAddr,
        len_bytes: u64,
        attributes: MmioAttributes,
    ) -> Result<Self, MmioError> {
        let machine = machine().ok_or(MmioError::TooEarly)?;
        let offset = registers.as_u64() % PAGE_LEN;
        let start = PhysAddr::new(registers.as_u64() - offset);
        let bad = Error::BadPhysicalRange { start: registers, len_bytes, align_bytes: 1 };
        let pages = match len_bytes.checked_add(offset).map(|len| len.div_ceil(PAGE_LEN)) {
            Some(pages) if len_bytes > 0 && pages < 1 << 36 => pages,
            _ => return Err(bad.into()),
        };
        let len = pages * PAGE_LEN;
        let range = if start.is_aligned(Size2MiB::LEN_BYTES) && len.is_multiple_of(Size2MiB::LEN_BYTES) {
            map_leaves::<Size2MiB>(machine, start, len, attributes)?
        } else {
            map_leaves::<Size4KiB>(machine, start, len, attributes)?
        };
        let guard = (range.range().len_bytes - len) / 2;
        let at = VirtAddr::new(range.range().start.as_u64() + guard);
        regions::add(Region::new(name, VirtRange::new(at, len)).guarded(guard, guard));
        let registers = VirtRange::new(VirtAddr::new(at.as_u64() + offset), len_bytes);
        Ok(Self { name, registers, range: Some(range) })
    }

    /// Address of the first register.
    #[must_use]
    pub const fn start(&self) -> VirtAddr {
        self.registers.start
    }

    /// Length of the registers, in bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.registers.len_bytes
    }

    /// Reads the 32-bit register at an offset; `None` if it is not one of the window's, or unaligned.
    #[must_use]
    pub fn read_u32(&self, offset: u64) -> Option<u32> {
        // SAFETY: `register` has checked that it is mapped, and aligned. Volatile, as a device is behind it.
        Some(unsafe { self.register(offset)?.read_volatile() })
    }

    /// Writes the 32-bit register at an offset, if it is one of the window's, and aligned. Says whether it is.
    #[must_use]
    pub fn write_u32(&self, offset: u64, value: u32) -> bool {
        match self.register(offset) {
            // SAFETY: as for reading; what it makes the device do was promised when the window was made.
            Some(register) => unsafe { register.write_volatile(value) },
            None => return false,
        }
        true
    }

    fn register(&self, offset: u64) -> Option<*mut u32> {
        let end = offset.checked_add(size_of::<u32>() as u64)?;
        let address = (self.start().as_u64().wrapping_add(offset)) as usize;
        let fits = end <= self.len_bytes() && address.is_multiple_of(align_of::<u32>());
        fits.then(|| core::ptr::with_exposed_provenance_mut(address))
    }
}

/// Maps leaves of one size, with a guard of that size on either side.
fn map_leaves<S: LeafSize>(
    machine: Live,
    start: PhysAddr,
    len_bytes: u64,
    attributes: MmioAttributes,
) -> Result<VaRange<Mmio, Live>, Error> {
    let run = MmioRun::<S>::new(&machine, start, len_bytes / S::LEN_BYTES)?;
    let mut range = Subtree::<Mmio>::reserve(machine, len_bytes + 2 * S::LEN_BYTES, S::LEN_BYTES)?;
    let at = VirtAddr::new(range.range().start.as_u64() + S::LEN_BYTES);
    match range.map(at, run, attributes) {
        Ok(()) => Ok(range),
        Err(rejected) => {
            give_back(range);
            Err(rejected.error)
        }
    }
}

/// Gives addresses back at which nothing is mapped. If there are too many pieces of free ones, these stay unused.
fn give_back(range: VaRange<Mmio, Live>) {
    if let Err(rejected) = Subtree::give_back(range) {
        log::warn!("addresses of device registers stay in use: {}", rejected.error);
    }
}

impl Drop for MmioWindow {
    fn drop(&mut self) {
        let Some(range) = self.range.take() else { return };
        regions::remove(self.name, range.range());
        match range.unmap() {
            Ok(detached) => give_back(flush(detached, &LocalFlush).release()),
            Err(rejected) => log::warn!("{} stays mapped: {}", self.name, rejected.error),
        }
    }
}
