//! The hosts that can run a guest: KVM with hardware virtualization or as KVM_PVM ([`kvm`], [`pvm`]), or QEMU
//! ([`qemu`]). [`doctor`] tells what there is.

pub(crate) mod doctor;
pub(crate) mod kvm;
pub(crate) mod pvm;
pub(crate) mod qemu;
