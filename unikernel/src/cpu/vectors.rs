//! Vector registers: enabling what the processor has, and saying what may be used.
//!
//! The kernel itself is compiled without them. They are for applications' own assembly, which may use them freely: nothing
//! in the kernel touches or saves them.

use super::features::{XSAVE_BIT, leaf};
use super::host::Host;
use spin::Once;
use x86::controlregs::{Cr4, Xcr0, cr4, cr4_write, xcr0, xcr0_write};

/// The widest vectors that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vectors {
    /// None, or narrower ones only.
    None,
    /// AVX2, 256 bits.
    Avx2,
    /// AVX-512 F, 512 bits.
    Avx512,
}

static VECTORS: Once<Vectors> = Once::new();

/// State components of XCR0 (Intel SDM volume 1, 13.1) that AVX needs, and those that AVX-512 needs besides.
const AVX_STATE: u64 = 0b110;
const AVX512_STATE: u64 = 0b1110_0000;
const X87_STATE: u64 = 1;

/// The widest vectors that may be used; none before the kernel has enabled them.
#[must_use]
pub fn widest() -> Vectors {
    VECTORS.get().copied().unwrap_or(Vectors::None)
}

/// Enables the vectors that the processor has, where that is the kernel's to do, and finds out which may be used.
pub(crate) fn enable(host: Host) {
    VECTORS.call_once(|| {
        let has_xsave = leaf(1).ecx & (1 << XSAVE_BIT) != 0;
        if host.owns_control_registers() && has_xsave {
            let supported = u64::from(leaf(0xd).eax);
            let wanted = (X87_STATE | AVX_STATE | AVX512_STATE) & supported;
            // SAFETY: the processor has XSAVE, so CR4 and XCR0 have these bits; of the state components only those are set
            // that it supports. AVX-512's three come together or not at all on every processor.
            unsafe {
                cr4_write(cr4() | Cr4::CR4_ENABLE_SSE | Cr4::CR4_UNMASKED_SSE | Cr4::CR4_ENABLE_OS_XSAVE);
                xcr0_write(Xcr0::from_bits_truncate(wanted));
            }
        }
        let is_enabled = leaf(1).ecx & (1 << 27) != 0;
        // SAFETY: CPUID says that XSAVE is enabled, so that XCR0 can be read.
        let state = if is_enabled { unsafe { xcr0() }.bits() } else { 0 };
        usable(state, leaf(7).ebx)
    });
}

/// The widest vectors, by what XCR0 has enabled and what the processor has (CPUID 7 EBX).
const fn usable(state: u64, features: u32) -> Vectors {
    const AVX2: u32 = 1 << 5;
    const AVX512F: u32 = 1 << 16;
    if state & (AVX_STATE | AVX512_STATE) == AVX_STATE | AVX512_STATE && features & AVX512F != 0 {
        Vectors::Avx512
    } else if state & AVX_STATE == AVX_STATE && features & AVX2 != 0 {
        Vectors::Avx2
    } else {
        Vectors::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_need_both_the_instructions_and_the_state() {
        let both = 1 << 5 | 1 << 16;
        assert_eq!(usable(0xe7, both), Vectors::Avx512);
        assert_eq!(usable(0x67, both), Vectors::Avx2, "not all of AVX-512's state");
        assert_eq!(usable(0xe7, 1 << 5), Vectors::Avx2);
        assert_eq!(usable(0x3, both), Vectors::None);
        assert_eq!(usable(0xe7, 0), Vectors::None);
    }
}
