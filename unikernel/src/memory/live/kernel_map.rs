//! What the kernel maps for itself, all of kind Kva: its image by section, stacks with guard pages, all of RAM.

use super::ram_window::{RAM_WINDOW, RANGE};
use crate::memory::AddressRange;
use crate::memory::PAGE_LEN;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::address_space::NULL_GUARD_BYTES;
use crate::memory::image::Section;
use crate::memory::page_size::{PageSize, Size1GiB, Size2MiB, Size4KiB};
use crate::memory::page_table::attributes::KernelAccess;
use crate::memory::page_table::level::{L4, LeafSize, Level};
use crate::memory::page_table::{Error, Kva, KvaRun, Machine, VaRange, VirtRange};
use crate::memory::subtree::Subtree;

/// A stack that is mapped at an address of its own, between two guard pages.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// What messages call it.
    pub(crate) name: &'static str,
    /// Where it lies in RAM, in whole pages.
    pub(crate) memory: AddressRange,
    /// Where it is mapped, in whole pages.
    pub(crate) window: u64,
}

/// What is to be mapped.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// All RAM, in ascending order.
    pub(super) ram: &'a [AddressRange],
    /// The image, one to one, in ascending order.
    pub(super) sections: &'a [Section],
    /// Pages inside of the sections that stay unmapped there.
    pub(super) guards: &'a [AddressRange],
    /// Stacks with windows of their own.
    pub(super) stacks: &'a [Stack],
}

/// Maps all of it. Gives back the range of the RAM window; the others are kept for ever, with all of the first root slot, so
/// that nothing else is ever mapped beside the image.
pub(super) fn map_kernel<M: Machine>(machine: M, plan: &Plan<'_>) -> Result<VaRange<Kva, M>, Error> {
    let first_slot = VirtRange::new(VirtAddr::new(NULL_GUARD_BYTES), (1 << L4::SHIFT) - NULL_GUARD_BYTES);
    let mut image = Subtree::<Kva>::reserve_at(machine, first_slot)?;
    for section in plan.sections {
        let mut start = section.range.start;
        for guard in plan.guards.iter().filter(|guard| section.range.contains(&guard.start)) {
            show(machine, &mut image, start, start..guard.start, section.access())?;
            start = guard.end;
        }
        show(machine, &mut image, start, start..section.range.end, section.access())?;
    }
    for stack in plan.stacks {
        let len = stack.memory.end - stack.memory.start;
        let guarded = VirtRange::new(VirtAddr::new(stack.window - PAGE_LEN), len + 2 * PAGE_LEN);
        let mut range = Subtree::<Kva>::reserve_at(machine, guarded)?;
        show(machine, &mut range, stack.window, stack.memory.clone(), KernelAccess::ReadWrite)?;
    }
    let mut window = Subtree::<Kva>::reserve_at(machine, RANGE)?;
    for range in plan.ram {
        show_ram(machine, &mut window, range, plan.sections)?;
    }
    Ok(window)
}

/// Shows a range of RAM in the window: what the image only reads or executes can't be written there either.
fn show_ram<M: Machine>(
    machine: M,
    window: &mut VaRange<Kva, M>,
    range: &AddressRange,
    sections: &[Section],
) -> Result<(), Error> {
    let at = |phys: u64| RAM_WINDOW.as_u64() + phys;
    let mut start = range.start;
    for section in sections.iter().filter(|section| !section.writable) {
        let part = section.range.start.max(start)..section.range.end.min(range.end);
        if part.is_empty() {
            continue;
        }
        show(machine, window, at(start), start..part.start, KernelAccess::ReadWrite)?;
        show(machine, window, at(part.start), part.clone(), KernelAccess::ReadOnly)?;
        start = part.end;
    }
    show(machine, window, at(start), start..range.end, KernelAccess::ReadWrite)
}

