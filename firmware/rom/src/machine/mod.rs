//! The machine that the ROM runs on, from its reset to the kernel's entry.

mod console;
mod dma;
mod head;
mod memory;
mod ports;

use core::panic::PanicInfo;
use dma::Dma;
use freehold_rom::boot::prepare;
use memory::Memory;
use ports::Hardware;

/// Called once, by the head, on the stack of [`freehold_rom::low_memory`].
#[unsafe(no_mangle)]
extern "C" fn freehold_rom_main() -> ! {
    // SAFETY: this is the ROM's one processor, and this function is called once.
    let mut memory = unsafe { Memory::take() };
    match prepare(&mut Dma, &mut Hardware, memory.low, &mut memory.high) {
        Ok(entry) => head::enter(entry),
        Err(failure) => console::fail(failure.message()),
    }
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    console::fail("the ROM itself failed")
}
