//! fw_cfg's DMA interface (QEMU's docs/specs/fw_cfg): the device copies whole items, and has done so when the write that starts
//! it is over.

use super::ports::write_u32;
use core::ptr;
use freehold_rom::fw_cfg::{FwCfg, TransferFailed};
use guest_interface::fw_cfg::{DMA, DMA_READ, DMA_SELECT, DMA_SKIP};

/// The device.
pub(super) struct Dma;

/// A descriptor; all fields are big-endian.
#[repr(C)]
struct Descriptor {
    control: u32,
    len: u32,
    address: u64,
}

impl FwCfg for Dma {
    fn read(&mut self, key: u16, offset: u32, to: &mut [u8]) -> Result<(), TransferFailed> {
        if to.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(to.len()).map_err(|_| TransferFailed)?;
        let select = u32::from(key) << 16 | DMA_SELECT;
        if offset == 0 {
            return transfer(select | DMA_READ, len, to.as_mut_ptr());
        }
        transfer(select | DMA_SKIP, offset, ptr::null_mut())?;
        transfer(DMA_READ, len, to.as_mut_ptr())
    }
}

/// Has the device work on one descriptor. Only a reading one gives it an address, of `len` bytes that are the caller's.
fn transfer(control: u32, len: u32, to: *mut u8) -> Result<(), TransferFailed> {
    let mut descriptor = Descriptor {
        control: control.to_be(),
        len: len.to_be(),
        address: (to.expose_provenance() as u64).to_be(),
    };
    let address = (&raw mut descriptor).expose_provenance();
    // Both lie in memory that is mapped at its physical address, below 1 GiB. The upper half of the register is 0 from the
    // machine's start, and again after each transfer.
    let low = u32::try_from(address).map_err(|_| TransferFailed)?;
    // SAFETY: the device writes the control field, and the bytes at `to`, which are borrowed mutably by the caller; both have
    // been exposed to it.
    unsafe { write_u32(DMA + 4, low.to_be()) };
    // SAFETY: a field of a value that lives.
    let control = unsafe { (&raw const descriptor.control).read_volatile() };
    // The error flag alone is left if it failed; all that was written, if there is no device.
    if control == 0 { Ok(()) } else { Err(TransferFailed) }
}
