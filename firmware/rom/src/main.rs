//! The ROM itself, for the target `x86_64-unknown-none`: what surrounds [`freehold_rom::boot`] on a machine.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "freehold-rom is firmware: build it with `just firmware`, and boot it with `qemu-system-x86_64 -bios`"
    );
    std::process::ExitCode::from(2)
}
