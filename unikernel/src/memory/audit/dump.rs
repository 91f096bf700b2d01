//! A readable map of an address space.

use super::walk::{Seen, Visitor, walk};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::kind::Kind;
use crate::memory::page_table::Machine;
use crate::memory::page_table::attributes::{Attributes, DeviceCache, MmioAttributes};
use crate::memory::page_table::entry::EntryKind;
use crate::memory::page_table::span::{Span, canonical};
use core::fmt;
use x86::bits64::paging::PTFlags;

/// Prints all live mappings, a line each: neighbours that differ in nothing but their place are one.
pub struct Dump<M> {
    machine: M,
    name_of: fn(VirtAddr) -> Option<&'static str>,
}

impl<M: Machine> Dump<M> {
    /// Without names.
    pub const fn new(machine: M) -> Self {
        Self::with_names(machine, |_| None)
    }

    /// With the name of what is mapped behind each line.
    pub const fn with_names(machine: M, name_of: fn(VirtAddr) -> Option<&'static str>) -> Self {
        Self { machine, name_of }
    }
}

/// Mappings side by side, in both spaces.
#[derive(Clone, Copy)]
struct Stretch {
    kind: Option<Kind>,
    span: Span,
    phys: PhysAddr,
    /// Of a 4 KiB leaf.
    attributes: u64,
    leaf_bytes: u64,
    name: Option<&'static str>,
}

impl Stretch {
    fn of(seen: &Seen, name_of: fn(VirtAddr) -> Option<&'static str>) -> Self {
        let attributes = seen.entry.attributes(seen.level);
        Self {
            kind: seen.kind,
            span: seen.block,
            phys: seen.leaf_phys(),
            attributes,
            leaf_bytes: seen.block.len_bytes(),
            name: name_of(canonical(seen.block.start)),
        }
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let alike =
            (self.kind, self.attributes, self.leaf_bytes) == (next.kind, next.attributes, next.leaf_bytes);
        let end = self.phys.as_u64() + self.span.len_bytes();
        alike && self.name == next.name && self.span.end == next.span.start && end == next.phys.as_u64()
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |set: bool, letter| if set { letter } else { '-' };
        let write = letter(self.attributes & PTFlags::RW.bits() != 0, 'w');
        let execute = letter(self.attributes & PTFlags::XD.bits() == 0, 'x');
        let cache = match (self.kind, MmioAttributes::from_bits(self.attributes).cache) {
            (Some(Kind::Mmio), DeviceCache::Uncached) => "UC",
            (Some(Kind::Mmio), DeviceCache::WriteCombining) => "WC",
            _ => "WB",
        };
        let size = match self.leaf_bytes {
            0x1000 => "4 KiB",
            0x20_0000 => "2 MiB",
            _ => "1 GiB",
        };
        let last = canonical(self.span.end - 1).as_u64();
        write!(formatter, "{:#018x}-{last:#018x} ", canonical(self.span.start).as_u64())?;
        match self.kind {
            Some(kind) => write!(formatter, "{kind:<4}")?,
            None => formatter.write_str("????")?,
        }
        let count = self.span.len_bytes() / self.leaf_bytes;
        write!(formatter, " r{write}{execute} {cache} {count:>7} x {size} to {:#014x}", self.phys.as_u64())?;
        self.name.map_or(Ok(()), |name| write!(formatter, "  {name}"))
    }
}

struct Printer<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    name_of: fn(VirtAddr) -> Option<&'static str>,
    open: Option<Stretch>,
    result: fmt::Result,
}

impl Printer<'_, '_> {
    fn close(&mut self) {
        if let Some(stretch) = self.open.take() {
            self.result = self.result.and_then(|()| writeln!(self.formatter, "{stretch}"));
        }
    }
}

impl Visitor for Printer<'_, '_> {
    fn entry(&mut self, seen: &Seen) -> bool {
        if seen.what() == EntryKind::Leaf {
            let next = Stretch::of(seen, self.name_of);
            match &mut self.open {
                Some(open) if open.is_followed_by(&next) => open.span.end = next.span.end,
                _ => {
                    self.close();
                    self.open = Some(next);
                }
            }
        }
        seen.what() == EntryKind::Node
    }

    fn table(&mut self, _: &Seen, _: u64) {}
}

impl<M: Machine> fmt::Display for Dump<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut printer = Printer { formatter, name_of: self.name_of, open: None, result: Ok(()) };
        walk(&self.machine, &mut printer);
        printer.close();
        printer.result
    }
}
