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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// How a drive behaves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Kind {
        /// No channel.
        Nothing,
        /// A channel without a master.
        Empty,
        /// A drive of another kind, which refuses IDENTIFY DEVICE.
        Packet,
        /// A disk.
        Good,
        /// A disk that is busy for ever.
        Busy,
        /// A disk that accepts commands, and has no data.
        Silent,
        /// A disk that reports an error, or a fault, at this block.
        Broken { block: u32, status: u8 },
    }

    /// The primary channel with a drive on it. A command takes a while.
    pub(crate) struct Channel {
        kind: Kind,
        bytes: Vec<u8>,
        /// What IDENTIFY DEVICE says.
        blocks: u32,
        registers: [u8; 8],
        status: u8,
        busy_reads: u32,
        /// How often the status has been read since something happened.
        asked: u32,
        /// Blocks that are still to be taken, and the next one; none is that of IDENTIFY DEVICE.
        left: u32,
        next: Option<u32>,
        ticks: u64,
        reads: Vec<(u32, u32)>,
    }

    impl Channel {
        fn new(kind: Kind, bytes: Vec<u8>) -> Self {
            let blocks = (bytes.len() / BLOCK_LEN) as u32;
            let status = if kind == Kind::Busy { BUSY } else { 0x50 };
            Self {
                kind,
                bytes,
                blocks,
                registers: [0; 8],
                status,
                busy_reads: 0,
                asked: 0,
                left: 0,
                next: None,
                ticks: u64::MAX - PATIENCE / 4,
                reads: vec![],
            }
        }

        pub(crate) fn nothing() -> Self {
            Self::new(Kind::Nothing, vec![])
        }

        pub(crate) fn disk(bytes: Vec<u8>) -> Self {
            Self::new(Kind::Good, bytes)
        }

        /// The status once the next block is there, or what ends the command.
        fn settle(&mut self) {
            self.busy_reads = 3;
            self.asked = 0;
            self.status = match (self.kind, self.next) {
                (Kind::Silent, _) => 0x50,
                (Kind::Broken { block, status }, Some(next)) if block == next => 0x50 | status,
                _ if self.left > 0 => 0x50 | DATA_REQUEST,
                _ => 0x50,
            };
        }
    }

    impl Ports for Channel {
        fn read(&mut self, port: u16) -> u8 {
            assert_eq!(port, STATUS);
            match self.kind {
                Kind::Nothing => return NO_CHANNEL,
                Kind::Empty => return NO_DEVICE,
                _ => {}
            }
            self.asked += 1;
            assert!(self.asked < 1000, "it waits for ever");
            if self.busy_reads > 0 {
                self.busy_reads -= 1;
                return BUSY | 0x7f;
            }
            self.status
        }

        fn write(&mut self, port: u16, value: u8) {
            if port == DEVICE_CONTROL {
                return assert_eq!(value & 0x04, 0, "no reset");
            }
            self.registers[usize::from(port - DATA)] = value;
            if port != COMMAND {
                return;
            }
            let register = |port: u16| self.registers[usize::from(port - DATA)];
            assert_eq!(register(DEVICE) & 0xf0, MASTER_LBA);
            let highest = register(DEVICE) & 0xf;
            let block =
                u32::from_le_bytes([register(LBA_LOW), register(LBA_MID), register(LBA_HIGH), highest]);
            match value {
                IDENTIFY_DEVICE => (self.left, self.next) = (1, None),
                READ_SECTORS => {
                    self.left = if register(SECTOR_COUNT) == 0 { 256 } else { register(SECTOR_COUNT).into() };
                    self.next = Some(block);
                    self.reads.push((block, self.left));
                }
                _ => panic!("command {value:#x}"),
            }
            self.settle();
            if self.kind == Kind::Packet {
                self.status = 0x50 | ERROR;
            }
        }

        fn read_block(&mut self, port: u16, to: &mut [u8; BLOCK_LEN]) {
            assert_eq!((port, self.status & (BUSY | DATA_REQUEST), self.busy_reads), (DATA, DATA_REQUEST, 0));
            match self.next {
                None => {
                    to.fill(0xee);
                    to[IDENTIFY_BLOCKS..IDENTIFY_BLOCKS + 4].copy_from_slice(&self.blocks.to_le_bytes());
                }
                Some(block) => {
                    to.copy_from_slice(&self.bytes[block as usize * BLOCK_LEN..][..BLOCK_LEN]);
                    self.next = Some(block + 1);
                }
            }
            self.left -= 1;
            self.settle();
        }

        fn ticks(&mut self) -> u64 {
            self.ticks = self.ticks.wrapping_add(PATIENCE / 50);
            self.ticks
        }
    }

    fn content(blocks: usize) -> Vec<u8> {
        (0..blocks * BLOCK_LEN).map(|index| (index / 5 + index / BLOCK_LEN) as u8).collect()
    }

    fn found(kind: Kind) -> Result<bool, ReadFailed> {
        Drive::find(&mut Channel::new(kind, content(1))).map(|drive| drive.is_some())
    }

    #[test]
    fn only_a_disk_is_one() {
        assert_eq!(found(Kind::Good), Ok(true));
        for kind in [Kind::Nothing, Kind::Empty, Kind::Packet] {
            assert_eq!(found(kind), Ok(false), "{kind:?}");
        }
    }

    #[test]
    fn a_disk_that_does_not_answer_is_not_waited_for_for_ever() {
        assert_eq!(found(Kind::Busy), Err(ReadFailed));
        assert_eq!(found(Kind::Silent), Err(ReadFailed));
    }

    #[test]
    fn blocks_are_read_in_commands_of_at_most_256() {
        let mut channel = Channel::disk(content(700));
        let mut to = vec![0; 600 * BLOCK_LEN + 3];
        Drive::find(&mut channel).unwrap().unwrap().read(99, &mut to).unwrap();
        assert!(to[..] == content(700)[99 * BLOCK_LEN..][..to.len()]);
        assert_eq!(channel.reads, [(99, 256), (355, 256), (611, 89)]);
    }

    #[test]
    fn the_end_of_the_disk_is_its_end() {
        let mut channel = Channel::disk(content(3));
        let mut drive = Drive::find(&mut channel).unwrap().unwrap();
        assert_eq!(drive.read(2, &mut [0; BLOCK_LEN]), Ok(()));
        assert_eq!(drive.read(2, &mut [0; BLOCK_LEN + 1]), Err(ReadFailed));
        assert_eq!(drive.read(3, &mut [0; 1]), Err(ReadFailed));
        assert_eq!(drive.read(u32::MAX, &mut [0; 1]), Err(ReadFailed));
    }

    #[test]
    fn blocks_beyond_28_bits_are_not_read_whatever_the_disk_says() {
        let mut channel = Channel::disk(vec![]);
        channel.blocks = u32::MAX;
        let mut drive = Drive::find(&mut channel).unwrap().unwrap();
        assert_eq!(drive.read(0xfff_ffff, &mut [0; BLOCK_LEN + 1]), Err(ReadFailed));
        assert_eq!(drive.read(0x1000_0000, &mut [0; 1]), Err(ReadFailed));
        assert!(channel.reads.is_empty());
    }

    #[test]
    fn an_error_in_the_middle_fails_the_read() {
        for status in [ERROR, DEVICE_FAULT, ERROR | DATA_REQUEST] {
            let mut channel = Channel::new(Kind::Broken { block: 5, status }, content(9));
            let mut drive = Drive::find(&mut channel).unwrap().unwrap();
            assert_eq!(drive.read(2, &mut [0; 3 * BLOCK_LEN]), Ok(()));
            assert_eq!(drive.read(2, &mut [0; 4 * BLOCK_LEN]), Err(ReadFailed), "{status:#x}");
        }
    }
}