/// Maps physical memory at `virt`, by the largest leaves that there are.
fn show<M: Machine>(
    machine: M,
    range: &mut VaRange<Kva, M>,
    mut virt: u64,
    mut phys: AddressRange,
    access: KernelAccess,
) -> Result<(), Error> {
    while !phys.is_empty() {
        let fits = |size: u64| (virt | phys.start).is_multiple_of(size) && phys.end - phys.start >= size;
        let step = if machine.paging().one_gib_leaves && fits(Size1GiB::LEN_BYTES) {
            show_leaves::<Size1GiB, M>(machine, range, virt, &phys, u64::MAX, access)
        } else if fits(Size2MiB::LEN_BYTES) {
            show_leaves::<Size2MiB, M>(machine, range, virt, &phys, Size1GiB::LEN_BYTES, access)
        } else {
            show_leaves::<Size4KiB, M>(machine, range, virt, &phys, Size2MiB::LEN_BYTES, access)
        }?;
        (virt, phys.start) = (virt + step, phys.start + step);
    }
    Ok(())
}

/// Maps leaves of one size, up to the next multiple of a larger one; gives back how many bytes that was.
fn show_leaves<S: LeafSize, M: Machine>(
    machine: M,
    range: &mut VaRange<Kva, M>,
    virt: u64,
    phys: &AddressRange,
    next_size: u64,
    access: KernelAccess,
) -> Result<u64, Error> {
    let to_boundary = next_size - phys.start % next_size;
    let count = (phys.end - phys.start).min(to_boundary) / S::LEN_BYTES;
    let run = KvaRun::<S>::new(&machine, PhysAddr::new(phys.start), count)?;
    range.map(VirtAddr::new(virt), run, access).map_err(|rejected| rejected.error)?;
    Ok(count * S::LEN_BYTES)
}

