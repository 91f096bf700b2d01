//! What the three kinds need here, each by its own types.

use super::ground::Ground;
use super::supply::{Attempt, Holder, Order, offer_frames, offer_registers, offer_small, offer_window};
use super::{Cpu, Side, Sides};
use crate::oracle::{Cache, Rights};
use crate::size::Size;
use unikernel::memory::address::VirtAddr;
use unikernel::memory::address_space::Placed;
use unikernel::memory::frame::Frame;
use unikernel::memory::page_size::{Size1GiB, Size2MiB, Size4KiB};
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use unikernel::memory::page_table::{Detached, Flushed, Kva, Mmio, Tracked};

/// A kind that the world can work with.
pub(crate) trait Modelled: Placed {
    /// What the program owns of it.
    fn side<'s, 'a>(sides: &'s mut Sides<'a>) -> &'s mut Side<'a, Self>;

    /// Rights as attributes.
    fn attributes(rights: Rights) -> Self::Attributes;

    /// Attributes as rights.
    fn rights(attributes: Self::Attributes) -> Rights;

    /// Offers memory to a range. None, if there was none to offer.
    fn offer<'a>(ground: &mut Ground<'a>, holder: Holder<'_, 'a, Self>, order: &Order) -> Option<Attempt>;

    /// Takes the leaf that was unmapped there out of what was flushed, and gives its address. A small frame is kept.
    fn take<'a>(
        _: &mut Flushed<Detached<Self, Cpu<'a>>>,
        _: &mut Ground<'a>,
        _: Size,
        _: VirtAddr,
    ) -> Option<u64> {
        None
    }
}

const fn data(rights: Rights) -> DataAccess {
    if rights.write { DataAccess::ReadWrite } else { DataAccess::ReadOnly }
}

fn rights(access: DataAccess, cache: Cache) -> Rights {
    Rights { write: access == DataAccess::ReadWrite, execute: false, cache }
}

impl Modelled for Tracked {
    fn side<'s, 'a>(sides: &'s mut Sides<'a>) -> &'s mut Side<'a, Self> {
        &mut sides.tracked
    }

    fn attributes(rights: Rights) -> DataAccess {
        data(rights)
    }

    fn rights(access: DataAccess) -> Rights {
        rights(access, Cache::WriteBack)
    }

    fn offer<'a>(ground: &mut Ground<'a>, holder: Holder<'_, 'a, Self>, order: &Order) -> Option<Attempt> {
        match order.size {
            Size::Small => offer_small(ground, holder, order),
            Size::Large => offer_frames::<Size2MiB>(ground, holder, order),
            Size::Huge => offer_frames::<Size1GiB>(ground, holder, order),
        }
    }

    fn take<'a>(
        flushed: &mut Flushed<Detached<Self, Cpu<'a>>>,
        ground: &mut Ground<'a>,
        size: Size,
        at: VirtAddr,
    ) -> Option<u64> {
        match size {
            Size::Small => {
                let frame: Frame<Size4KiB, _> = flushed.take_frame(at)?;
                let start = frame.start().as_u64();
                ground.taken.push(frame);
                Some(start)
            }
            Size::Large => Some(flushed.take_frame::<Size2MiB>(at)?.start().as_u64()),
            Size::Huge => Some(flushed.take_frame::<Size1GiB>(at)?.start().as_u64()),
        }
    }
}

impl Modelled for Mmio {
    fn side<'s, 'a>(sides: &'s mut Sides<'a>) -> &'s mut Side<'a, Self> {
        &mut sides.mmio
    }

    fn attributes(rights: Rights) -> MmioAttributes {
        let cache = match rights.cache {
            Cache::WriteCombining => DeviceCache::WriteCombining,
            Cache::Uncached | Cache::WriteBack => DeviceCache::Uncached,
        };
        MmioAttributes { access: data(rights), cache }
    }

    fn rights(attributes: MmioAttributes) -> Rights {
        let cache = match attributes.cache {
            DeviceCache::Uncached => Cache::Uncached,
            DeviceCache::WriteCombining => Cache::WriteCombining,
        };
        rights(attributes.access, cache)
    }

    fn offer<'a>(ground: &mut Ground<'a>, holder: Holder<'_, 'a, Self>, order: &Order) -> Option<Attempt> {
        match order.size {
            Size::Small => offer_registers::<Size4KiB>(ground, holder, order),
            Size::Large => offer_registers::<Size2MiB>(ground, holder, order),
            Size::Huge => offer_registers::<Size1GiB>(ground, holder, order),
        }
    }
}

impl Modelled for Kva {
    fn side<'s, 'a>(sides: &'s mut Sides<'a>) -> &'s mut Side<'a, Self> {
        &mut sides.kva
    }

    fn attributes(rights: Rights) -> KernelAccess {
        match (rights.write, rights.execute) {
            (true, _) => KernelAccess::ReadWrite,
            (false, true) => KernelAccess::ReadExecute,
            (false, false) => KernelAccess::ReadOnly,
        }
    }

    fn rights(access: KernelAccess) -> Rights {
        let write = access == KernelAccess::ReadWrite;
        Rights { write, execute: access == KernelAccess::ReadExecute, cache: Cache::WriteBack }
    }

    fn offer<'a>(ground: &mut Ground<'a>, holder: Holder<'_, 'a, Self>, order: &Order) -> Option<Attempt> {
        match order.size {
            Size::Small => offer_window::<Size4KiB>(ground, holder, order),
            Size::Large => offer_window::<Size2MiB>(ground, holder, order),
            Size::Huge => offer_window::<Size1GiB>(ground, holder, order),
        }
    }
}
