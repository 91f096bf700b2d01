//! The block of memory that the kernel is gathered in: in front what hands over to it, behind that each segment's bytes. It lies
//! where the kernel can read it when it starts, and where no segment belongs.

use crate::enter::{self, Entry, GDT, Move, Orders};
use crate::failure::Failure;
use crate::memory_map::{MAP_ENTRIES_MAX, find_room};
use crate::segments::Segment;
use crate::start_info::{MapEntry, StartInfo, Type};
use arrayvec::ArrayVec;
use core::mem::offset_of;
use guest_interface::layout::{COMMAND_LINE_LEN_MAX, PAGE_LEN};
use image_header::SEGMENTS_MAX;
use uefi::boot::{self, AllocateType};
use uefi::mem::memory_map::{MemoryDescriptor, MemoryType};

/// What is in front.
#[repr(C, align(4096))]
struct HandOver {
    code: [u8; enter::CODE_LEN_MAX],
    gdt: [u64; GDT.len()],
    orders: Orders,
    start_info: StartInfo,
    memory_map: [MapEntry; MAP_ENTRIES_MAX],
    command_line: [u8; COMMAND_LINE_LEN_MAX],
}

impl HandOver {
    const fn new() -> Self {
        Self {
            code: [0; enter::CODE_LEN_MAX],
            gdt: GDT,
            orders: Orders::NONE,
            start_info: StartInfo::new(0, 0, 0, 0),
            memory_map: [MapEntry::new(0, 0, Type::Reserved); MAP_ENTRIES_MAX],
            command_line: [0; COMMAND_LINE_LEN_MAX],
        }
    }

    /// Fills in all but the command line. `address` is the physical one of this; segments' bytes follow it.
    fn fill(
        &mut self,
        address: u32,
        kernel_entry: u32,
        segments: &[Segment],
        rsdp: u64,
        map: &[MapEntry],
    ) -> Entry {
        let address_of = |offset: usize| address + offset as u32;
        let code = enter::code();
        self.code[..code.len()].copy_from_slice(code);
        self.memory_map[..map.len()].copy_from_slice(map);
        self.start_info = StartInfo::new(
            address_of(offset_of!(Self, command_line)).into(),
            rsdp,
            address_of(offset_of!(Self, memory_map)).into(),
            map.len() as u32,
        );
        self.orders.start_info = address_of(offset_of!(Self, start_info));
        self.orders.kernel_entry = kernel_entry;
        let mut source = address_of(size_of::<Self>());
        for (order, segment) in self.orders.moves.iter_mut().zip(segments) {
            *order = Move {
                destination: segment.address,
                source,
                len_bytes: segment.file_len,
                cleared_len_bytes: segment.memory_len - segment.file_len,
            };
            source += segment.file_len;
        }
        Entry {
            code: address_of(offset_of!(Self, code)),
            gdt: address_of(offset_of!(Self, gdt)),
            orders: address_of(offset_of!(Self, orders)),
        }
    }
}

/// The block.
pub(crate) struct Staging {
    address: u32,
    hand_over: &'static mut HandOver,
    segments: ArrayVec<&'static mut [u8], SEGMENTS_MAX>,
}

impl Staging {
    /// Takes a block with room for these segments.
    ///
    /// # Errors
    /// [`Failure::NoRoom`].
    pub(crate) fn allocate<'map>(
        map: impl Iterator<Item = &'map MemoryDescriptor>,
        segments: &[Segment],
    ) -> Result<Self, Failure> {
        let file_lens = segments.iter().map(|segment| u64::from(segment.file_len));
        let len_bytes = file_lens.sum::<u64>() + size_of::<HandOver>() as u64;
        let no_room = Failure::NoRoom { len_bytes };
        let address = find_room(map, len_bytes, segments.iter().map(Segment::place)).ok_or(no_room)?;
        let pages = len_bytes.div_ceil(PAGE_LEN) as usize;
        // As code: its first part runs with the firmware's page tables.
        let block = boot::allocate_pages(AllocateType::Address(address), MemoryType::LOADER_CODE, pages);
        let block = block.map_err(|_| no_room)?;
        // SAFETY: the block is this loader's alone, and never given back; it is so long, aligned to pages, and initialized here.
        let (hand_over, mut rest) = unsafe {
            let hand_over = block.cast::<HandOver>();
            hand_over.write(HandOver::new());
            let rest = hand_over.add(1).cast::<u8>();
            let rest_len = len_bytes as usize - size_of::<HandOver>();
            rest.write_bytes(0, rest_len);
            (&mut *hand_over.as_ptr(), core::slice::from_raw_parts_mut(rest.as_ptr(), rest_len))
        };
        let mut parts = ArrayVec::new();
        for segment in segments {
            let (part, behind) = rest.split_at_mut(segment.file_len as usize);
            parts.push(part);
            rest = behind;
        }
        // `find_room` ends below 1 GiB.
        Ok(Self { address: address as u32, hand_over, segments: parts })
    }

    /// Where `len_bytes` of the command line go, at most [`COMMAND_LINE_LEN_MAX`].
    pub(crate) fn command_line(&mut self, len_bytes: u32) -> &mut [u8] {
        &mut self.hand_over.command_line[..len_bytes as usize]
    }

    /// Where a segment's bytes go.
    pub(crate) fn segment(&mut self, index: usize) -> &mut [u8] {
        self.segments[index]
    }

    /// Writes what hands over to the kernel.
    pub(crate) fn hand_over(
        self,
        kernel_entry: u32,
        segments: &[Segment],
        rsdp: u64,
        map: &[MapEntry],
    ) -> Entry {
        self.hand_over.fill(self.address, kernel_entry, segments, rsdp, map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segments;

    #[test]
    fn everything_is_where_the_kernel_is_told() {
        const BLOCK: u32 = 0x70_0000;
        let mut it = HandOver::new();
        it.command_line[..5].copy_from_slice(b"line\0");
        let segments = segments::tests::segments();
        let map = [MapEntry::new(0x10_0000, 0x1000, Type::Ram), MapEntry::new(0, 0x1000, Type::AcpiNvs)];
        let entry = it.fill(BLOCK, 0x20_0040, &segments, 0xe_0000, &map);

        let offset = |address: u32| (address - BLOCK) as usize;
        assert_eq!(offset(entry.code), offset_of!(HandOver, code));
        assert_eq!(&it.code[..enter::code().len()], enter::code());
        assert_eq!((offset(entry.gdt), it.gdt), (offset_of!(HandOver, gdt), GDT));
        assert_eq!(offset(entry.orders), offset_of!(HandOver, orders));
        assert_eq!(offset(it.orders.start_info), offset_of!(HandOver, start_info));
        assert_eq!(it.orders.kernel_entry, 0x20_0040);
        let map_at = u64::from(BLOCK) + offset_of!(HandOver, memory_map) as u64;
        let line_at = u64::from(BLOCK) + offset_of!(HandOver, command_line) as u64;
        assert_eq!(it.start_info, StartInfo::new(line_at, 0xe_0000, map_at, 2));
        assert_eq!((&it.memory_map[..2], &it.command_line[..5]), (&map[..], &b"line\0"[..]));

        let behind = BLOCK + size_of::<HandOver>() as u32;
        let orders =
            it.orders.moves.map(|it| (it.destination, it.source, it.len_bytes, it.cleared_len_bytes));
        assert_eq!(orders[0], (0x20_0000, behind, 600, 0x2000 - 600));
        assert_eq!(orders[1], (0x40_0000, behind + 600, 0xc00, 0x1400));
        assert_eq!(orders[2].0, 0, "the end of the list");
    }
}
