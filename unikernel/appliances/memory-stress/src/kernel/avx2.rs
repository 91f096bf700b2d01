//! The loops for AVX2, 256 bits wide, two of them to a block.

use super::pattern::Block;
use super::sweep::{AT, EXPECTED, EXPECTED_CONSTANT, NEW, NEW_CONSTANT, REMAINING, STRIDE, Sweep};
use core::arch::naked_asm;

/// Fills with a linear pattern, past the caches.
///
/// # Safety
/// The processor has AVX2 enabled. The sweep is valid for writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn fill_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa ymm2, [rdi + {new}]",
        "vmovdqa ymm3, [rdi + {new} + 32]",
        "vpbroadcastq ymm5, [rdi + {new_constant}]",
        "2:",
        "vmovntdq [rsi], ymm2",
        "vmovntdq [rsi + 32], ymm3",
        "vpaddq ymm2, ymm2, ymm5",
        "vpaddq ymm3, ymm3, ymm5",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "sfence",
        "vmovdqa [rdi + {new}], ymm2",
        "vmovdqa [rdi + {new} + 32], ymm3",
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
/// The processor has AVX2 enabled. The sweep is valid for writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn fill_random(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa ymm0, [rdi + {new}]",
        "vmovdqa ymm1, [rdi + {new} + 32]",
        "vpbroadcastq ymm5, [rdi + {new_constant}]",
        "2:",
        "vpxor ymm6, ymm0, ymm5",
        "vpxor ymm7, ymm1, ymm5",
        "vmovntdq [rsi], ymm6",
        "vmovntdq [rsi + 32], ymm7",
        "vpsllq ymm8, ymm0, 13",
        "vpsllq ymm9, ymm1, 13",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "vpsrlq ymm8, ymm0, 7",
        "vpsrlq ymm9, ymm1, 7",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "vpsllq ymm8, ymm0, 17",
        "vpsllq ymm9, ymm1, 17",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "sfence",
        "vmovdqa [rdi + {new}], ymm0",
        "vmovdqa [rdi + {new} + 32], ymm1",
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
/// The processor has AVX2 enabled. The sweep is valid for reads, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn verify_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa ymm0, [rdi + {expected}]",
        "vmovdqa ymm1, [rdi + {expected} + 32]",
        "vpbroadcastq ymm4, [rdi + {expected_constant}]",
        "2:",
        "vpcmpeqq ymm8, ymm0, [rsi]",
        "vpcmpeqq ymm9, ymm1, [rsi + 32]",
        "vpand ymm8, ymm8, ymm9",
        "vpmovmskb eax, ymm8",
        "cmp eax, -1",
        "jne 3f",
        "vpaddq ymm0, ymm0, ymm4",
        "vpaddq ymm1, ymm1, ymm4",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa [rdi + {expected}], ymm0",
        "vmovdqa [rdi + {expected} + 32], ymm1",
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
/// The processor has AVX2 enabled. The sweep is valid for reads, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn verify_random(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "vmovdqa ymm0, [rdi + {expected}]",
        "vmovdqa ymm1, [rdi + {expected} + 32]",
        "vpbroadcastq ymm4, [rdi + {expected_constant}]",
        "2:",
        "vpxor ymm6, ymm0, ymm4",
        "vpxor ymm7, ymm1, ymm4",
        "vpcmpeqq ymm8, ymm6, [rsi]",
        "vpcmpeqq ymm9, ymm7, [rsi + 32]",
        "vpand ymm8, ymm8, ymm9",
        "vpmovmskb eax, ymm8",
        "cmp eax, -1",
        "jne 3f",
        "vpsllq ymm8, ymm0, 13",
        "vpsllq ymm9, ymm1, 13",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "vpsrlq ymm8, ymm0, 7",
        "vpsrlq ymm9, ymm1, 7",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "vpsllq ymm8, ymm0, 17",
        "vpsllq ymm9, ymm1, 17",
        "vpxor ymm0, ymm0, ymm8",
        "vpxor ymm1, ymm1, ymm9",
        "add rsi, 64",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa [rdi + {expected}], ymm0",
        "vmovdqa [rdi + {expected} + 32], ymm1",
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
/// The processor has AVX2 enabled. The sweep is valid for reads and writes, and not empty.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn update_linear(sweep: &mut Sweep) {
    naked_asm!(
        "mov rsi, [rdi + {at}]",
        "mov rcx, [rdi + {remaining}]",
        "mov rdx, [rdi + {stride}]",
        "vmovdqa ymm0, [rdi + {expected}]",
        "vmovdqa ymm1, [rdi + {expected} + 32]",
        "vmovdqa ymm2, [rdi + {new}]",
        "vmovdqa ymm3, [rdi + {new} + 32]",
        "vpbroadcastq ymm4, [rdi + {expected_constant}]",
        "vpbroadcastq ymm5, [rdi + {new_constant}]",
        "2:",
        "vpcmpeqq ymm8, ymm0, [rsi]",
        "vpcmpeqq ymm9, ymm1, [rsi + 32]",
        "vpand ymm8, ymm8, ymm9",
        "vpmovmskb eax, ymm8",
        "cmp eax, -1",
        "jne 3f",
        "vmovdqa [rsi], ymm2",
        "vmovdqa [rsi + 32], ymm3",
        "vpaddq ymm0, ymm0, ymm4",
        "vpaddq ymm1, ymm1, ymm4",
        "vpaddq ymm2, ymm2, ymm5",
        "vpaddq ymm3, ymm3, ymm5",
        "add rsi, rdx",
        "dec rcx",
        "jnz 2b",
        "3:",
        "vmovdqa [rdi + {expected}], ymm0",
        "vmovdqa [rdi + {expected} + 32], ymm1",
        "vmovdqa [rdi + {new}], ymm2",
        "vmovdqa [rdi + {new} + 32], ymm3",
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
/// The processor has AVX2 enabled. `len` blocks can be written and read, don't overlap, and are not none.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn copy(to: *mut Block, from: *const Block, len: usize) {
    naked_asm!(
        "2:",
        "vmovdqa ymm0, [rsi]",
        "vmovdqa ymm1, [rsi + 32]",
        "vmovntdq [rdi], ymm0",
        "vmovntdq [rdi + 32], ymm1",
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
/// The processor has AVX2 enabled. `len` blocks can be read, and are not none.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn read(blocks: *const Block, len: usize) -> u64 {
    naked_asm!(
        "vpxor ymm0, ymm0, ymm0",
        "vpxor ymm2, ymm2, ymm2",
        "2:",
        "vpxor ymm0, ymm0, [rdi]",
        "vpxor ymm2, ymm2, [rdi + 32]",
        "add rdi, 64",
        "dec rsi",
        "jnz 2b",
        "vpxor ymm0, ymm0, ymm2",
        "vextracti128 xmm1, ymm0, 1",
        "vpxor xmm0, xmm0, xmm1",
        "vpextrq rax, xmm0, 1",
        "vmovq rdx, xmm0",
        "xor rax, rdx",
        "vzeroupper",
        "ret",
    )
}
