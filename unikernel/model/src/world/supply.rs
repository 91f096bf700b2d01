//! What mappings are made from: frames in each form, device registers, and RAM that others own.

use super::Cpu;
use super::ground::{Ground, squeezed};
use super::modelled::Modelled;
use crate::operation::Form;
use crate::oracle::{Mapped, Rights};
use crate::size::Size;
use unikernel::memory::PAGE_LEN;
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::frame::{Frame, FrameBatch, FrameRun};
use unikernel::memory::kind::Kind;
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::level::LeafSize;
use unikernel::memory::page_table::{
    Backing, Cursor, Error, Kva, KvaRun, Mmio, MmioRun, Rejected, Tracked, VaRange, VirtRange,
};
use unikernel::memory::simulation::RING_0;

/// What takes a mapping.
pub(crate) enum Holder<'h, 'a, O: Modelled> {
    /// With the frames that the caller brings for tables, if it does.
    Range(&'h mut VaRange<O, Cpu<'a>>, Option<&'h mut FrameBatch<Size4KiB, Cpu<'a>>>),
    Cursor(&'h mut Cursor<O, Cpu<'a>>),
}

/// What is to be mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) at: VirtAddr,
    pub(crate) size: Size,
    pub(crate) count: u64,
    pub(crate) form: Form,
    pub(crate) memory: u8,
    pub(crate) rights: Rights,
    pub(crate) spare: Option<u64>,
}

/// What was offered, how many frames were free then, and what came of it.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) mapped: Mapped,
    pub(crate) free: u64,
    pub(crate) result: Result<(), Error>,
}

/// Device registers, above all RAM.
const DEVICE: u64 = 1 << 40;

/// Maps a backing.
fn put<'a, O: Modelled, S: LeafSize, B: Backing<O, S, Cpu<'a>>>(
    cpu: Cpu<'a>,
    holder: Holder<'_, 'a, O>,
    order: &Order,
    backing: B,
    memory: Vec<u64>,
) -> Attempt {
    put_by(cpu, holder, order, backing, memory, |holder, backing, attributes| match holder {
        Holder::Range(range, None) => range.map::<S, B>(order.at, backing, attributes),
        Holder::Range(range, Some(tables)) => {
            range.map_with_tables::<S, B>(order.at, backing, attributes, tables)
        }
        Holder::Cursor(cursor) => cursor.map::<S, B>(order.at, backing, attributes),
    })
}

/// Maps one page, by a cursor's shorter way if a cursor maps it.
fn put_page<'a, O: Modelled>(
    cpu: Cpu<'a>,
    holder: Holder<'_, 'a, O>,
    order: &Order,
    leaf: O::Leaf<Size4KiB, Cpu<'a>>,
    start: u64,
) -> Attempt
where
    O::Leaf<Size4KiB, Cpu<'a>>: Backing<O, Size4KiB, Cpu<'a>>,
{
    put_by(cpu, holder, order, leaf, vec![start], |holder, leaf, attributes| match holder {
        Holder::Range(range, None) => range.map::<Size4KiB, _>(order.at, leaf, attributes),
        Holder::Range(range, Some(tables)) => {
            range.map_with_tables::<Size4KiB, _>(order.at, leaf, attributes, tables)
        }
        Holder::Cursor(cursor) => cursor.map_page(order.at, leaf, attributes),
    })
}

fn put_by<'h, 'a, O: Modelled, S: LeafSize, B: Backing<O, S, Cpu<'a>>>(
    cpu: Cpu<'a>,
    holder: Holder<'h, 'a, O>,
    order: &Order,
    backing: B,
    memory: Vec<u64>,
    map: impl FnOnce(Holder<'h, 'a, O>, B, O::Attributes) -> Result<(), Rejected<B>>,
) -> Attempt {
    let count = backing.count();
    assert_eq!(count, memory.len() as u64, "the backing's own count");
    let range = VirtRange::new(order.at, count * S::LEN_BYTES);
    let mapped = Mapped { range, size: order.size, memory, rights: order.rights };
    let attributes = O::attributes(order.rights);
    let (free, result) = squeezed(cpu, order.spare, |free| {
        let result = map(holder, backing, attributes);
        let refused = |Rejected { error, input }: Rejected<B>| {
            assert_eq!(input.count(), count, "what comes back of a refused mapping");
            error
        };
        (free, result.map_err(refused))
    });
    Attempt { mapped, free, result }
}

/// Addresses of `count` neighbours.
fn addresses<S: LeafSize>(start: PhysAddr, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |index| start.as_u64() + index * S::LEN_BYTES)
}

/// Offers 4 KiB frames to the heap.
pub(super) fn offer_small<'a>(
    ground: &mut Ground<'a>,
    holder: Holder<'_, 'a, Tracked>,
    order: &Order,
) -> Option<Attempt> {
    if order.form == Form::Taken
        && let Some(frame) = ground.taken.pop()
    {
        let memory = vec![frame.start().as_u64()];
        return Some(put::<Tracked, Size4KiB, _>(ground.cpu, holder, order, frame, memory));
    }
    if order.form == Form::Page {
        let frame = Frame::allocate(ground.cpu).ok()?;
        let start = frame.start().as_u64();
        return Some(put_page::<Tracked>(ground.cpu, holder, order, frame, start));
    }
    offer_frames::<Size4KiB>(ground, holder, order)
}

