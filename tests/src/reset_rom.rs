//! ROMs that a machine starts in after a reset: a few instructions each, which do what firmware does, and what it should not.

use guest_interface::debug_stream::status_message;
use guest_interface::fw_cfg::{DATA, DMA, DMA_READ, DMA_SELECT, DMA_SKIP, SELECTOR};
use guest_interface::ports::{DEBUGCON, EXIT, SERIAL};

/// Bytes of a ROM that QEMU takes, too: 64 KiB, all of the segment that a processor starts in.
pub const LEN: usize = 64 << 10;

/// Where code lies in that segment: in the ROM's last page, which the shortest ROM has.
const CODE: u16 = 0xf000;
/// Its physical address.
const CODE_ADDRESS: u32 = 0xffff_f000;
/// Where a processor starts, from the ROM's end.
const RESET_VECTOR: usize = 16;
/// `jmp rel16` from there to [`CODE`].
const JUMP_TO_CODE: [u8; 3] = [0xe9, 0x0d, 0xf0];

/// Where the code keeps a DMA descriptor, in RAM.
const DESCRIPTOR: u16 = 0x500;
/// Where it puts an item before it prints it.
const BUFFER: u16 = 0x1000;

/// Code for real mode, where all data segments begin at 0.
#[derive(Clone, Debug, Default)]
pub struct Code(Vec<u8>);

impl Code {
    /// No instruction yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no instruction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds these instructions.
    #[must_use]
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Adds an instruction with a 16-bit operand at its end.
    fn word(self, instruction: impl AsRef<[u8]>, operand: u16) -> Self {
        self.bytes(instruction).bytes(operand.to_le_bytes())
    }

    /// Adds an instruction with a 32-bit operand at its end.
    fn long(self, instruction: impl AsRef<[u8]>, operand: u32) -> Self {
        self.bytes(instruction).bytes(operand.to_le_bytes())
    }

    /// `mov dx, port`.
    fn port(self, port: u16) -> Self {
        self.word([0xba], port)
    }

    /// `mov dword ptr [address], value`.
    fn store(self, address: u16, value: u32) -> Self {
        self.word([0x66, 0xc7, 0x06], address).bytes(value.to_le_bytes())
    }

    /// Ends the machine with a status, which is told as the kernel tells it.
    #[must_use]
    pub fn end(self, status: u8) -> Self {
        // mov eax, status; out EXIT, eax; jmp $
        self.tell(status).long([0x66, 0xb8], status.into()).bytes([0x66, 0xe7, EXIT as u8, 0xeb, 0xfe])
    }

    /// The same in 32-bit code.
    #[must_use]
    pub fn end_32(self, status: u8) -> Self {
        self.tell(status).long([0xb8], status.into()).bytes([0xe7, EXIT as u8, 0xeb, 0xfe])
    }

    fn tell(self, status: u8) -> Self {
        // mov al, byte; out DEBUGCON, al
        status_message(status)
            .into_iter()
            .fold(self, |code, byte| code.bytes([0xb0, byte, 0xe6, DEBUGCON as u8]))
    }

    /// Prints bytes of [an item](Self::read) that was read.
    #[must_use]
    pub fn print(self, len: u16) -> Self {
        // mov si, BUFFER; mov cx, len; rep outsb
        self.word([0xbe], BUFFER).word([0xb9], len).port(SERIAL).bytes([0xf3, 0x6e])
    }

    /// Reads the first bytes of an item of fw_cfg from the data register.
    #[must_use]
    pub fn read(self, key: u16, len: u16) -> Self {
        // mov ax, key; out dx, ax; mov di, BUFFER; mov cx, len; rep insb
        let selected = self.word([0xb8], key).port(SELECTOR).bytes([0xef]);
        selected.word([0xbf], BUFFER).word([0xb9], len).port(DATA).bytes([0xf3, 0x6c])
    }

    /// Reads bytes of an item by DMA; ends the machine with 1 if the device reports an error.
    #[must_use]
    pub fn read_by_dma(self, key: u16, offset: u32, len: u32) -> Self {
        let skip = u32::from(key) << 16 | DMA_SELECT | DMA_SKIP;
        let code = self.transfer(skip, offset, 0).transfer(DMA_READ, len, BUFFER.into());
        code.expect_control(0)
    }

