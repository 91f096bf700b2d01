//! Where the parts of the running image lie, from the linker script, and its symbol table, from the packing tool.

use crate::memory::AddressRange;
use guest_interface::symbols::{Locator, SymbolTable};
use spin::Once;

/// A part of the image with permissions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// What messages call it.
    pub(crate) name: &'static str,
    /// Whole pages.
    pub(crate) range: AddressRange,
    /// Whether it may be written.
    pub(crate) writable: bool,
    /// Whether it may be executed.
    pub(crate) executable: bool,
}

/// Filled in by the packing tool, in the file; to the compiler it is any value, hence read as volatile.
#[used]
#[cfg_attr(target_os = "none", unsafe(link_section = ".symbol_locator"))]
static LOCATOR: Locator = Locator::EMPTY;

/// The sections of the image in ascending order.
#[cfg(target_os = "none")]
pub(crate) fn sections() -> [Section; 4] {
    // SAFETY: symbols of the linker script, of which only the addresses are taken.
    unsafe extern "C" {
        static image_start: u8;
        static text_start: u8;
        static text_end: u8;
        static data_start: u8;
        static image_end: u8;
    }
    let start = &raw const image_start as u64;
    let text = &raw const text_start as u64..&raw const text_end as u64;
    let data = &raw const data_start as u64..&raw const image_end as u64;
    let part = |name, start, end, writable, executable| Section {
        name,
        range: crate::memory::covering_pages(&(start..end)),
        writable,
        executable,
    };
    [
        part("kernel read-only data", start, text.start, false, false),
        part("kernel text", text.start, text.end, false, true),
        part("kernel data", data.start, data.end, true, false),
        Section {
            name: "kernel symbol table",
            range: crate::memory::covering_pages(&symbol_range()),
            writable: false,
            executable: false,
        },
    ]
}

/// On the host there is no image.
#[cfg(not(target_os = "none"))]
pub(crate) fn sections() -> [Section; 4] {
    [const { Section { name: "no image", range: 0..0, writable: false, executable: false } }; 4]
}

/// All addresses of the image, with its symbol table.
pub(crate) fn range() -> AddressRange {
    let sections = sections();
    sections[0].range.start..sections.iter().map(|section| section.range.end).fold(0, u64::max)
}

/// The addresses of the symbol table; empty in an image that was not packed.
fn symbol_range() -> AddressRange {
    // SAFETY: reading a static; volatile, since the file holds another value than the compiler saw.
    let locator = unsafe { (&raw const LOCATOR).read_volatile() };
    locator.address..locator.address.saturating_add(locator.len_bytes)
}

/// The symbol table, if the image was packed.
pub(crate) fn symbols() -> Option<SymbolTable<'static>> {
    static SYMBOLS: Once<Option<SymbolTable<'static>>> = Once::new();
    *SYMBOLS.call_once(|| {
        let range = symbol_range();
        if range.is_empty() {
            return None;
        }
        // SAFETY: the packing tool put the table there as a read-only segment of this image, which the VMM has loaded and
        // which stays mapped for ever.
        let bytes = unsafe {
            core::slice::from_raw_parts(range.start as *const u8, (range.end - range.start) as usize)
        };
        SymbolTable::new(bytes)
    })
}
