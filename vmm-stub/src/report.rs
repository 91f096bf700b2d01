//! What is said about a machine that has ended.

use crate::vcpu::registers::Location;
use guest_interface::status::{ExitStatus, VmmStatus};
use guest_interface::symbols::SymbolTable;
use std::fmt;
use std::io::Write;

/// How a machine ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// The status the process ends with.
    pub(crate) status: ExitStatus,
    /// More on it.
    pub(crate) detail: Option<String>,
    /// Where the guest was, on hosts that tell.
    pub(crate) location: Option<Location>,
}

impl Ending {
    /// One line on an ending that is not the application's own; the application speaks for itself.
    pub(crate) fn describe(&self, symbols: Option<SymbolTable<'_>>) -> Option<String> {
        if matches!(self.status, ExitStatus::Application(_)) {
            return None;
        }
        let mut line = self.status.to_string();
        if let Some(detail) = &self.detail {
            line.extend([": ", detail]);
        }
        match (self.location, self.status) {
            (Some(Location::At(position)), ExitStatus::Vmm(status)) => {
                line.push_str(&format!("; the guest was at {}", Place { address: position.rip, symbols }));
                // Together they tell a stack overflow from other causes.
                if status == VmmStatus::TripleFault {
                    line.push_str(&format!(", rsp {:#x}, cr2 {:#x}", position.rsp, position.cr2));
                }
            }
            (Some(Location::Reset), ExitStatus::Vmm(VmmStatus::TripleFault)) => {
                line.push_str("; an AMD processor does not tell where the guest was");
            }
            _ => {}
        }
        Some(line)
    }
}

/// Most characters of a name from the image that are shown.
const NAME_LEN_MAX: usize = 160;

/// Displays a code address with the function that holds it. The name comes from the image and may hold anything, of any
/// length: only so much is shown, and only what a terminal shows as it is.
struct Place<'a> {
    address: u64,
    symbols: Option<SymbolTable<'a>>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "rip {:#x}", self.address)?;
        if let Some((symbol, offset)) = self.symbols.and_then(|symbols| symbols.find(self.address)) {
            let shown = |c: char| {
                if c.is_ascii_graphic() || c.is_alphanumeric() || " …".contains(c) { c } else { '?' }
            };
            let name: String = symbol.name.chars().take(NAME_LEN_MAX).map(shown).collect();
            write!(formatter, " ({name}+{offset:#x})")?;
        }
        Ok(())
    }
}

/// Prints one line of the VMM's own. That nobody reads it must not change how a machine ends.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "vmm-stub: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vcpu::registers::Position;
    use guest_interface::layout::IMAGE_BASE;
    use guest_interface::status::KernelStatus;
    use guest_interface::symbols::{self, Symbol};

    fn ending(status: ExitStatus) -> Ending {
        let position = Position { rip: IMAGE_BASE + 0x13, rsp: 0x7ff8, cr2: 0x7ff0 };
        Ending { status, detail: None, location: Some(Location::At(position)) }
    }

    fn vmm(status: VmmStatus) -> Ending {
        ending(ExitStatus::Vmm(status))
    }

    #[test]
    fn the_application_speaks_for_itself() {
        for written in [0, 1, 95] {
            assert_eq!(ending(ExitStatus::from_guest(written)).describe(None), None);
        }
    }

    #[test]
    fn the_kernel_has_said_where_it_was() {
        let line = ending(ExitStatus::Kernel(KernelStatus::Panic)).describe(None);
        assert_eq!(line.unwrap(), "the guest panicked (status 96)");
    }

    #[test]
    fn a_triple_fault_is_told_with_the_stack_and_the_fault_address() {
        let line = vmm(VmmStatus::TripleFault).describe(None).unwrap();
        let expected =
            "the guest triple-faulted (status 112); the guest was at rip 0x200013, rsp 0x7ff8, cr2 0x7ff0";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_triple_fault_that_took_the_place_with_it_has_none() {
        let at = |status| Ending { location: Some(Location::Reset), ..vmm(status) }.describe(None).unwrap();
        let expected =
            "the guest triple-faulted (status 112); an AMD processor does not tell where the guest was";
        assert_eq!(at(VmmStatus::TripleFault), expected);
        assert_eq!(at(VmmStatus::Timeout), "the time limit passed (status 113)");
    }

    #[test]
    fn a_place_has_its_name_if_the_image_has_symbols() {
        let name = "kernel::\u{1b}[2J\u{202e}spin";
        let table = symbols::encode(&[Symbol { name, address: IMAGE_BASE, len_bytes: 0x20 }]).unwrap();
        let mut timeout = vmm(VmmStatus::Timeout);
        timeout.detail = Some("it was 1s".to_owned());
        let expected = "the time limit passed (status 113): it was 1s; \
                        the guest was at rip 0x200013 (kernel::?[2J?spin+0x13)";
        assert_eq!(timeout.describe(SymbolTable::new(&table)).unwrap(), expected);
    }

    #[test]
    fn a_name_without_end_is_cut() {
        let name = "x".repeat(1 << 20);
        let table = symbols::encode(&[Symbol { name: &name, address: IMAGE_BASE, len_bytes: 0x20 }]).unwrap();
        let line = vmm(VmmStatus::Timeout).describe(SymbolTable::new(&table)).unwrap();
        assert!(line.len() < 2 * NAME_LEN_MAX, "{} bytes", line.len());
    }

    #[test]
    fn a_host_that_does_not_tell_where_the_guest_was_is_not_asked() {
        let ending = Ending { location: None, ..vmm(VmmStatus::Halted) };
        assert_eq!(
            ending.describe(None).unwrap(),
            "the guest halted or powered off without a status (status 118)"
        );
    }
}
