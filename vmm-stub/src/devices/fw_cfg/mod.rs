//! QEMU's firmware configuration device (docs/specs/fw_cfg), by which [firmware](crate::boot::firmware) gets [`items`]: selector
//! and data register, and DMA. Nothing can be written into an item.
//!
//! The guest is hostile. A transfer is done if all of what it writes to is RAM of the guest's own; else nothing is copied, and the
//! descriptor says so, if that is in RAM. One transfer copies at most 4 GiB, in parts, between which the machine can be stopped.

pub(crate) mod items;

use crate::devices::bus::NOBODY;
use crate::devices::fw_cfg::items::Items;
use crate::memory::GuestMemory;
use crate::memory::layout::ROM;
use guest_interface::fw_cfg::{
    DATA, DMA, DMA_ERROR, DMA_READ, DMA_SELECT, DMA_SIGNATURE, DMA_SKIP, DMA_WRITE, KEY_SIGNATURE, SELECTOR,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

/// The first port.
pub(crate) const FIRST: u16 = SELECTOR;
/// The last one.
pub(crate) const LAST: u16 = DMA_LOW + 3;

/// The low half of the DMA address register.
const DMA_LOW: u16 = DMA + 4;

/// Bytes of a DMA descriptor.
const DESCRIPTOR_LEN: usize = 16;

/// Bytes that are copied at a time.
const PART_LEN: usize = 64 << 10;

/// A transfer that was not done, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused;

/// The device of one machine.
pub(crate) struct FwCfg {
    items: Items,
    memory: GuestMemory,
    stop: Arc<AtomicBool>,
    /// The current item, and how much of it was read, at most all.
    key: u16,
    offset: u32,
    /// The high half of a descriptor's address.
    dma_high: u32,
    part: Vec<u8>,
}

impl FwCfg {
    /// `stop` says that the machine shall stop.
    pub(crate) fn new(items: Items, memory: GuestMemory, stop: Arc<AtomicBool>) -> Self {
        Self { items, memory, stop, key: KEY_SIGNATURE, offset: 0, dma_high: 0, part: vec![0; PART_LEN] }
    }

    /// The guest wrote `data` to one of the ports.
    pub(crate) fn write(&mut self, port: u16, data: &[u8]) {
        match (port, data) {
            (SELECTOR, &[low, high]) => self.select(u16::from_le_bytes([low, high])),
            (DMA, &[a, b, c, d]) => self.dma_high = u32::from_be_bytes([a, b, c, d]),
            (DMA_LOW, &[a, b, c, d]) => {
                let high = u64::from(std::mem::take(&mut self.dma_high));
                self.transfer(GuestAddress(high << 32 | u64::from(u32::from_be_bytes([a, b, c, d]))));
            }
            _ => {}
        }
    }

    /// The guest reads `data` from one of the ports. KVM gives all that one string instruction reads from the data register at
    /// once.
    pub(crate) fn read(&mut self, port: u16, data: &mut [u8]) {
        let signature =
            port.checked_sub(DMA).and_then(|at| DMA_SIGNATURE.get(at.into()..)?.get(..data.len()));
        match (port, signature) {
            (DATA, _) => {
                if self.items.read(self.key, self.offset, data).is_err() {
                    data.fill(0);
                }
                self.advance(data.len() as u64);
            }
            (_, Some(signature)) => data.copy_from_slice(signature),
            _ => data.fill(NOBODY),
        }
    }

    fn select(&mut self, key: u16) {
        (self.key, self.offset) = (key, 0);
    }

    fn advance(&mut self, len: u64) {
        let end = self.items.len_bytes(self.key);
        // At most the end, which fits.
        self.offset = (u64::from(self.offset) + len).min(end.into()) as u32;
    }

    /// Works on a descriptor, if all of that is RAM, and says there whether that could be done.
    fn transfer(&mut self, descriptor: GuestAddress) {
        let mut bytes = [0; DESCRIPTOR_LEN];
        let is_there = self.is_writable(descriptor, DESCRIPTOR_LEN)
            && self.memory.read_slice(&mut bytes, descriptor).is_ok();
        if is_there {
            let result = if self.follow(bytes).is_ok() { 0 } else { DMA_ERROR };
            // It was found to be writable.
            let _ = self.memory.write_slice(&result.to_be_bytes(), descriptor);
        }
    }

    fn follow(&mut self, descriptor: [u8; DESCRIPTOR_LEN]) -> Result<(), Refused> {
        let [c0, c1, c2, c3, l0, l1, l2, l3, address @ ..] = descriptor;
        let control = u32::from_be_bytes([c0, c1, c2, c3]);
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        if control & DMA_READ != 0 {
            self.copy_to(u64::from_be_bytes(address), len as usize)
        } else if control & DMA_WRITE != 0 {
            Err(Refused)
        } else {
            if control & DMA_SKIP != 0 {
                self.advance(len.into());
            }
            Ok(())
        }
    }

    /// Copies from the current item into memory.
    fn copy_to(&mut self, address: u64, len: usize) -> Result<(), Refused> {
        if !self.is_writable(GuestAddress(address), len) {
            return Err(Refused);
        }
        for start in (0..len).step_by(PART_LEN) {
            // Relaxed suffices: the flag guards no data.
            if self.stop.load(Ordering::Relaxed) {
                return Err(Refused);
            }
            let part = &mut self.part[..PART_LEN.min(len - start)];
            self.items.read(self.key, self.offset, part).map_err(|_| Refused)?;
            self.memory.write_slice(part, GuestAddress(address + start as u64)).map_err(|_| Refused)?;
            self.advance(PART_LEN.min(len - start) as u64);
        }
        Ok(())
    }

    /// Whether all of a range is memory that the guest may write to.
    fn is_writable(&self, start: GuestAddress, len: usize) -> bool {
        let overlaps_rom = start.0 < ROM.end() && start.0.saturating_add(len as u64) > ROM.start;
        !overlaps_rom && self.memory.check_range(start, len)
    }
}

#[cfg(test)]
mod tests;
