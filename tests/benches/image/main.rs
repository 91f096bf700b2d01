//! `just bench image`: what an image weighs, what making it takes, and how long its way is from power-on to the application under each
//! firmware, beside a disk with GRUB that loads the same file.
//!
//! All is measured in one run, by turns, on a machine that should be idle. Nothing fails for being slow.

mod figures;
mod grub;

use figures::Ways;
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};
use system_tests::artifact::{Artifacts, workspace};
use system_tests::disk::qemu_status;
use system_tests::lane::{Lane, Lanes};
use system_tests::ovmf::Ovmf;
use system_tests::qemu::{Accelerator, Qemu};
use system_tests::start_stub;

const IMAGE_TARGET_BYTES: usize = 4 << 20;
const ROM_TARGET_MS: f64 = 5.0;

/// What a machine takes at most.
const LIMIT: Duration = Duration::from_secs(60);

/// Code of either mode that ends the machine with status 0: xor eax, eax; out EXIT, eax; hlt.
const END_AT_ONCE: [u8; 5] = [0x31, 0xc0, 0xe7, guest_interface::ports::EXIT as u8, 0xf4];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

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
    let bench = Bench { artifacts: Artifacts::find()?, folder: tempfile::tempdir()?.keep() };
    let measured = bench.sizes().and_then(|()| bench.build()).and_then(|()| bench.times());
    fs::remove_dir_all(&bench.folder)?;
    measured
}

struct Bench {
    artifacts: Artifacts,
    folder: PathBuf,
}

impl Bench {
    /// A disk image of an appliance, with both loaders.
    fn image(&self, appliance: &Path, name: &str) -> Result<PathBuf> {
        let output = self.folder.join(name);
        let mut command = Command::new(self.artifacts.disk_image()?);
        command.arg("make").arg(appliance).arg("--output").arg(&output).arg("--force");
        command.arg("--uefi-loader").arg(self.artifacts.uefi_loader()?);
        run(&mut command)?;
        Ok(output)
    }

    fn sizes(&self) -> Result<()> {
        println!(
            "raw images with both loaders, bytes, and the appliance's own; target: under {IMAGE_TARGET_BYTES}"
        );
        for (name, appliance) in
            [("hello", &self.artifacts.hello), ("memory-stress", &self.artifacts.memory_stress)]
        {
            let image = fs::read(self.image(appliance, name)?)?;
            let compressed = run(Command::new("gzip").arg("-9c").arg(self.folder.join(name)))?.len();
            let own = fs::metadata(appliance)?.len();
            println!("  {name:<56} {:>9} {own:>9}; gzip -9 makes it {compressed}", image.len());
        }
        if grub::missing().is_none() {
            let disk = grub::disk(&fs::read(&self.artifacts.hello)?, &self.folder)?;
            println!("  {:<56} {:>9}", "for scale: hello with GRUB, for a BIOS alone", disk.len());
        }
        Ok(())
    }

    /// What a change of an appliance takes to become an image.
    fn build(&self) -> Result<()> {
        let mut ways = Ways::default();
        ways.add("disk-image make, both loaders", || {
            timed(|| self.image(&self.artifacts.hello, "timed").map(drop))
        });
        ways.add("just image hello, its source having changed", || {
            let source = workspace().join("unikernel/appliances/hello/src/main.rs");
            fs::File::open(source)?.set_modified(SystemTime::now())?;
            let output = self.folder.join("changed");
            let mut just = Command::new("just");
            just.current_dir(workspace()).args(["image", "hello", "--force", "--output"]).arg(output);
            timed(|| run(&mut just).map(drop))
        });
        ways.measure("from an appliance to its image", "ms").map(drop)
    }

    fn times(&self) -> Result<()> {
        let lanes = Lanes::detect(&self.artifacts)?;
        match lanes.missing(Lane::QemuPc) {
            None => self.by_bios().and_then(|()| self.by_each_firmware())?,
            Some(reason) => println!("\nQEMU: nothing measured: {reason}"),
        }
        match lanes.missing(Lane::Kvm) {
            None => self.by_rom_on_kvm(),
            Some(reason) => {
                println!("\nKVM: nothing measured: {reason}");
                Ok(())
            }
        }
    }

