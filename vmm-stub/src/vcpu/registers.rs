//! Registers: the 32-bit state that the PVH boot protocol starts a guest in, and a look at where a guest is.
//!
//! PVH (Xen's docs/misc/pvh.pandoc): protected mode, paging off, flat segments, EBX the start info, RFLAGS clear.

use crate::error::Error;
use guest_interface::layout::START_INFO;
use kvm_bindings::{kvm_dtable, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;

/// RFLAGS with only the bit set that is always 1.
pub(crate) const BOOT_FLAGS: u64 = 1 << 1;

/// Protection enable, extension type.
const CR0: u64 = 0x11;
/// Protection enable.
const CR0_PROTECTED: u64 = 1 << 0;
/// Where a processor starts after RESET or INIT.
const RESET_CODE_BASE: u64 = 0xffff_0000;
const RESET_INSTRUCTION_POINTER: u64 = 0xfff0;
const CODE_SELECTOR: u16 = 0x8;
const DATA_SELECTOR: u16 = 0x10;
const TSS_SELECTOR: u16 = 0x18;
/// Segment types (Intel SDM volume 3, 3.4.5.1 and 3.5): accessed code and data, busy 32-bit TSS.
const TYPE_CODE: u8 = 11;
const TYPE_DATA: u8 = 3;
const TYPE_TSS_BUSY: u8 = 11;
/// Last byte of a 32-bit TSS.
const TSS_LIMIT: u32 = 0x67;

/// Makes a vCPU start at a PVH entry point.
///
/// # Errors
/// [`Error::KvmRefuses`] if KVM does not take the state.
pub(crate) fn set_pvh_start_state(vcpu: &VcpuFd, entry: u32) -> Result<(), Error> {
    let initial = vcpu.get_sregs().map_err(Error::kvm("to read the registers"))?;
    vcpu.set_sregs(&special_registers(initial)).map_err(Error::kvm("the registers of a PVH start"))?;
    vcpu.set_regs(&general_registers(entry)).map_err(Error::kvm("the entry point"))
}

/// A 32-bit segment of level 0 over all 4 GiB.
pub(crate) const fn flat_segment(selector: u16, code: bool) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: if code { TYPE_CODE } else { TYPE_DATA },
        present: 1,
        dpl: 0,
        db: 1,
        s: 1,
        l: 0,
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    }
}

/// A segment register that holds nothing.
pub(crate) const fn unusable_segment() -> kvm_segment {
    kvm_segment { selector: 0, type_: 0, present: 0, s: 0, unusable: 1, ..flat_segment(0, false) }
}

const fn special_registers(initial: kvm_sregs) -> kvm_sregs {
    let data = flat_segment(DATA_SELECTOR, false);
    let tss = kvm_segment {
        limit: TSS_LIMIT,
        type_: TYPE_TSS_BUSY,
        s: 0,
        g: 0,
        db: 0,
        ..flat_segment(TSS_SELECTOR, false)
    };
    let no_table = kvm_dtable { base: 0, limit: 0, padding: [0; 3] };
    kvm_sregs {
        cr0: CR0,
        cr3: 0,
        cr4: 0,
        efer: 0,
        cs: flat_segment(CODE_SELECTOR, true),
        ds: data,
        es: data,
        fs: data,
        gs: data,
        ss: data,
        tr: tss,
        ldt: unusable_segment(),
        gdt: no_table,
        idt: no_table,
        ..initial
    }
}

fn general_registers(entry: u32) -> kvm_regs {
    kvm_regs { rip: entry.into(), rbx: START_INFO, rflags: BOOT_FLAGS, ..Default::default() }
}

/// What KVM tells of where a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// There.
    At(Position),
    /// Nowhere any more. After a triple fault the state of an AMD processor's guest is undefined (AMD64 APM volume 2, 15.14.3),
    /// and KVM puts that of an INIT in its place.
    Reset,
}

/// Where a guest is: enough to judge why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Next instruction.
    pub(crate) rip: u64,
    /// Stack pointer.
    pub(crate) rsp: u64,
    /// Address of the last page fault.
    pub(crate) cr2: u64,
}

impl Location {
    /// Reads it from a vCPU that is not running, and says whether a triple fault has ended it; `None` if KVM gives no
    /// registers.
    pub(crate) fn read(vcpu: &VcpuFd, has_triple_faulted: bool) -> Option<Self> {
        Some(Self::of(&vcpu.get_regs().ok()?, &vcpu.get_sregs().ok()?, has_triple_faulted))
    }

    /// A processor that is about to fetch its first instruction after an INIT is as nothing else can make it: only a reset
    /// gives CS this base (Intel SDM volume 3, 10.1.4), and the first far jump takes it away. One that has not
    /// triple-faulted is really there.
    const fn of(regs: &kvm_regs, sregs: &kvm_sregs, has_triple_faulted: bool) -> Self {
        let is_reset = has_triple_faulted
            && sregs.cr0 & CR0_PROTECTED == 0
            && sregs.cs.base == RESET_CODE_BASE
            && regs.rip == RESET_INSTRUCTION_POINTER;
        match is_reset {
            true => Self::Reset,
            false => Self::At(Position { rip: regs.rip, rsp: regs.rsp, cr2: sregs.cr2 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pvh_start_is_32_bit_flat_and_without_paging() {
        let state = special_registers(kvm_sregs { cr3: 5, efer: 0x500, ..Default::default() });
        assert_eq!((state.cr0, state.cr3, state.cr4, state.efer), (0x11, 0, 0, 0));
        assert_eq!((state.cs.type_, state.cs.db, state.cs.l, state.cs.g), (11, 1, 0, 1));
        for segment in [state.cs, state.ds, state.es, state.fs, state.gs] {
            assert_eq!((segment.base, segment.limit, segment.present, segment.dpl), (0, u32::MAX, 1, 0));
        }
        assert_eq!((state.tr.type_, state.tr.s, state.tr.limit, state.tr.present), (11, 0, 0x67, 1));
        assert_eq!(state.ldt.unusable, 1);
    }

    #[test]
    fn only_the_state_of_an_init_after_a_triple_fault_is_no_place() {
        let location_after = |has_triple_faulted, rip, base, cr0| {
            let cs = kvm_segment { base, ..flat_segment(0xf000, true) };
            let sregs = kvm_sregs { cr0, cs, cr2: 7, ..Default::default() };
            Location::of(&kvm_regs { rip, rsp: 5, ..Default::default() }, &sregs, has_triple_faulted)
        };
        let location = |rip, base, cr0| location_after(true, rip, base, cr0);
        // INIT keeps the cache bits as they were.
        for cr0 in [0x6000_0010, 0x10] {
            assert_eq!(location(0xfff0, 0xffff_0000, cr0), Location::Reset);
        }
        let at = |rip| Location::At(Position { rip, rsp: 5, cr2: 7 });
        assert_eq!(location(0xfff0, 0, 0x11), at(0xfff0), "code of the guest's at that address");
        assert_eq!(location(0xfff0, 0xf_0000, 0x10), at(0xfff0), "real mode");
        assert_eq!(location(0xffe0, 0xffff_0000, 0x10), at(0xffe0));
        assert_eq!(location(0xfff0, 0xffff_0000, 0x8005_0033), at(0xfff0));
        assert_eq!(location_after(false, 0xfff0, 0xffff_0000, 0x10), at(0xfff0), "without a triple fault");
    }

    #[test]
    fn a_pvh_start_has_the_start_info_in_ebx() {
        let state = general_registers(0x20_0100);
        assert_eq!((state.rip, state.rbx, state.rflags), (0x20_0100, START_INFO, 2));
    }
}
