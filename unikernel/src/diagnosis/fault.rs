//! Reports an exception that nothing handles, and ends the machine.

use super::backtrace::{Backtrace, caller_of_no_code};
use super::region::AddressInfo;
use super::symbols::CodeAddress;
use crate::cpu::exceptions::ExceptionFrame;
use crate::device::console::print_emergency;
use crate::device::exit;
use crate::memory::PAGE_LEN;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};
use guest_interface::status::KernelStatus;
use x86::irq::{
    DOUBLE_FAULT_VECTOR, EXCEPTIONS, GENERAL_PROTECTION_FAULT_VECTOR, PAGE_FAULT_VECTOR, PageFaultError,
};

/// Faults so far. More than one means that reporting the first has failed.
static FAULTS: AtomicU32 = AtomicU32::new(0);

/// What an exception was about.
#[derive(Debug, PartialEq, Eq)]
enum Cause {
    /// An access that the page tables don't allow.
    Page { address: u64, error: PageFaultError, info: AddressInfo },
    /// A stack pointer that ran into a guard page.
    StackOverflow { address: u64, stack: &'static str },
    /// An exception that could not be delivered, mostly since no stack was left: where it should have gone.
    DoubleFault { address: u64, info: AddressInfo },
    /// Any other exception of the processor.
    Exception { vector: u8, error_code: u64 },
    /// A vector that is no exception.
    Interrupt { vector: u8 },
}

impl Cause {
    /// Judges an exception. `address` is what CR2 holds, right for page faults and for double faults after one;
    /// `stack_pointer` is that of the interrupted code.
    fn of(vector: u8, error_code: u64, address: u64, stack_pointer: u64) -> Self {
        let info = AddressInfo::of(address);
        // The guard page may also be hit by a stray pointer. A push faults within a page of the stack pointer.
        let is_near = address.abs_diff(stack_pointer) <= PAGE_LEN;
        match (vector, info.guarded_stack()) {
            (PAGE_FAULT_VECTOR | DOUBLE_FAULT_VECTOR, Some(stack)) if is_near => {
                Self::StackOverflow { address, stack }
            }
            (DOUBLE_FAULT_VECTOR, _) if is_near => Self::DoubleFault { address, info },
            // The address is that of an earlier page fault.
            (DOUBLE_FAULT_VECTOR, _) => {
                Self::DoubleFault { address: stack_pointer, info: AddressInfo::of(stack_pointer) }
            }
            (PAGE_FAULT_VECTOR, _) => {
                Self::Page { address, error: PageFaultError::from_bits_truncate(error_code as u32), info }
            }
            (0..32, _) => Self::Exception { vector, error_code },
            (vector, _) => Self::Interrupt { vector },
        }
    }

    fn status(&self) -> KernelStatus {
        match self {
            Self::StackOverflow { .. } => KernelStatus::StackOverflow,
            _ => KernelStatus::UnhandledFault,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page { address, error, info } => {
                let access = if error.contains(PageFaultError::ID) {
                    "execution"
                } else if error.contains(PageFaultError::WR) {
                    "write"
                } else {
                    "read"
                };
                write!(formatter, "page fault: {access} of {address:#x} ({info})")
            }
            Self::StackOverflow { address, stack } => {
                write!(formatter, "stack overflow: {address:#x} is in the guard page below the {stack}")
            }
            Self::DoubleFault { address, info } => {
                write!(
                    formatter,
                    "double fault: no exception can be delivered to a stack at {address:#x} ({info})"
                )
            }
            Self::Exception { vector, error_code } => {
                let exception = &EXCEPTIONS[usize::from(*vector)];
                write!(
                    formatter,
                    "{} ({}), error code {error_code:#x}",
                    exception.description, exception.mnemonic
                )?;
                if *vector == GENERAL_PROTECTION_FAULT_VECTOR && *error_code == 0 {
                    formatter.write_str(" (a privileged instruction, or a non-canonical address)")?;
                }
                Ok(())
            }
            Self::Interrupt { vector } => {
                write!(formatter, "interrupt {vector}, which nothing has asked for")
            }
        }
    }
}

/// Says what happened, with registers and backtrace, and ends the machine.
pub(crate) fn report(frame: &ExceptionFrame) -> ! {
    // SAFETY: reading CR2 changes nothing. At level 3 the host hands it over on a trap.
    let address = unsafe { x86::controlregs::cr2() } as u64;
    let cause = Cause::of(frame.vector as u8, frame.error_code, address, frame.rsp);
    let nested = FAULTS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: faults never return, so whoever printed on the emergency console is gone.
    unsafe {
        match nested {
            0 => print_emergency(format_args!(
                "fault: {cause}\n  at {}{}\n{}backtrace:\n{}",
                CodeAddress(frame.rip),
                CalledFrom(caller_of_no_code(frame.rip, frame.rsp)),
                Registers(frame),
                Backtrace::from_frame_pointer(frame.rbp),
            )),
            1 => print_emergency(format_args!("\nfault while reporting: {cause}, at {:#x}\n", frame.rip)),
            _ => {}
        }
    }
    exit::kernel(cause.status())
}

/// Displays who jumped to where no code is, if that is known.
struct CalledFrom(Option<CodeAddress>);

impl fmt::Display for CalledFrom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |caller| write!(formatter, ", called from {caller}"))
    }
}