/// Offers frames of any size to the heap.
pub(super) fn offer_frames<'a, S: LeafSize>(
    ground: &Ground<'a>,
    holder: Holder<'_, 'a, Tracked>,
    order: &Order,
) -> Option<Attempt> {
    let cpu = ground.cpu;
    match order.form {
        Form::Single => {
            let frame = Frame::<S, _>::allocate(cpu).ok()?;
            let memory = vec![frame.start().as_u64()];
            Some(put::<Tracked, S, _>(cpu, holder, order, frame, memory))
        }
        Form::Run | Form::Taken | Form::Page => {
            let run = FrameRun::<S, _>::allocate(cpu, order.count).ok()?;
            let memory = addresses::<S>(run.start(), run.count()).collect();
            Some(put::<Tracked, S, _>(cpu, holder, order, run, memory))
        }
        Form::Batch(pattern) => {
            let (batch, memory) = pieces::<S>(cpu, order.count, pattern)?;
            Some(put::<Tracked, S, _>(cpu, holder, order, batch, memory))
        }
    }
}

/// Frames in pieces that lie apart.
fn pieces<S: LeafSize>(
    cpu: Cpu<'_>,
    count: u64,
    mut pattern: u8,
) -> Option<(FrameBatch<S, Cpu<'_>>, Vec<u64>)> {
    let mut batch = FrameBatch::new(cpu);
    let mut memory = Vec::new();
    let mut between = Vec::new();
    while batch.count() < count {
        let len = [64, 1, 2, 7][usize::from(pattern & 3)].min(count - batch.count());
        pattern = pattern.rotate_right(2);
        let run = FrameRun::<S, _>::allocate(cpu, len).ok()?;
        memory.extend(addresses::<S>(run.start(), len));
        assert!(batch.push(run).is_ok(), "all frames are of one machine");
        between.push(Frame::<Size4KiB, _>::allocate(cpu).ok()?);
    }
    Some((batch, memory))
}

macro_rules! offer_window {
    ($offer:ident, $kind:ident, $run:ident, $what:literal) => {
        #[doc = $what]
        pub(super) fn $offer<'a, S: LeafSize>(
            ground: &Ground<'a>,
            holder: Holder<'_, 'a, $kind>,
            order: &Order,
        ) -> Option<Attempt> {
            let mut order = *order;
            let cpu = ground.cpu;
            let start = start(ground, Kind::$kind, &mut order);
            let phys = PhysAddr::new(start);
            let made = $run::<S>::new(&cpu, phys, order.count);
            let expected = window(ground, Kind::$kind, start, &order);
            assert_eq!(made.err(), expected.err(), "a window on {start:#x}: {order:?}");
            let run = made.ok()?;
            if order.form == Form::Page {
                let leaf = $run::<Size4KiB>::new(&cpu, phys, 1).ok()?.leaf(0)?;
                return Some(put_page::<$kind>(cpu, holder, &order, leaf, start));
            }
            let memory = addresses::<S>(phys, order.count).collect();
            Some(match run.leaf(0) {
                Some(leaf) if order.count == 1 => put::<$kind, S, _>(cpu, holder, &order, leaf, memory),
                _ => put::<$kind, S, _>(cpu, holder, &order, run, memory),
            })
        }
    };
}

offer_window!(offer_registers, Mmio, MmioRun, "Offers device registers.");
offer_window!(offer_window, Kva, KvaRun, "Offers RAM that others own.");

/// Where the window's memory starts. Kernel memory is never writable and executable: rights are cut down to what it takes.
fn start(ground: &Ground<'_>, kind: Kind, order: &mut Order) -> u64 {
    let memory = u64::from(order.memory);
    let size_bytes = order.size.len_bytes();
    let (which, shift) = (memory % 4, memory / 4 % 2 * size_bytes);
    let start = match (kind, memory) {
        (_, 31) => 1 << 30,
        (Kind::Mmio, 30) => 0,
        (_, 30) => PHYSICAL_END - size_bytes,
        (_, 29) => ground.ram[0].end - PAGE_LEN,
        (Kind::Mmio, _) => DEVICE + which * Size::Huge.len_bytes() + shift,
        _ if order.size == Size::Huge => size_bytes,
        _ if order.rights.execute => ground.text.start + shift % Size::Large.len_bytes(),
        _ => which * Size::Large.len_bytes() + shift % Size::Large.len_bytes(),
    };
    if kind == Kind::Kva {
        let end = start + order.count * size_bytes;
        order.rights = permitted(ground, order.rights, core::slice::from_ref(&(start..end)));
    }
    start
}

/// Rights that leave no physical page writable and executable, where leaves map these.
pub(super) fn permitted(ground: &Ground<'_>, rights: Rights, memory: &[core::ops::Range<u64>]) -> Rights {
    let text = &ground.text;
    let all_text = memory.iter().all(|part| text.start <= part.start && part.end <= text.end);
    let any_text = memory.iter().any(|part| part.start < text.end && text.start < part.end);
    if rights.write && any_text || rights.execute && !all_text { Rights::READ_ONLY } else { rights }
}

/// Behind the last physical address of the machines.
const PHYSICAL_END: u64 = 1 << RING_0.physical_address_bits;

/// Whether there is such a window.
fn window(ground: &Ground<'_>, kind: Kind, start: u64, order: &Order) -> Result<(), Error> {
    let align_bytes = order.size.len_bytes();
    let len_bytes = order.count * align_bytes;
    let phys = PhysAddr::new(start);
    if len_bytes == 0 || !start.is_multiple_of(align_bytes) || start + len_bytes > PHYSICAL_END {
        return Err(Error::BadPhysicalRange { start: phys, len_bytes, align_bytes });
    }
    let (all, any) = ground.ram_in(start, len_bytes);
    match kind {
        Kind::Mmio if any => Err(Error::IsRam { start: phys, len_bytes }),
        Kind::Kva if !all => Err(Error::NotRam { start: phys, len_bytes }),
        _ => Ok(()),
    }
}
