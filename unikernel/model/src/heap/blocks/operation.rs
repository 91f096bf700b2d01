//! What is done to a heap, from bytes.

use crate::bytes::Bytes;
use core::alloc::Layout;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The longest heap.
pub(super) const HEAP_MAX: usize = if cfg!(miri) { 4 * MIB } else { 64 * MIB };
/// How far behind the start of a page a heap starts at most.
pub(super) const OFFSET_MAX: usize = 12 * KIB;

/// A heap over so much memory of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeap {
    pub(super) len_bytes: usize,
    /// From the start of a page.
    pub(super) offset: usize,
}

/// What is done on a CPU of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOperation {
    pub(super) cpu: usize,
    pub(super) action: Action,
}

/// What is done. Blocks are numbered, modulo how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Allocate {
        layout: Layout,
        zeroed: bool,
    },
    Resize {
        which: u8,
        size: usize,
    },
    Free {
        which: u8,
    },
    /// All but every so many-th.
    FreeMost {
        but: u8,
    },
    Trim,
}

impl BlockHeap {
    pub(in crate::heap) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let len_bytes = bytes.one_of([
            MIB,
            64 * KIB,
            100 * KIB,
            256 * KIB,
            3 * MIB + 20 * KIB,
            16 * MIB,
            64 * MIB,
            4 * MIB,
        ]);
        let offset = bytes.one_of([0, 1, 8, 4 * KIB, OFFSET_MAX, 24]);
        Self { len_bytes: len_bytes.min(HEAP_MAX), offset }
    }
}

impl BlockOperation {
    pub(in crate::heap) fn decode(bytes: &mut Bytes<'_>) -> Self {
        let code = bytes.byte();
        let action = match code % 32 {
            0..=13 => Action::Allocate { layout: layout(bytes), zeroed: code % 4 == 3 },
            14..=20 => Action::Resize { which: bytes.byte(), size: size(bytes) },
            21..=29 => Action::Free { which: bytes.byte() },
            30 => Action::FreeMost { but: bytes.byte() % 8 + 1 },
            _ => Action::Trim,
        };
        Self { cpu: usize::from(code >> 7), action }
    }
}

/// Lengths at which another part of the heap begins.
const EDGES: [usize; 12] =
    [16, 128, KIB, 4 * KIB, 16 * KIB, 20 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB, 2 * MIB];

fn size(bytes: &mut Bytes<'_>) -> usize {
    let (how, low) = (bytes.byte(), bytes.two() << 8 | usize::from(bytes.byte()));
    match how {
        0xff => isize::MAX as usize >> (low % 24),
        0xc0.. => {
            EDGES[low % EDGES.len()] * (1 + usize::from(how % 2) * (low >> 8 & 3)) + (low >> 16) % 3 - 1
        }
        _ => {
            let bits = how % 23;
            1 + (low & ((1 << bits) - 1)) + (1 << bits >> 1)
        }
    }
}

fn layout(bytes: &mut Bytes<'_>) -> Layout {
    let (size, how) = (size(bytes), bytes.byte());
    let align = match how {
        0xff => 1 << 40,
        0xc0.. => 1 << (how % 22),
        _ => 1 << (how % 5),
    };
    Layout::from_size_align(size, align).unwrap_or(Layout::new::<u64>())
}
