//! KVM's paravirtual clock, read once for its TSC frequency (Linux `Documentation/virt/kvm/x86/msr.rst`).

use super::clock::NANOSECONDS_PER_SECOND;
use super::features;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// `MSR_KVM_SYSTEM_TIME_NEW`.
const SYSTEM_TIME_MSR: u32 = 0x4b56_4d01;
const ENABLE: u64 = 1;

/// `struct pvclock_vcpu_time_info`, as far as it is read.
#[repr(C, align(32))]
struct TimeInfo {
    version: AtomicU32,
    padding: u32,
    tsc_timestamp: u64,
    system_time: u64,
    tsc_to_system_mul: UnsafeCell<u32>,
    tsc_shift: UnsafeCell<i8>,
    flags: u8,
    padding2: [u8; 2],
}

// SAFETY: written by the hypervisor, read volatile by one processor, once.
unsafe impl Sync for TimeInfo {}

static TIME_INFO: TimeInfo = TimeInfo {
    version: AtomicU32::new(0),
    padding: 0,
    tsc_timestamp: 0,
    system_time: 0,
    tsc_to_system_mul: UnsafeCell::new(0),
    tsc_shift: UnsafeCell::new(0),
    flags: 0,
    padding2: [0; 2],
};

/// The frequency, if this is KVM with its clock.
pub(crate) fn tsc_hz() -> Option<u64> {
    if !features::has_kvm_clock() {
        return None;
    }
    let address = &raw const TIME_INFO as u64;
    // SAFETY: CPUID says the MSR is there, and the address is that of a static of the right layout, mapped one to
    // one. The clock is turned off again below, so KVM writes nothing later.
    unsafe { x86::msr::wrmsr(SYSTEM_TIME_MSR, address | ENABLE) };
    // KVM fills the record in before it enters the guest again. The version is odd while it writes.
    let filled = TIME_INFO.version.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    // SAFETY: reads of plain integers of the static; KVM writes them only between guest instructions.
    let (multiplier, shift) = unsafe {
        (TIME_INFO.tsc_to_system_mul.get().read_volatile(), TIME_INFO.tsc_shift.get().read_volatile())
    };
    // SAFETY: as above; 0 turns the clock off.
    unsafe { x86::msr::wrmsr(SYSTEM_TIME_MSR, 0) };
    if filled == 0 || filled % 2 == 1 { None } else { hz(multiplier, shift) }
}

/// Nanoseconds are `(ticks << shift) * multiplier >> 32`.
fn hz(multiplier: u32, shift: i8) -> Option<u64> {
    let per_second = u128::from(NANOSECONDS_PER_SECOND) << 32;
    let unshifted = per_second.checked_div(u128::from(multiplier))?;
    let hz = match shift {
        0.. => unshifted.checked_shr(shift.unsigned_abs().into())?,
        _ => unshifted.checked_mul(1_u128.checked_shl(shift.unsigned_abs().into())?)?,
    };
    u64::try_from(hz).ok()
}

#[cfg(test)]
mod tests {
    use super::hz;

    #[test]
    fn frequencies_from_kvms_pairs() {
        assert_eq!(hz(0x8000_0000, 1), Some(1_000_000_000), "(t << 1) * 1/2 is t");
        assert_eq!(hz(0x8000_0000, 0), Some(2_000_000_000));
        assert_eq!(hz(0x8000_0000, -1), Some(4_000_000_000));
        assert_eq!(hz(0, 0), None);
        assert_eq!(hz(1, -128), None, "beyond 64 bits");
    }
}