/// Displays the registers of a frame, three a line.
struct Registers<'a>(&'a ExceptionFrame);

impl fmt::Display for Registers<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frame = self.0;
        let registers = [
            ("rax", frame.rax),
            ("rbx", frame.rbx),
            ("rcx", frame.rcx),
            ("rdx", frame.rdx),
            ("rsi", frame.rsi),
            ("rdi", frame.rdi),
            ("rbp", frame.rbp),
            ("rsp", frame.rsp),
            ("r8", frame.r8),
            ("r9", frame.r9),
            ("r10", frame.r10),
            ("r11", frame.r11),
            ("r12", frame.r12),
            ("r13", frame.r13),
            ("r14", frame.r14),
            ("r15", frame.r15),
            ("rflags", frame.rflags),
            ("cs", frame.cs),
            ("ss", frame.ss),
        ];
        for line in registers.chunks(4) {
            for (name, value) in line {
                write!(formatter, "  {name:<6} {value:016x}")?;
            }
            formatter.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::guarded_stack::BOOT_STACK;
    use alloc::string::ToString;

    #[test]
    fn a_page_fault_says_access_address_and_region() {
        let cause = Cause::of(14, 0b10, 0x18, 0);
        assert_eq!(cause.to_string(), "page fault: write of 0x18 (null pointer, never mapped)");
        assert_eq!(cause.status(), KernelStatus::UnhandledFault);
        let cause = Cause::of(14, 1 << 4, 0x7000_0000, 0);
        assert_eq!(cause.to_string(), "page fault: execution of 0x70000000 (no name is known, not mapped)");
    }

    #[test]
    fn a_guard_page_hit_by_the_stack_pointer_is_a_stack_overflow() {
        let guard = BOOT_STACK.guard().end - 8;
        for vector in [PAGE_FAULT_VECTOR, DOUBLE_FAULT_VECTOR] {
            let cause = Cause::of(vector, 0, guard, BOOT_STACK.stack().start);
            assert_eq!(cause, Cause::StackOverflow { address: guard, stack: "boot stack" });
            assert_eq!(cause.status(), KernelStatus::StackOverflow);
        }
        let stray = Cause::of(PAGE_FAULT_VECTOR, 0b10, guard, BOOT_STACK.stack().end - 64);
        assert_eq!(stray.status(), KernelStatus::UnhandledFault, "the stack has room: {stray}");
    }

    #[test]
    fn a_double_fault_says_where_the_stack_pointer_led() {
        for (address, stack_pointer, expected) in [
            (0x8, 0x10, "0x8 (null pointer, never mapped)"),
            (u64::MAX - 7, 0, "0x0 (null pointer, never mapped)"),
            (0x7000_0000, 1 << 47, "0x800000000000 (non-canonical address)"),
        ] {
            let cause = Cause::of(DOUBLE_FAULT_VECTOR, 0, address, stack_pointer);
            let text = cause.to_string();
            assert_eq!(
                text,
                alloc::format!("double fault: no exception can be delivered to a stack at {expected}")
            );
            assert_eq!(cause.status(), KernelStatus::UnhandledFault);
        }
    }

    #[test]
    fn other_vectors_have_their_names() {
        assert_eq!(Cause::of(0, 0, 0, 0).to_string(), "Divide Error (#DE), error code 0x0");
        assert_eq!(Cause::of(200, 0, 0, 0).to_string(), "interrupt 200, which nothing has asked for");
    }
}
