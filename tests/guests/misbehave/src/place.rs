//! Addresses at which something is forbidden, by name.

use alloc::boxed::Box;
use alloc::vec;
use core::arch::asm;
use core::hint::black_box;
use core::mem::ManuallyDrop;
use core::sync::atomic::AtomicU64;
use guest_interface::layout::ACPI_TABLES;
use unikernel::heap::{self, Pages};
use unikernel::memory::address::{PhysAddr, VirtAddr};
use unikernel::memory::frame::Frame;
use unikernel::memory::live::regions::{self, Place};
use unikernel::memory::live::{self, Live, LocalFlush, MmioWindow, in_ram_window, physical_address};
use unikernel::memory::page_size::Size4KiB;
use unikernel::memory::page_table::attributes::{DataAccess, DeviceCache, KernelAccess, MmioAttributes};
use unikernel::memory::page_table::{Kva, KvaRun, Tracked, VaRange, VirtRange, flush};
use unikernel::memory::subtree::Subtree;

/// A place by name: what makes it, if it can be made, and gives its address.
type Named = (&'static str, fn() -> Option<u64>);

pub(crate) const PLACES: &[Named] = &[
    ("null", || Some(0x10)),
    ("zero", || Some(0)),
    ("non-canonical", || Some(0x8000_0000_0010)),
    ("nowhere", || Some(0x12_3456_7000)),
    ("text", || Some(text())),
    ("rodata", || Some(&raw const CONSTANT as u64)),
    ("data", || Some(&raw const VARIABLE as u64)),
    ("stack", || Some(stack_pointer())),
    ("heap", || Some(block())),
    ("untouched", || Some(pages()?.as_mut_ptr() as u64)),
    ("freed", freed),
    ("given-back", given_back),
    ("below-stack", || Some(around(stack_pointer())?.start.as_u64() - 8)),
    ("below-heap", || Some(around(block())?.start.as_u64() - 8)),
    ("above-heap", || Some(end(around(block())?))),
    ("tracked-slot", || Some(200 << 39)),
    ("host-slot", || Some(0xffff_8000_0000_1000)),
    ("mmio-slot", || Some(0xffff_9500_0000_0000)),
    ("top", || Some(0xffff_ffff_ffff_fff8)),
    ("window-text", || Some(shown(text()))),
    ("window-rodata", || Some(shown(&raw const CONSTANT as u64))),
    ("window-heap", || Some(shown(physical_address(VirtAddr::new(block()))?.as_u64()))),
    ("window-hole", || Some(shown(0xb_0000))),
    ("window-beyond-ram", || Some(shown(1 << 40))),
    ("device", || Some(device()?.start().as_u64())),
    ("below-device", || Some(device()?.start().as_u64() - 8)),
    ("above-device", || device().map(|window| window.start().as_u64() + window.len_bytes())),
    ("closed-device", closed_device),
    ("fault-stack", || Some(FAULT_STACK + 8)),
    ("below-fault-stack", || Some(FAULT_STACK - 8)),
    ("above-fault-stack", || Some(FAULT_STACK + (32 << 10))),
    ("unmapped", unmapped),
    ("read-only", read_only),
];

/// The address of a place.
pub(crate) fn address_of(name: &str) -> Option<u64> {
    PLACES.iter().find(|(other, _)| *other == name)?.1()
}

/// Where the kernel maps the stack for double faults.
const FAULT_STACK: u64 = 0xffff_ff80_0000_1000;
/// A part of the device hole that no machine has a device in.
const NO_DEVICE: PhysAddr = PhysAddr::new(0xd000_0000);

static CONSTANT: u64 = 0x5eed_5eed_5eed_5eed;
static VARIABLE: AtomicU64 = AtomicU64::new(0x5eed_5eed_5eed_5eed);

fn text() -> u64 {
    address_of as *const () as u64
}

/// On the stack of the caller.
#[inline(always)]
fn stack_pointer() -> u64 {
    let address: u64;
    // SAFETY: copies a register.
    unsafe { asm!("mov {}, rsp", out(reg) address, options(nomem, nostack, preserves_flags)) };
    address
}

/// A block of the heap that is never freed.
fn block() -> u64 {
    Box::leak(Box::new([0xc3_u8; 64])).as_ptr() as u64
}

/// Pages of the heap, which nobody has touched.
fn pages() -> Option<ManuallyDrop<Pages>> {
    Pages::reserve(8 << 20).ok().map(ManuallyDrop::new)
}

/// In a block that was used and freed, when the heap keeps nothing.
fn freed() -> Option<u64> {
    let block = black_box(vec![1_u8; 8 << 20]);
    let address = &raw const block[5 << 20] as u64;
    drop(block);
    heap::trim();
    Some(address)
}

/// In a part of pages that was used and given back.
fn given_back() -> Option<u64> {
    let mut pages = pages()?;
    pages.part_mut(0..8 << 20)?.fill(1);
    let gone = pages.give_back(2 << 20..4 << 20);
    Some(pages.as_mut_ptr() as u64 + gone.start as u64)
}

/// The region around an address.
fn around(address: u64) -> Option<VirtRange> {
    match regions::place_of(VirtAddr::new(address))? {
        Place::Inside(region) => Some(region.range),
        _ => None,
    }
}

fn end(range: VirtRange) -> u64 {
    range.start.as_u64() + range.len_bytes
}

/// Where the RAM window shows a physical address, or would.
fn shown(phys: u64) -> u64 {
    in_ram_window(PhysAddr::new(phys)) as u64
}

/// A page of registers that stays mapped.
fn device() -> Option<&'static MmioWindow> {
    Some(Box::leak(Box::new(window()?)))
}

