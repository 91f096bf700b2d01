//! What interrupts leave as it was.

use crate::Test;
use alloc::format;
use alloc::string::String;
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use unikernel::cpu::clock::Instant;
use unikernel::cpu::timer::Timer;
use unikernel::cpu::vectors::{self, Vectors};
use unikernel::diagnosis::backtrace::Backtrace;
use unikernel::diagnosis::symbols::CodeAddress;
use unikernel::println;

pub(crate) const TESTS: &[Test] = &[
    ("interrupts::keep_general_registers", keep_general_registers),
    ("interrupts::keep_vector_registers", keep_vector_registers),
    ("interrupts::may_come_while_printing", may_come_while_printing),
    ("interrupts::may_come_while_allocating", may_come_while_allocating),
    ("interrupts::have_a_backtrace", have_a_backtrace),
];

/// How many interrupts have come.
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Microseconds between two.
const PERIOD: u64 = 50;

fn count(limit: usize) {
    if COUNT.fetch_add(1, Ordering::Relaxed) < limit {
        start(limit);
    }
}

/// Has `limit` interrupts come, one after the other.
fn start(limit: usize) {
    match Timer::after(Duration::from_micros(PERIOD), count, limit) {
        Ok(timer) => core::mem::forget(timer),
        Err(error) => panic!("{error}"),
    }
}

/// Runs `work` again and again until so many interrupts have come.
fn during(interrupts: usize, mut work: impl FnMut()) {
    COUNT.store(0, Ordering::Relaxed);
    start(interrupts);
    let begin = Instant::now();
    while COUNT.load(Ordering::Relaxed) < interrupts {
        work();
        assert!(begin.elapsed() < Duration::from_secs(60), "interrupts have stopped");
    }
    // The last one.
    while COUNT.load(Ordering::Relaxed) <= interrupts {
        assert!(begin.elapsed() < Duration::from_secs(60), "interrupts have stopped");
    }
}

fn keep_general_registers() {
    during(200, || {
        let changed: u64;
        // SAFETY: rbx and rbp are put back; the flags and the other registers are declared. The stack is used as usual.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "mov rax, 1", "mov rbx, 2", "mov rdx, 3", "mov rsi, 4", "mov rdi, 5", "mov rbp, 6", "mov r8, 8",
                "mov r9, 9", "mov r10, 10", "mov r11, 11", "mov r12, 12", "mov r13, 13", "mov r14, 14", "mov r15, rsp",
                "mov rcx, 20000",
                // The direction flag has to come back, too, and the handler to run without it.
                "std",
                "2: dec rcx",
                "jnz 2b",
                "pushfq",
                "cld",
                "pop rcx",
                "not rcx",
                "and rcx, 0x400",
                "xor rax, 1", "or rcx, rax", "xor rbx, 2", "or rcx, rbx", "xor rdx, 3", "or rcx, rdx",
                "xor rsi, 4", "or rcx, rsi", "xor rdi, 5", "or rcx, rdi", "xor rbp, 6", "or rcx, rbp",
                "xor r8, 8", "or rcx, r8", "xor r9, 9", "or rcx, r9", "xor r10, 10", "or rcx, r10",
                "xor r11, 11", "or rcx, r11", "xor r12, 12", "or rcx, r12", "xor r13, 13", "or rcx, r13",
                "xor r14, 14", "or rcx, r14", "xor r15, rsp", "or rcx, r15",
                "pop rbp",
                "pop rbx",
                out("rcx") changed, out("rax") _, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
                out("r10") _, out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            );
        }
        assert_eq!(changed, 0, "bits of registers have changed");
    });
}

fn keep_vector_registers() {
    if vectors::widest() < Vectors::Avx2 {
        println!("this machine has no AVX2");
        return;
    }
    let expected: [u64; 4] =
        core::array::from_fn(|index| 0x0123_4567_89ab_cdef_u64.rotate_left(index as u32 * 8));
    during(200, || {
        let mut found = [[0_u64; 4]; 2];
        // SAFETY: the processor has the registers, enabled, which nothing else uses; the pointers lead to 32 and 64 bytes.
        unsafe {
            asm!(
                "vmovdqu ymm0, [{expected}]",
                "vmovdqu ymm15, [{expected}]",
                "2: dec {count}",
                "jnz 2b",
                "vmovdqu [{found}], ymm0",
                "vmovdqu [{found} + 32], ymm15",
                "vzeroall",
                expected = in(reg) expected.as_ptr(), found = in(reg) found.as_mut_ptr(),
                count = inout(reg) 20_000_u64 => _,
            );
        }
        assert_eq!(found, [expected; 2]);
    });
}

fn may_come_while_printing() {
    let mut number = 0;
    during(200, || {
        println!("interrupted line {number:05}");
        number += 1;
    });
}

fn may_come_while_allocating() {
    let mut text = String::new();
    let mut number = 0;
    during(200, || {
        text = format!("{number}");
        number += 1;
        assert_eq!(text.parse(), Ok(number - 1));
    });
}

/// From the function of a timer to what it has interrupted, and on to who called that.
fn have_a_backtrace() {
    const NOT_YET: usize = 0;
    const SPINNING: usize = 1;
    const COMPLETE: usize = 2;
    const BROKEN: usize = 3;
    static STATE: AtomicUsize = AtomicUsize::new(NOT_YET);
    fn look(_: usize) {
        if STATE.load(Ordering::Relaxed) == NOT_YET {
            // The timer has come before there was anything to see.
            return start_look();
        }
        let name = |caller: CodeAddress| CodeAddress(caller.0 - 1).function().map(|(name, _)| name);
        let mut names = Backtrace::here().callers().filter_map(name);
        let complete = names.any(|name| name.ends_with("::spin"))
            && names.any(|name| name.ends_with("::have_a_backtrace"));
        STATE.store(if complete { COMPLETE } else { BROKEN }, Ordering::Relaxed);
    }
    fn start_look() {
        match Timer::after(Duration::from_millis(1), look, 0) {
            Ok(timer) => core::mem::forget(timer),
            Err(error) => panic!("{error}"),
        }
    }
    #[inline(never)]
    fn spin() {
        STATE.store(SPINNING, Ordering::Relaxed);
        while STATE.load(Ordering::Relaxed) == SPINNING {
            core::hint::spin_loop();
        }
    }
    start_look();
    spin();
    assert_eq!(STATE.load(Ordering::Relaxed), COMPLETE, "the backtrace misses what was interrupted");
}