    /// Both loaders of a BIOS, to the first instruction of what they load: a kernel of ours that ends there.
    fn by_bios(&self) -> Result<()> {
        if let Some(reason) = grub::missing() {
            println!("\nGRUB: nothing measured: {reason}");
            return Ok(());
        }
        let kernel = start_stub::prepend(&fs::read(&self.artifacts.hello)?, &END_AT_ONCE)
            .ok_or("hello is no packed image")?;
        let (file, with_grub) = (self.folder.join("ends"), self.folder.join("grub.raw"));
        fs::write(&file, &kernel)?;
        fs::write(&with_grub, grub::disk(&kernel, &self.folder)?)?;
        let ours = self.image(&file, "ends.raw")?;
        let mut ways = Ways::default();
        ways.add("our loader, hello loaded and entered", || power_on(machine("pc").disk(&ours)));
        ways.add("GRUB, hello's file loaded beside a stub that is entered", || {
            power_on(machine("pc").disk(&with_grub))
        });
        let medians = ways.measure("pc under SeaBIOS, TCG, QEMU's start to its exit", "ms")?;
        println!("  {}", if medians[0] < medians[1] { "reached: faster than GRUB" } else { "not reached" });
        Ok(())
    }

    /// hello from power-on to its end.
    fn by_each_firmware(&self) -> Result<()> {
        let (kernel, rom) = (&self.artifacts.hello, &self.artifacts.rom()?);
        let image = self.image(kernel, "hello.raw")?;
        let mut ways = Ways::default();
        let by_rom = |name| machine(name).option("-bios", rom);
        ways.add("microvm, PVH: -kernel", || power_on(machine("microvm").kernel(kernel)));
        ways.add("microvm, our ROM: -kernel", || power_on(by_rom("microvm").kernel(kernel)));
        ways.add("pc, PVH: -kernel, by SeaBIOS and its option ROM", || {
            power_on(machine("pc").kernel(kernel))
        });
        ways.add("pc, our ROM: -kernel", || power_on(by_rom("pc").kernel(kernel)));
        ways.add("pc, our ROM: disk image", || power_on(by_rom("pc").disk(&image)));
        ways.add("pc, SeaBIOS: disk image", || power_on(machine("pc").disk(&image)));
        match Ovmf::find() {
            Ok(ovmf) => ways.add("q35, OVMF: disk image", {
                let image = image.clone();
                move || {
                    let flash = |machine: Qemu, file, option| {
                        machine.drive(file, &format!("if=pflash,format=raw,{option}"))
                    };
                    let machine = flash(machine("q35").disk(&image), &ovmf.code, "readonly=on");
                    power_on(flash(machine, &ovmf.variables, "snapshot=on"))
                }
            }),
            Err(missing) => println!("\nOVMF: nothing measured: {missing}"),
        }
        ways.measure("hello under each firmware, TCG, QEMU's start to its exit", "ms").map(drop)
    }

    /// hello under vmm-stub, from the first entry of the guest to its end.
    fn by_rom_on_kvm(&self) -> Result<()> {
        let image = self.image(&self.artifacts.hello, "hello.raw")?;
        let rom = self.artifacts.rom()?;
        let guest = |kernel: &Path, firmware: bool| {
            let mut command = Command::new(&self.artifacts.vmm_stub);
            command.arg("run").arg(kernel).args(["--host", "kvm", "--memory", "64M", "--timeout", "20s"]);
            command.arg("--timing");
            if firmware {
                command.arg("--firmware").arg(&rom);
            }
            guest_milliseconds(&mut command)
        };
        let mut ways = Ways::default();
        ways.add("direct: the appliance", || guest(&self.artifacts.hello, false));
        ways.add("direct: the disk image", || guest(&image, false));
        ways.add("our ROM: the appliance", || guest(&self.artifacts.hello, true));
        ways.add("our ROM: the disk image", || guest(&image, true));
        let medians = ways.measure("hello under vmm-stub on KVM, time in the guest", "ms")?;
        let added = medians[2] - medians[0];
        let outcome = if added < ROM_TARGET_MS { "reached" } else { "not reached" };
        println!(
            "  the ROM adds {added:.2} ms to the appliance; target: under {ROM_TARGET_MS} ms; {outcome}"
        );
        Ok(())
    }
}

/// A machine of QEMU's without KVM.
fn machine(name: &str) -> Qemu {
    Qemu::new(Accelerator::Tcg, name, "256M")
}

/// Milliseconds from QEMU's start to its end, which must be the guest's success.
fn power_on(machine: Qemu) -> Result<f64> {
    let verdict = machine.end(LIMIT)?;
    verdict.status(qemu_status(0))?;
    Ok(verdict.ended().wall.as_secs_f64() * 1e3)
}

/// What `vmm-stub` tells of the time between a guest's first entry and its end.
fn guest_milliseconds(command: &mut Command) -> Result<f64> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("ended with {}: {}", output.status, errors.trim()).into());
    }
    let line = errors.lines().find_map(|line| line.strip_prefix("timing: "));
    let timing: Value = serde_json::from_str(line.ok_or("no timing line")?)?;
    Ok(timing["guest_us"].as_f64().ok_or("no time of the guest")? / 1e3)
}

/// Milliseconds that a piece of work takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Runs a command that must succeed, and returns what it printed.
fn run(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(output.stdout)
}
