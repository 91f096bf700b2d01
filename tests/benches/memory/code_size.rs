//! How much code the core is, in a guest that does every operation with every kind and size, on two machines: its own, which
//! it lives in, and a simulated one.

use crate::Result;
use object::{Object, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;
use std::fs;
use system_tests::artifact::target_dir;

const TARGET_BYTES: u64 = 24 << 10;

/// Parts of the core by the module that their functions are in.
const PARTS: [(&str, &str); 4] = [
    ("page tables", "unikernel::memory::page_table::"),
    ("frames", "unikernel::memory::frame::"),
    ("address space", "unikernel::memory::address_space::"),
    ("addresses", "unikernel::memory::subtree::"),
];

/// Prints the bytes of the core's functions. What was inlined into the guest's own functions is not among them.
///
/// # Errors
///
/// When the guest was not built.
pub(crate) fn print() -> Result<()> {
    let path = target_dir().join("x86_64-unknown-none/guest/kernel-tests");
    let file = fs::read(&path).map_err(|error| format!("'{}': {error}", path.display()))?;
    let image = object::File::parse(&*file)?;
    // By address: the compiler gives functions that turned out alike one body with several names.
    let functions: BTreeMap<u64, (u64, String)> = image
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .filter_map(|symbol| {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
            Some((symbol.address(), (symbol.size(), name)))
        })
        .collect();
    println!(
        "\ncode of the core in the guest kernel-tests, three kinds and three sizes, for two machines, in bytes"
    );
    let mut whole = 0;
    for (part, module) in PARTS {
        let of_part = functions.values().filter(|(_, name)| name.contains(module) && !name.contains("::fmt"));
        let bytes: u64 = of_part.map(|(size, _)| size).sum();
        println!("  {part:<50} {bytes:>7}");
        whole += bytes;
    }
    let verdict = if whole < TARGET_BYTES { "reached" } else { "not reached" };
    println!("  {:<50} {whole:>7}  reach: under {TARGET_BYTES}: {verdict}", "all");
    Ok(())
}
