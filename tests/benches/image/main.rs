//! `just bench image`: what an image weighs and how long its way is from power-on to the application, under each firmware, beside
//! a disk with GRUB that loads the same file.
//!
//! All is measured in one run, by turns, on a machine that should be idle. Times are whole processes of QEMU, without KVM, from
//! start to exit: what QEMU itself needs is in all of them alike. Nothing fails for being slow.

mod grub;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use system_tests::artifact::Artifacts;
use system_tests::start_stub;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Code of either mode that ends the machine with status 0: xor eax, eax; out EXIT, eax; hlt.
const END_AT_ONCE: [u8; 5] = [0x31, 0xc0, 0xe7, guest_interface::ports::EXIT as u8, 0xf4];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let artifacts = Artifacts::find()?;
    let folder = tempfile::tempdir()?;
    let hello = fs::read(&artifacts.hello)?;
    let ends = start_stub::prepend(&hello, &END_AT_ONCE).ok_or("hello is no packed image")?;
    let disk = folder.path().join("grub.raw");
    fs::write("/tmp/grub/disk.raw", grub::disk(&ends, folder.path())?)?;
    fs::write(&disk, grub::disk(&ends, folder.path())?)?;
    for _ in 0..5 { println!("grub {:.1}", qemu(&disk)?); }
    let ends_path = folder.path().join("ends");
    fs::write(&ends_path, &ends)?;
    let ours = folder.path().join("ours.raw");
    let made = Command::new(artifacts.disk_image()?).arg("make").arg(&ends_path).arg("--output").arg(&ours).output()?;
    println!("{}", String::from_utf8_lossy(&made.stderr));
    for _ in 0..5 { println!("ours {:.1}", qemu(&ours)?); }
    Ok(())
}

fn qemu(disk: &Path) -> Result<f64> {
    let mut command = Command::new("timeout");
    command.args(["20", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-M", "pc", "-m", "256M", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive"]).arg(format!("file={},format=raw,snapshot=on", disk.display()));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let out = command.output()?;
    let time = start.elapsed();
    if out.status.code() != Some(1) { return Err(format!("{} {}", out.status, String::from_utf8_lossy(&out.stdout)).into()); }
    Ok(time.as_secs_f64() * 1e3)
}
