//! What lies at an address, in words.

use crate::cpu::descriptors::{FAULT_STACK_MAPPED, fault_stack};
use crate::memory::guarded_stack::BOOT_STACK;
use crate::memory::{AddressRange, PAGE_LEN};
use crate::memory::{image, ram};
use core::fmt;
use guest_interface::layout::HIGH_RAM_START;

/// What the address space holds at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    /// The page at address 0.
    NullPage,
    /// Bits 63 to 47 are not all equal.
    NonCanonical,
    /// The page below a stack.
    Guard(&'static str),
    /// A stack.
    Stack(&'static str),
    /// A section of the image.
    Image(image::Section),
    /// RAM that the application heap is made of.
    Heap,
    /// RAM below 1 MiB.
    BootData,
    /// RAM that is in use otherwise.
    OtherRam,
    /// Nothing is mapped there.
    Unmapped,
}

impl Region {
    /// The region that holds `address`.
    pub(crate) fn of(address: u64) -> Self {
        let stacks = [
            ("boot stack", BOOT_STACK.guard(), BOOT_STACK.stack()),
            (
                "fault stack",
                FAULT_STACK_MAPPED.start - PAGE_LEN..FAULT_STACK_MAPPED.start,
                FAULT_STACK_MAPPED,
            ),
            ("fault stack", 0..0, fault_stack()),
        ];
        Self::find(address, &stacks, &image::sections())
    }

    /// Looks through the given stacks (name, guard, stack) and sections, then at the RAM of the machine.
    fn find(
        address: u64,
        stacks: &[(&'static str, AddressRange, AddressRange)],
        sections: &[image::Section],
    ) -> Self {
        let sign_bits = (address as i64) >> 47;
        if sign_bits != 0 && sign_bits != -1 {
            return Self::NonCanonical;
        }
        if address < PAGE_LEN {
            return Self::NullPage;
        }
        for (name, guard, stack) in stacks {
            if guard.contains(&address) {
                return Self::Guard(name);
            }
            if stack.contains(&address) {
                return Self::Stack(name);
            }
        }
        if let Some(section) = sections.iter().find(|section| section.range.contains(&address)) {
            return Self::Image(section.clone());
        }
        match ram::of_machine() {
            Some(ram) if ram.free().contains(address) => Self::Heap,
            Some(ram) if ram.all().contains(address) && address < HIGH_RAM_START => Self::BootData,
            Some(ram) if ram.all().contains(address) => Self::OtherRam,
            _ => Self::Unmapped,
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NullPage => formatter.write_str("null page, never mapped"),
            Self::NonCanonical => formatter.write_str("non-canonical address"),
            Self::Guard(stack) => write!(formatter, "guard page below the {stack}, never mapped"),
            Self::Stack(name) => write!(formatter, "{name}, not executable"),
            Self::Image(image::Section { name, writable, executable, .. }) => {
                let write = if *writable { "writable" } else { "not writable" };
                let execute = if *executable { "executable" } else { "not executable" };
                write!(formatter, "{name}, {write}, {execute}")
            }
            Self::Heap => formatter.write_str("heap, not executable"),
            Self::BootData => formatter.write_str("boot data below 1 MiB, not executable"),
            Self::OtherRam => formatter.write_str("RAM outside of the heap, not executable"),
            Self::Unmapped => formatter.write_str("nothing is mapped there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_name_wins() {
        let section =
            image::Section { name: "data", range: 0x20_0000..0x21_0000, writable: true, executable: false };
        let stacks = [("test stack", 0x20_1000..0x20_2000, 0x20_2000..0x20_4000)];
        let find = |address| Region::find(address, &stacks, core::slice::from_ref(&section));
        assert_eq!(find(0xfff), Region::NullPage);
        assert_eq!(find(0x20_1fff), Region::Guard("test stack"));
        assert_eq!(find(0x20_2000), Region::Stack("test stack"));
        assert_eq!(find(0x20_4000), Region::Image(section.clone()));
        assert_eq!(find(0x21_0000), Region::Unmapped);
        assert_eq!(find(0x0000_8000_0000_0000), Region::NonCanonical);
        assert_eq!(find(0xffff_8000_0000_0000), Region::Unmapped);
    }
}
