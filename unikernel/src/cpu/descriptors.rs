//! Descriptor tables: the GDT with its TSS, and the IDT with a gate for every vector.

use super::exceptions;
use super::host::{
    GateType, Host, KERNEL_CODE_INDEX, KERNEL_DATA_INDEX, TSS_INDEX, USER_CODE_INDEX, USER_DATA_INDEX,
};
use crate::memory::live::Stack;
use core::cell::UnsafeCell;
use spin::Once;
use x86::Ring;
use x86::bits64::segmentation::Descriptor64;
use x86::bits64::task::TaskStateSegment;
use x86::dtables::{DescriptorTablePointer, lgdt, lidt};
use x86::irq::DOUBLE_FAULT_VECTOR;
use x86::segmentation::{
    BuildDescriptor, CodeSegmentType, DataSegmentType, Descriptor, DescriptorBuilder, GateDescriptorBuilder,
    SegmentDescriptorBuilder, SegmentSelector,
};
use x86::task::load_tr;

/// Number of entries of the GDT.
const GDT_LEN: usize = 7;
/// Number of vectors.
pub(crate) const VECTORS: usize = 256;
/// Interrupt stack table entry of the fault stack; the hardware counts from 1.
const FAULT_IST: u8 = 1;

/// Length in bytes of the stack that double faults are handled on.
const FAULT_STACK_LEN: usize = 32 << 10;

/// Where the fault stack is mapped: in the upper half, where KVM_PVM wants the stacks of a TSS.
const FAULT_STACK_WINDOW: u64 = 0xffff_ff80_0000_1000;

#[repr(C, align(4096))]
struct FaultStack(UnsafeCell<[u8; FAULT_STACK_LEN]>);

// SAFETY: Rust code only takes its address. The processor uses the bytes as a stack.
unsafe impl Sync for FaultStack {}

static FAULT_STACK: FaultStack = FaultStack(UnsafeCell::new([0; FAULT_STACK_LEN]));

/// The fault stack, as it is to be mapped: between pages that never are.
pub(crate) fn fault_stack() -> Stack {
    let start = FAULT_STACK.0.get() as u64;
    Stack { name: "fault stack", memory: start..start + FAULT_STACK_LEN as u64, window: FAULT_STACK_WINDOW }
}

/// The fault stack as the processor uses it.
pub(crate) const FAULT_STACK_MAPPED: crate::memory::AddressRange =
    FAULT_STACK_WINDOW..FAULT_STACK_WINDOW + FAULT_STACK_LEN as u64;

static TSS: Once<TaskStateSegment> = Once::new();
static TABLES: Once<Tables> = Once::new();

struct Tables {
    /// The processor writes the TSS descriptor's busy bit.
    gdt: UnsafeCell<[u64; GDT_LEN]>,
    idt: [Descriptor64; VECTORS],
}

// SAFETY: after construction only the processor touches the GDT.
unsafe impl Sync for Tables {}

/// Builds the tables for this host and loads them. The fault stack need not be mapped yet: until it is, a double
/// fault becomes a triple fault.
pub(crate) fn install(host: Host) {
    let tss = TSS.call_once(|| {
        let mut tss = TaskStateSegment::new();
        tss.set_ist(usize::from(FAULT_IST) - 1, FAULT_STACK_MAPPED.end);
        // No I/O permission bitmap: it would begin where the segment ends.
        tss.iomap_base = size_of::<TaskStateSegment>() as u16;
        tss.set_rsp(Ring::Ring0, FAULT_STACK_MAPPED.end);
        tss
    });
    let tables = TABLES.call_once(|| Tables { gdt: UnsafeCell::new(gdt(tss)), idt: idt(host) });
    let gdt_pointer = DescriptorTablePointer {
        limit: (size_of::<[u64; GDT_LEN]>() - 1) as u16,
        base: tables.gdt.get().cast::<u64>(),
    };
    // SAFETY: the tables are static and complete. The selectors in use mean the same in this GDT as in the one that the
    // head or the VMM loaded. The TSS descriptor leads to a static TSS.
    unsafe {
        lgdt(&gdt_pointer);
        load_tr(SegmentSelector::new(TSS_INDEX, Ring::Ring0));
        lidt(&DescriptorTablePointer::new_from_slice(&tables.idt));
    }
}

