//! The loops for AVX-512 F, 512 bits wide.

use super::pattern::Block;
use super::sweep::{AT, EXPECTED, EXPECTED_CONSTANT, NEW, NEW_CONSTANT, REMAINING, STRIDE, Sweep};
use core::arch::naked_asm;

/// Fills with a linear pattern, past the caches.
///
/// # Safety
/// The processor has AVX-512 F enabled. The sweep is valid for writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn fill_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa64 zmm2, [rdi + {new}]",
        "vpbroadcastq zmm5, [rdi + {new_constant}]",
        "2:",
        "vmovntdq [rsi], zmm2",
        "vpaddq zmm2, zmm2, zmm5",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "sfence",
        "vmovdqa64 [rdi + {new}], zmm2",
        "mov [rdi + {at}], rsi",
        "mov [rdi + {remaining}], rcx",
        "vzeroupper",
        "ret",
        at = const AT,
        remaining = const REMAINING,
        new = const NEW,
        new_constant = const NEW_CONSTANT,
    )
}

/// Fills with a random pattern, past the caches.
///
/// # Safety
/// The processor has AVX-512 F enabled. The sweep is valid for writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn fill_random(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa64 zmm0, [rdi + {new}]",
        "vpbroadcastq zmm5, [rdi + {new_constant}]",
        "2:",
        "vpxorq zmm6, zmm0, zmm5",
        "vmovntdq [rsi], zmm6",
        "vpsllq zmm8, zmm0, 13",
        "vpxorq zmm0, zmm0, zmm8",
        "vpsrlq zmm8, zmm0, 7",
        "vpxorq zmm0, zmm0, zmm8",
        "vpsllq zmm8, zmm0, 17",
        "vpxorq zmm0, zmm0, zmm8",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "sfence",
        "vmovdqa64 [rdi + {new}], zmm0",
        "mov [rdi + {at}], rsi",
        "mov [rdi + {remaining}], rcx",
        "vzeroupper",
        "ret",
        at = const AT,
        remaining = const REMAINING,
        new = const NEW,
        new_constant = const NEW_CONSTANT,
    )
}

/// Compares with a linear pattern.
///
/// # Safety
/// The processor has AVX-512 F enabled. The sweep is valid for reads, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn verify_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa64 zmm0, [rdi + {expected}]",
        "vpbroadcastq zmm4, [rdi + {expected_constant}]",
        "2:",
        "vpcmpneqq k1, zmm0, [rsi]",
        "kortestw k1, k1",
        "jnz 3f",
        "vpaddq zmm0, zmm0, zmm4",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa64 [rdi + {expected}], zmm0",
        "mov [rdi + {at}], rsi",
        "mov [rdi + {remaining}], rcx",
        "vzeroupper",
        "ret",
        at = const AT,
        remaining = const REMAINING,
        expected = const EXPECTED,
        expected_constant = const EXPECTED_CONSTANT,
    )
}

/// Compares with a random pattern.
///
/// # Safety
/// The processor has AVX-512 F enabled. The sweep is valid for reads, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn verify_random(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa64 zmm0, [rdi + {expected}]",
        "vpbroadcastq zmm4, [rdi + {expected_constant}]",
        "2:",
        "vpxorq zmm6, zmm0, zmm4",
        "vpcmpneqq k1, zmm6, [rsi]",
        "kortestw k1, k1",
        "jnz 3f",
        "vpsllq zmm8, zmm0, 13",
        "vpxorq zmm0, zmm0, zmm8",
        "vpsrlq zmm8, zmm0, 7",
        "vpxorq zmm0, zmm0, zmm8",
        "vpsllq zmm8, zmm0, 17",
        "vpxorq zmm0, zmm0, zmm8",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa64 [rdi + {expected}], zmm0",
        "mov [rdi + {at}], rsi",
        "mov [rdi + {remaining}], rcx",
        "vzeroupper",
        "ret",
        at = const AT,
        remaining = const REMAINING,
        expected = const EXPECTED,
        expected_constant = const EXPECTED_CONSTANT,
    )
}

/// Compares with one linear pattern and replaces by another.
///
/// # Safety
/// The processor has AVX-512 F enabled. The sweep is valid for reads and writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn update_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "mov rdx, [rdi + {stride}]",
        "vmovdqa64 zmm0, [rdi + {expected}]",
        "vmovdqa64 zmm2, [rdi + {new}]",
        "vpbroadcastq zmm4, [rdi + {expected_constant}]",
        "vpbroadcastq zmm5, [rdi + {new_constant}]",
        "2:",
        "vpcmpneqq k1, zmm0, [rsi]",
        "kortestw k1, k1",
        "jnz 3f",
        "vmovdqa64 [rsi], zmm2",
        "vpaddq zmm0, zmm0, zmm4",
        "vpaddq zmm2, zmm2, zmm5",
        "add rsi, rdx",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa64 [rdi + {expected}], zmm0",
        "vmovdqa64 [rdi + {new}], zmm2",
        "mov [rdi + {at}], rsi",
        "mov [rdi + {remaining}], rcx",
        "vzeroupper",
        "ret",
        at = const AT,
        remaining = const REMAINING,
        stride = const STRIDE,
        expected = const EXPECTED,
        expected_constant = const EXPECTED_CONSTANT,
        new = const NEW,
        new_constant = const NEW_CONSTANT,
    )
}

/// Copies blocks, past the caches.
///
/// # Safety
/// The processor has AVX-512 F enabled. `len` blocks can be written and read, don't overlap, and are not none.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn copy(to: *mut Block, from: *const Block, len: usize) {
    naked_asm!(
        "2:",
        "vmovdqa64 zmm0, [rsi]",
        "vmovntdq [rdi], zmm0",
        "add rsi, 64",
        "add rdi, 64",
        "dec rdx",
        "jnz 2b",
        "sfence",
        "vzeroupper",
        "ret",
    )
}

/// Reads blocks, and returns the exclusive or of all words.
///
/// # Safety
/// The processor has AVX-512 F enabled. `len` blocks can be read, and are not none.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn read(blocks: *const Block, len: usize) -> u64 {
    naked_asm!(
        "vpxorq zmm0, zmm0, zmm0",
        "2:",
        "vpxorq zmm0, zmm0, [rdi]",
        "add rdi, 64",
        "dec rsi",
        "jnz 2b",
        "vextracti64x4 ymm1, zmm0, 1",
        "vpxor ymm0, ymm0, ymm1",
        "vextracti128 xmm1, ymm0, 1",
        "vpxor xmm0, xmm0, xmm1",
        "vpextrq rax, xmm0, 1",
        "vmovq rdx, xmm0",
        "xor rax, rdx",
        "vzeroupper",
        "ret",
    )
}
