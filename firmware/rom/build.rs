//! Gives the ROM its own linker script, under the name that every guest is linked with, and makes the linker's output the
//! bytes of the ROM instead of an ELF file.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=link");
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|system| system == "none") {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
        println!("cargo::rustc-link-search=native={}", manifest.join("link").display());
        println!("cargo::rustc-link-arg-bins=--oformat=binary");
    }
}