/// One GDT for both hosts: level 0 where ring 0 wants it, level 3 where KVM_PVM has it.
fn gdt(tss: &TaskStateSegment) -> [u64; GDT_LEN] {
    let code = |ring| -> Descriptor {
        let builder: DescriptorBuilder = SegmentDescriptorBuilder::<u32>::code_descriptor(
            0,
            u32::MAX,
            CodeSegmentType::ExecuteReadAccessed,
        );
        builder.present().dpl(ring).limit_granularity_4kb().l().finish()
    };
    let data = |ring| -> Descriptor {
        let builder: DescriptorBuilder =
            SegmentDescriptorBuilder::<u32>::data_descriptor(0, u32::MAX, DataSegmentType::ReadWriteAccessed);
        builder.present().dpl(ring).limit_granularity_4kb().db().finish()
    };
    let mut gdt = [0; GDT_LEN];
    gdt[usize::from(KERNEL_CODE_INDEX)] = code(Ring::Ring0).as_u64();
    gdt[usize::from(KERNEL_DATA_INDEX)] = data(Ring::Ring0).as_u64();
    gdt[usize::from(USER_DATA_INDEX)] = data(Ring::Ring3).as_u64();
    gdt[usize::from(USER_CODE_INDEX)] = code(Ring::Ring3).as_u64();
    let (low, high) = tss_descriptor(&raw const *tss as u64);
    gdt[usize::from(TSS_INDEX)] = low;
    gdt[usize::from(TSS_INDEX) + 1] = high;
    gdt
}

/// The two halves of a descriptor of an available 64-bit TSS (Intel SDM volume 3, figure 8-4).
const fn tss_descriptor(base: u64) -> (u64, u64) {
    const PRESENT: u64 = 1 << 47;
    const AVAILABLE_64_BIT_TSS: u64 = 0b1001 << 40;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    let low = limit | (base & 0x00ff_ffff) << 16 | AVAILABLE_64_BIT_TSS | PRESENT | (base >> 24 & 0xff) << 56;
    (low, base >> 32)
}

/// A gate for every vector. Handlers run on the stack that they interrupt, but for the double fault: a page fault that
/// finds no stack to be delivered on becomes one.
fn idt(host: Host) -> [Descriptor64; VECTORS] {
    core::array::from_fn(|vector| {
        let entry = exceptions::entry(vector as u8);
        if vector == usize::from(DOUBLE_FAULT_VECTOR) {
            return gate(host, host.double_fault_selector(), entry).ist(FAULT_IST).finish();
        }
        gate(host, host.code_selector(), entry).finish()
    })
}

/// A present gate of the host's type, open to the privilege level of the code that it leads to.
fn gate(host: Host, selector: SegmentSelector, entry: u64) -> DescriptorBuilder {
    let builder: DescriptorBuilder = match host.gate_type() {
        GateType::Interrupt => GateDescriptorBuilder::<u64>::interrupt_descriptor(selector, entry),
        GateType::Trap => GateDescriptorBuilder::<u64>::trap_gate_descriptor(selector, entry),
    };
    let level = if selector.bits() & 3 == 3 { Ring::Ring3 } else { Ring::Ring0 };
    builder.present().dpl(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_are_those_the_manual_gives() {
        let gdt = gdt(&TaskStateSegment::new());
        assert_eq!(gdt[0], 0);
        assert_eq!(gdt[1], 0x00af_9b00_0000_ffff, "64-bit code, level 0");
        assert_eq!(gdt[2], 0x00cf_9300_0000_ffff, "data, level 0");
        assert_eq!(gdt[5], 0x00cf_f300_0000_ffff, "data, level 3");
        assert_eq!(gdt[6], 0x00af_fb00_0000_ffff, "64-bit code, level 3");
    }

    #[test]
    fn a_tss_descriptor_holds_base_and_limit() {
        let (low, high) = tss_descriptor(0x1122_3344_5566_7788);
        assert_eq!(high, 0x1122_3344);
        assert_eq!(low, 0x5500_8966_7788_0067);
    }
}