    /// Ends the machine with 1 if something else is in the control field of the descriptor that was last worked on.
    #[must_use]
    pub fn expect_control(self, control: u32) -> Self {
        // cmp dword ptr [DESCRIPTOR], control; je over
        let otherwise = Self::new().end(1);
        let code = self.word([0x66, 0x81, 0x3e], DESCRIPTOR).bytes(control.to_be_bytes());
        code.bytes([0x74, otherwise.0.len() as u8]).bytes(otherwise.0)
    }

    /// Has fw_cfg work on a DMA descriptor.
    #[must_use]
    pub fn transfer(self, control: u32, len: u32, address: u32) -> Self {
        let fields = [control, len, 0, address];
        let stored = (DESCRIPTOR..)
            .step_by(4)
            .zip(fields)
            .fold(self, |code, (place, field)| code.store(place, field.swap_bytes()));
        // xor eax, eax; out dx, eax; mov eax, address; out dx, eax
        let high = stored.port(DMA).bytes([0x66, 0x31, 0xc0, 0x66, 0xef]);
        high.port(DMA + 4).long([0x66, 0xb8], u32::from(DESCRIPTOR).swap_bytes()).bytes([0x66, 0xef])
    }

    /// Goes on in 32-bit code, with flat segments of 4 GiB.
    #[must_use]
    pub fn protect(self) -> Self {
        const CODE_SEGMENT: u64 = 0x00cf_9b00_0000_ffff;
        const DATA_SEGMENT: u64 = 0x00cf_9300_0000_ffff;
        let table = [0, CODE_SEGMENT, DATA_SEGMENT].map(u64::to_le_bytes).concat();
        // jmp over the table and what says where it is
        let code = self.bytes([0xeb, table.len() as u8 + 6]);
        let table_at = code.0.len() as u16;
        let limit = table.len() as u16 - 1;
        let pointer_at = table_at + table.len() as u16;
        let code = code.bytes(table).word([], limit).long([], CODE_ADDRESS + u32::from(table_at));
        // lgdtl cs:[pointer]; mov eax, cr0; or al, 1; mov cr0, eax
        let code = code.word([0x2e, 0x66, 0x0f, 0x01, 0x16], CODE + pointer_at);
        let code = code.bytes([0x0f, 0x20, 0xc0, 0x0c, 1, 0x0f, 0x22, 0xc0]);
        // ljmpl 8:behind; mov eax, 16; mov ds, eax; mov ss, eax
        let behind = CODE_ADDRESS + code.0.len() as u32 + 8;
        let code = code.long([0x66, 0xea], behind).bytes([8, 0]);
        code.long([0xb8], 16).bytes([0x8e, 0xd8, 0x8e, 0xd0])
    }

    /// In 32-bit code: jumps to the address that is the item which was read.
    #[must_use]
    pub fn jump_to_item(self) -> Self {
        self.long([0xff, 0x25], BUFFER.into())
    }

    /// In 32-bit code: writes to the ROM's first instruction, and ends with 1 if another value is there then, else with 0.
    #[must_use]
    pub fn write_to_rom(self) -> Self {
        let first = self.0[0];
        let spoilt = Self::new().end_32(1);
        // mov byte ptr [CODE_ADDRESS], !first; cmp byte ptr [CODE_ADDRESS], first; je over
        let code = self.long([0xc6, 0x05], CODE_ADDRESS).bytes([!first]);
        let code = code.long([0x80, 0x3d], CODE_ADDRESS).bytes([first, 0x74, spoilt.0.len() as u8]);
        code.bytes(spoilt.0).end_32(0)
    }

    /// The ROM with this code, of so many bytes; a page at least.
    #[must_use]
    pub fn into_rom(self, len: usize) -> Vec<u8> {
        let mut rom = vec![0xff; len];
        let code_at = len - (0x1_0000 - usize::from(CODE));
        rom[code_at..][..self.0.len()].copy_from_slice(&self.0);
        rom[len - RESET_VECTOR..][..JUMP_TO_CODE.len()].copy_from_slice(&JUMP_TO_CODE);
        rom
    }
}
