//! The hosts that can run a guest: KVM with hardware virtualization or as KVM_PVM ([`kvm`], [`pvm`]), or QEMU
//! ([`qemu`]). [`doctor`] tells what there is, [`paging`] how KVM translates addresses; [`local_apic`] is a part of every
//! machine on KVM.

pub(crate) mod doctor;
pub(crate) mod kvm;
mod local_apic;
pub(crate) mod paging;
pub(crate) mod pvm;
pub(crate) mod qemu;
