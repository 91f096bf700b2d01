//! Backtraces along the chain of saved frame pointers.
//!
//! Every function of an image keeps RBP as its frame pointer: at `[rbp]` lies the caller's RBP, at `[rbp + 8]` the return
//! address. The head starts the chain with 0, and the entries of exceptions and interrupts continue that of what they
//! interrupt. The walk trusts nothing: it stays inside of one stack and goes upwards only.

use super::symbols::CodeAddress;
use crate::cpu::descriptors::FAULT_STACK_MAPPED;
use crate::memory::AddressRange;
use crate::memory::guarded_stack::BOOT_STACK;
use crate::memory::image;
use core::fmt;

/// Most lines of a displayed backtrace, not counting repetitions.
const LINES_MAX: usize = 32;

/// Return addresses from the innermost caller outwards. Displays as one line a frame, and
/// one for repetitions.
#[derive(Clone, Copy, Debug)]
pub struct Backtrace {
    frame_pointer: u64,
}

impl Backtrace {
    /// From the caller of this function on.
    #[must_use]
    #[inline(always)]
    pub fn here() -> Self {
        let frame_pointer: u64;
        // SAFETY: copies a register.
        unsafe {
            core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
        };
        Self { frame_pointer }
    }

    /// From a saved frame pointer on.
    pub(crate) fn from_frame_pointer(frame_pointer: u64) -> Self {
        Self { frame_pointer }
    }

    /// The return addresses.
    pub fn callers(self) -> impl Iterator<Item = CodeAddress> {
        // SAFETY: the walk reads inside of a stack, all of which is mapped.
        let read = |address: u64| unsafe { (address as *const u64).read_volatile() };
        walk(self.frame_pointer, stack_of(self.frame_pointer), read)
    }
}

/// The stack that holds `address`, or an empty range.
fn stack_of(address: u64) -> AddressRange {
    [BOOT_STACK.stack(), FAULT_STACK_MAPPED]
        .into_iter()
        .find(|stack| stack.contains(&address))
        .unwrap_or(0..0)
}

/// Who called code that is none: the return address at the stack pointer, if there is one into the image.
pub(crate) fn caller_of_no_code(rip: u64, rsp: u64) -> Option<CodeAddress> {
    let is_code =
        |address| image::sections().iter().any(|part| part.executable && part.range.contains(&address));
    let on_stack = rsp.is_multiple_of(8) && stack_of(rsp).contains(&rsp);
    if is_code(rip) || !on_stack {
        return None;
    }
    // SAFETY: an aligned word inside of a stack, all of which is mapped.
    let return_address = unsafe { (rsp as *const u64).read_volatile() };
    is_code(return_address).then_some(CodeAddress(return_address))
}

/// Walks a chain that lies in `stack`, reading words of it with `read`.
fn walk(start: u64, stack: AddressRange, read: impl Fn(u64) -> u64) -> impl Iterator<Item = CodeAddress> {
    let mut frame_pointer = start;
    let mut lowest = stack.start;
    core::iter::from_fn(move || {
        let inside = frame_pointer >= lowest && frame_pointer.checked_add(16)? <= stack.end;
        if !inside || !frame_pointer.is_multiple_of(8) {
            return None;
        }
        let return_address = read(frame_pointer + 8);
        lowest = frame_pointer + 16;
        frame_pointer = read(frame_pointer);
        (return_address != 0).then_some(CodeAddress(return_address))
    })
}

impl fmt::Display for Backtrace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = image::range();
        let mut callers = self.callers().take_while(|caller| image.contains(&caller.0)).peekable();
        let mut number = 0_usize;
        for _ in 0..LINES_MAX {
            let Some(caller) = callers.next() else { return Ok(()) };
            writeln!(formatter, "  {number:>4}: {}", ReturnAddress(caller.0))?;
            number += 1;
            let mut again = 0;
            while callers.next_if_eq(&caller).is_some() {
                again += 1;
            }
            if again > 0 {
                writeln!(formatter, "        the same {again} more times")?;
                number += again;
            }
        }
        if callers.peek().is_some() { writeln!(formatter, "        and more") } else { Ok(()) }
    }
}

/// Displays a return address with the function that made the call. The address may be the first byte behind it.
struct ReturnAddress(u64);

impl fmt::Display for ReturnAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match CodeAddress(self.0.wrapping_sub(1)).function() {
            Some((name, offset)) => write!(formatter, "{:#x} {name}+{:#x}", self.0, offset + 1),
            None => write!(formatter, "{:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const STACK: AddressRange = 0x1000..0x1040;

    fn callers(start: u64, words: [u64; 8]) -> Vec<u64> {
        let read = |address: u64| words[(address - STACK.start) as usize / 8];
        walk(start, STACK, read).map(|caller| caller.0).collect()
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        assert_eq!(callers(0x1000, [0x1020, 0xaa, 0, 0, 0x1030, 0xbb, 0, 0xcc]), [0xaa, 0xbb, 0xcc]);
    }

    #[test]
    fn a_broken_chain_ends_where_it_breaks() {
        assert_eq!(callers(0x1000, [0x1000, 0xaa, 0, 0, 0, 0, 0, 0]), [0xaa], "a loop");
        assert_eq!(callers(0x1010, [0, 0, 0x1000, 0xaa, 0, 0, 0, 0]), [0xaa], "downwards");
        assert_eq!(callers(0x1000, [0x1024, 0xaa, 0, 0, 0, 0, 0, 0]), [0xaa], "unaligned");
        assert_eq!(callers(0x1000, [0x1038, 0xaa, 0, 0, 0, 0, 0, 0]), [0xaa], "cut by the end of the stack");
        assert_eq!(callers(0x1000, [u64::MAX - 7, 0xaa, 0, 0, 0, 0, 0, 0]), [0xaa], "overflowing");
        assert!(callers(0, [0; 8]).is_empty());
    }
}
