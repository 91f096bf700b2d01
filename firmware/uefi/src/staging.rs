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
        map: ArrayVec<MapEntry, MAP_ENTRIES_MAX>,
    ) -> Entry {
        let address_of = |offset: usize| self.address + offset as u32;
        let it = self.hand_over;
        let code = enter::code();
        it.code[..code.len()].copy_from_slice(code);
        it.memory_map[..map.len()].copy_from_slice(&map);
        it.start_info = StartInfo::new(
            address_of(offset_of!(HandOver, command_line)).into(),
            rsdp,
            address_of(offset_of!(HandOver, memory_map)).into(),
            map.len() as u32,
        );
        it.orders.start_info = address_of(offset_of!(HandOver, start_info));
        it.orders.kernel_entry = kernel_entry;
        let mut source = address_of(size_of::<HandOver>());
        for (order, segment) in it.orders.moves.iter_mut().zip(segments) {
            *order = Move {
                destination: segment.address,
                source,
                len_bytes: segment.file_len,
                cleared_len_bytes: segment.memory_len - segment.file_len,
            };
            source += segment.file_len;
        }
        Entry {
            code: address_of(offset_of!(HandOver, code)),
            gdt: address_of(offset_of!(HandOver, gdt)),
            orders: address_of(offset_of!(HandOver, orders)),
        }
    }
}