/// A page of registers that no device has.
pub(crate) fn window() -> Option<MmioWindow> {
    let attributes = MmioAttributes { access: DataAccess::ReadWrite, cache: DeviceCache::Uncached };
    // SAFETY: there is no device.
    unsafe { MmioWindow::map("test device", NO_DEVICE, 4096, attributes) }.ok()
}

/// Another mapping of the first page of the ACPI tables that `vmm-stub` has, writable: the RAM window shows them read-only.
pub(crate) fn tables() -> Option<VaRange<Kva, Live>> {
    let machine = live::machine()?;
    let run = KvaRun::<Size4KiB>::new(&machine, PhysAddr::new(ACPI_TABLES), 1).ok()?;
    let mut range = Subtree::<Kva>::reserve(machine, 4096, 4096).ok()?;
    let start = range.range().start;
    range.map(start, run, KernelAccess::ReadWrite).ok()?;
    Some(range)
}

fn closed_device() -> Option<u64> {
    let window = window()?;
    let start = window.start();
    let _ = window.read_u32(0)?;
    drop(window);
    Some(start.as_u64())
}

/// A page with a frame, which was written through it.
fn mapped_page() -> Option<VaRange<Tracked, Live>> {
    let machine = live::machine()?;
    let mut range = Subtree::<Tracked>::reserve(machine, 4096, 4096).ok()?;
    let start = range.range().start;
    let frame = Frame::<Size4KiB, _>::allocate(machine).ok()?;
    range.map(start, frame, DataAccess::ReadWrite).ok()?;
    let word = core::ptr::with_exposed_provenance_mut::<u64>(start.as_u64() as usize);
    // SAFETY: just mapped, to a frame of its own.
    unsafe { word.write_volatile(1) };
    Some(range)
}

/// A page that was unmapped after it was used.
fn unmapped() -> Option<u64> {
    let range = flush(mapped_page()?.unmap().ok()?, &LocalFlush).release();
    Some(range.range().start.as_u64())
}

/// A page that was made read-only after it was written.
fn read_only() -> Option<u64> {
    let range = flush(mapped_page()?.protect(DataAccess::ReadOnly).ok()?, &LocalFlush).release();
    Some(range.range().start.as_u64())
}