impl Section {
    /// What its mapping allows.
    fn access(&self) -> KernelAccess {
        match (self.writable, self.executable) {
            (_, true) => KernelAccess::ReadExecute,
            (true, false) => KernelAccess::ReadWrite,
            (false, false) => KernelAccess::ReadOnly,
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use crate::memory::audit::{audit, look_up};
    use crate::memory::frame::FrameSource;
    use crate::memory::page_table::Paging;
    use crate::memory::simulation::{PVM, RING_0, SimulatedCpu, SimulatedRam, Simulation};

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    /// First frames for tables: the last of a MiB that is not in any map.
    const TABLES: core::ops::Range<u64> = 0x80..0x100;

    fn sections() -> [Section; 4] {
        let part = |name, range, writable, executable| Section { name, range, writable, executable };
        [
            part("read-only data", 0x20_0000..0x20_3000, false, false),
            part("text", 0x20_3000..0x20_8000, false, true),
            part("data", 0x20_8000..0x21_0000, true, false),
            part("symbols", 0x21_0000..0x21_1000, false, false),
        ]
    }

    const GUARD: AddressRange = 0x20_9000..0x20_a000;
    const STACK_WINDOW: u64 = 0xffff_ff80_0000_1000;

    /// Maps a kernel on a simulated machine with this RAM, and looks at what became of it.
    fn mapped(paging: Paging, ram: &[AddressRange], check: impl Fn(SimulatedCpu<'_>)) {
        let end = ram.last().unwrap().end;
        let mut memory = SimulatedRam::new((end / PAGE_LEN) as usize, 0x100, 1);
        let machine = Simulation::new(&mut memory, paging, core::slice::from_ref(&TABLES)).unwrap();
        for range in ram {
            let (first, count) = (range.start / PAGE_LEN, (range.end - range.start) / PAGE_LEN);
            // SAFETY: nobody uses the machine yet.
            unsafe { machine.frames().reserve(first, count) }.unwrap();
        }
        let (cpu, _) = machine.boot().unwrap();
        let stack = Stack { name: "stack", memory: 0x20_a000..0x20_c000, window: STACK_WINDOW };
        let sections = sections();
        let plan = Plan { ram, sections: &sections, guards: &[GUARD], stacks: &[stack] };
        let window = map_kernel(cpu, &plan).unwrap();
        assert_eq!(window.range(), RANGE);
        check(cpu);
        let report = audit(cpu);
        assert!(report.is_clean(), "{report}");
    }

    fn leaf(cpu: SimulatedCpu<'_>, address: u64) -> Option<(u64, bool, bool, u64)> {
        let leaf = look_up(&cpu, VirtAddr::new(address))?.leaf?;
        let offset = address - leaf.range.start.as_u64();
        Some((leaf.phys.as_u64() + offset, leaf.writable, leaf.executable, leaf.range.len_bytes))
    }

    #[test]
    fn all_ram_is_in_the_window_and_nothing_else_is() {
        for paging in [RING_0, PVM] {
            let ram = [MIB..3 * GIB, 4 * GIB..5 * GIB + 5 * MIB + PAGE_LEN];
            mapped(paging, &ram, |cpu| {
                let window = |phys| leaf(cpu, RAM_WINDOW.as_u64() + phys);
                for phys in [MIB, 0x20_8000, 0x20_9000, GIB - 1, 3 * GIB - 1, 4 * GIB, 5 * GIB + 5 * MIB] {
                    let (to, writable, executable, _) = window(phys).unwrap();
                    assert_eq!((to, writable, executable), (phys, true, false), "{phys:#x}");
                }
                for phys in [0, PAGE_LEN, MIB - 1, 3 * GIB, 4 * GIB - 1, 5 * GIB + 5 * MIB + PAGE_LEN] {
                    assert_eq!(window(phys), None, "{phys:#x}");
                }
                let large = if paging.one_gib_leaves { GIB } else { 2 * MIB };
                assert_eq!(window(GIB).unwrap().3, large);
                assert_eq!(window(4 * GIB).unwrap().3, large);
                assert_eq!(window(5 * GIB).unwrap().3, 2 * MIB);
                assert_eq!(window(5 * GIB + 5 * MIB).unwrap().3, PAGE_LEN);
            });
        }
    }

    #[test]
    fn sections_keep_their_rights_and_the_window_has_no_more() {
        mapped(PVM, core::slice::from_ref(&(MIB..64 * MIB)), |cpu| {
            for (address, writable, executable) in [
                (0x20_2fff, false, false),
                (0x20_3000, false, true),
                (0x20_7fff, false, true),
                (0x20_8000, true, false),
                (0x21_0fff, false, false),
            ] {
                let found = leaf(cpu, address).unwrap();
                assert_eq!((found.0, found.1, found.2), (address, writable, executable), "{address:#x}");
                let shown = leaf(cpu, RAM_WINDOW.as_u64() + address).unwrap();
                assert_eq!((shown.0, shown.1, shown.2), (address, writable, false), "{address:#x}");
            }
            for address in [0, 0x1f_ffff, GUARD.start, GUARD.end - 1, 0x21_1000] {
                assert_eq!(leaf(cpu, address), None, "{address:#x}");
            }
            assert_eq!(leaf(cpu, STACK_WINDOW).unwrap().0, 0x20_a000);
            assert_eq!(leaf(cpu, STACK_WINDOW - 1), None, "the guard below");
            assert_eq!(leaf(cpu, STACK_WINDOW + 0x2000), None, "the guard above");
            assert!(Subtree::<Kva>::reserve(cpu, PAGE_LEN, PAGE_LEN).unwrap().range().start >= RAM_WINDOW);
        });
    }

    #[test]
    fn ram_in_many_small_pieces_is_all_shown() {
        let piece = |index: u64| MIB + index * 0x3000..MIB + index * 0x3000 + 0x2000;
        let mut ram: alloc::vec::Vec<AddressRange> = (0..20).map(piece).collect();
        ram.push(0x20_0000..0x40_0000);
        mapped(RING_0, &ram, |cpu| {
            for range in &ram {
                assert!(leaf(cpu, RAM_WINDOW.as_u64() + range.start).is_some());
                assert!(leaf(cpu, RAM_WINDOW.as_u64() + range.end - 1).is_some());
            }
            assert_eq!(leaf(cpu, RAM_WINDOW.as_u64() + MIB + 0x2000), None);
        });
    }

    #[test]
    fn an_image_outside_of_ram_is_refused() {
        let mut memory = SimulatedRam::new(0x1000, 0x100, 1);
        let machine = Simulation::new(&mut memory, PVM, core::slice::from_ref(&TABLES)).unwrap();
        let (cpu, _) = machine.boot().unwrap();
        let sections = sections();
        let plan = Plan { ram: &[], sections: &sections, guards: &[], stacks: &[] };
        assert!(matches!(map_kernel(cpu, &plan), Err(Error::NotRam { .. })));
        assert_eq!(cpu.frames().statistics().double_frees, 0);
    }
}
