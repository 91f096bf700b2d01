//! Lets the linker find `freehold.ld`, whoever links an appliance and wherever its crate lies: search paths of a build
//! script reach the linking of all that depends on its package, link arguments do not.

use std::path::PathBuf;

fn main() {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    println!("cargo::rerun-if-changed=link");
    println!("cargo::rustc-link-search=native={}", manifest.join("link").display());
}
