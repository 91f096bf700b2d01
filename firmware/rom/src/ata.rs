//! The first ATA disk, the master at the primary channel's ports, read by PIO (ATA/ATAPI-6, chapters 7 and 8): QEMU's machine
//! `pc` has its first disk there. Blocks have 28 bits.

use crate::disk::{Disk, ReadFailed};
use image_header::BLOCK_LEN;

const DATA: u16 = 0x1f0;
const SECTOR_COUNT: u16 = 0x1f2;
const LBA_LOW: u16 = 0x1f3;
const LBA_MID: u16 = 0x1f4;
const LBA_HIGH: u16 = 0x1f5;
const DEVICE: u16 = 0x1f6;
const STATUS: u16 = 0x1f7;
const COMMAND: u16 = 0x1f7;
const DEVICE_CONTROL: u16 = 0x3f6;

const BUSY: u8 = 1 << 7;
const DEVICE_FAULT: u8 = 1 << 5;
const DATA_REQUEST: u8 = 1 << 3;
const ERROR: u8 = 1 << 0;
/// What a port reads where there is no channel.
const NO_CHANNEL: u8 = 0xff;
/// What the status reads where the channel has no master.
const NO_DEVICE: u8 = 0;

/// With block addresses, the master; the low four bits are the block's highest. Two bits are obsolete, and set.
const MASTER_LBA: u8 = 0xe0;
/// No interrupts.
const NO_INTERRUPTS: u8 = 1 << 1;

const READ_SECTORS: u8 = 0x20;
const IDENTIFY_DEVICE: u8 = 0xec;

/// Offset of the number of blocks in what IDENTIFY DEVICE returns: words 60 and 61.
const IDENTIFY_BLOCKS: usize = 120;
const _: () = assert!(IDENTIFY_BLOCKS + 4 <= BLOCK_LEN);

/// Most blocks of a command; the register's 0 means that many.
const BLOCKS_MAX: usize = 256;

/// How long a disk may take, in ticks of the time stamp counter: 17 s at 1 GHz, and at 5 GHz more than 3 s.
const PATIENCE: u64 = 1 << 34;

/// I/O ports and the time. The trait is the seam for tests.
pub trait Ports {
    /// Reads a byte.
    fn read(&mut self, port: u16) -> u8;
    /// Writes a byte.
    fn write(&mut self, port: u16, value: u8);
    /// Reads a block from a port, 32 bits at a time.
    fn read_block(&mut self, port: u16, to: &mut [u8; BLOCK_LEN]);
    /// The time stamp counter.
    fn ticks(&mut self) -> u64;
}

/// A disk that has said what it is.
pub struct Drive<'a, P> {
    ports: &'a mut P,
    blocks: u32,
}

impl<'a, P: Ports> Drive<'a, P> {
    /// Looks for the disk. `None` if there is none, or something else than a disk, such as a CD drive.
    ///
    /// # Errors
    /// [`ReadFailed`], if something is there and does not answer.
    pub fn find(ports: &'a mut P) -> Result<Option<Self>, ReadFailed> {
        if ports.read(STATUS) == NO_CHANNEL {
            return Ok(None);
        }
        ports.write(DEVICE_CONTROL, NO_INTERRUPTS);
        ports.write(DEVICE, MASTER_LBA);
        if ports.read(STATUS) == NO_DEVICE {
            return Ok(None);
        }
        let mut drive = Self { ports, blocks: 0 };
        drive.wait(0)?;
        drive.ports.write(COMMAND, IDENTIFY_DEVICE);
        // What is no disk answers with an error.
        if drive.wait(DATA_REQUEST | ERROR)? & ERROR != 0 {
            return Ok(None);
        }
        let mut identity = [0; BLOCK_LEN];
        drive.ports.read_block(DATA, &mut identity);
        let (_, blocks) = identity.split_at(IDENTIFY_BLOCKS);
        drive.blocks = blocks.first_chunk().copied().map_or(0, u32::from_le_bytes);
        Ok(Some(drive))
    }

    /// Waits until the disk is not busy and one of these bits is set, if there are any, and returns the status.
    fn wait(&mut self, wanted: u8) -> Result<u8, ReadFailed> {
        let start = self.ports.ticks();
        loop {
            let status = self.ports.read(STATUS);
            if status & BUSY == 0 && (wanted == 0 || status & wanted != 0) {
                return Ok(status);
            }
            if self.ports.ticks().wrapping_sub(start) > PATIENCE {
                return Err(ReadFailed);
            }
        }
    }

    /// Has the disk read this many blocks, at most [`BLOCKS_MAX`].
    fn command(&mut self, block: u32, count: usize) -> Result<(), ReadFailed> {
        self.wait(0)?;
        let [low, mid, high, highest] = block.to_le_bytes();
        self.ports.write(DEVICE, MASTER_LBA | highest);
        self.ports.write(SECTOR_COUNT, count as u8);
        self.ports.write(LBA_LOW, low);
        self.ports.write(LBA_MID, mid);
        self.ports.write(LBA_HIGH, high);
        self.ports.write(COMMAND, READ_SECTORS);
        Ok(())
    }

    /// Takes the next block of a command.
    fn next(&mut self, to: &mut [u8; BLOCK_LEN]) -> Result<(), ReadFailed> {
        let status = self.wait(DATA_REQUEST | ERROR | DEVICE_FAULT)?;
        if status & (ERROR | DEVICE_FAULT) != 0 {
            return Err(ReadFailed);
        }
        self.ports.read_block(DATA, to);
        Ok(())
    }
}

impl<P: Ports> Disk for Drive<'_, P> {
    fn read(&mut self, mut block: u32, to: &mut [u8]) -> Result<(), ReadFailed> {
        // The number of blocks has 28 bits, whatever a disk says: the rest of the register is flags.
        let end = u64::from(block) + to.len().div_ceil(BLOCK_LEN) as u64;
        if end > u64::from(self.blocks.min(1 << 28)) {
            return Err(ReadFailed);
        }
        for part in to.chunks_mut(BLOCKS_MAX * BLOCK_LEN) {
            self.command(block, part.len().div_ceil(BLOCK_LEN))?;
            block += BLOCKS_MAX as u32;
            let (whole, rest) = part.as_chunks_mut::<BLOCK_LEN>();
            for to in whole {
                self.next(to)?;
            }
            if !rest.is_empty() {
                let mut last = [0; BLOCK_LEN];
                self.next(&mut last)?;
                rest.copy_from_slice(&last[..rest.len()]);
            }
        }
        Ok(())
    }
}
