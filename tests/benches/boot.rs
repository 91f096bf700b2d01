//! `just bench boot`: what it takes to start and end a guest, and how large images are, each figure beside its target.
//!
//! All is measured in one run, one after the other, on a machine that should be idle. Nothing fails for being slow.

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};
use serde_json::Value;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;
use system_tests::artifact::Artifacts;
use system_tests::empty_guest;
use system_tests::lane::{Lane, Lanes};

/// Measured starts, after [`WARM_UP`] that are not counted.
const RUNS: usize = 30;
const WARM_UP: usize = 5;

const BOOT_TARGET_MS: f64 = 5.0;
const OVERHEAD_TARGET_KIB: f64 = 3.0 * 1024.0;
const HELLO_TARGET_BYTES: u64 = 96 << 10;
const EMPTY_GUEST_TARGET_MS: f64 = 10.0;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench boot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let artifacts = Artifacts::find()?;
    let lanes = Lanes::detect(&artifacts)?;
    sizes(&artifacts)?;
    match lanes.missing(Lane::Kvm) {
        None => kvm(&artifacts)?,
        Some(reason) => println!("\nKVM: nothing measured: {reason}"),
    }
    match lanes.missing(Lane::QemuMicrovm) {
        None => qemu(&artifacts)?,
        Some(reason) => println!("\nQEMU: nothing measured: {reason}"),
    }
    Ok(())
}

/// Figures of one kind, sorted.
struct Figures(Vec<f64>);

impl Figures {
    fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => f64::NAN,
            even if even % 2 == 0 => f64::midpoint(self.0[middle - 1], self.0[middle]),
            _ => self.0[middle],
        }
    }

    /// One line of the table: median, then the least and the greatest.
    fn print(&self, name: &str, unit: &str, target: &str) {
        let (least, greatest) = (self.0.first().unwrap_or(&f64::NAN), self.0.last().unwrap_or(&f64::NAN));
        let range = format!("{least:.2} to {greatest:.2}");
        println!("  {name:<38} {:>9.2} {unit:<4} {range:>20}  {target}", self.median());
    }
}

/// Milliseconds from the start of a process to its end, which must be successful.
fn milliseconds(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    Ok(time.as_secs_f64() * 1e3)
}

fn repeat<T>(mut run: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    for _ in 0..WARM_UP {
        run()?;
    }
    (0..RUNS).map(|_| run()).collect()
}

fn vmm(artifacts: &Artifacts, lane: Lane, image: &Path) -> Command {
    let mut command = Command::new(&artifacts.vmm_stub);
    command.arg("run").arg(image).args(lane.options()).args(["--timeout", "20s"]);
    command
}

fn kvm(artifacts: &Artifacts) -> Result<()> {
    println!("\nhello under vmm-stub on KVM, 512 MiB, {RUNS} runs: median, least to greatest");
    // By turns, so that whatever else the machine does meets all alike.
    let mut process = Vec::new();
    let mut whole = Vec::new();
    let mut timings = Vec::new();
    for (bare, vmm, timing) in repeat(|| {
        let bare = milliseconds(&mut Command::new("/bin/true"))?;
        Ok((bare, milliseconds(&mut vmm(artifacts, Lane::Kvm, &artifacts.hello))?, timing(artifacts)?))
    })? {
        process.push(bare);
        whole.push(vmm);
        timings.push(timing);
    }
    let figures = |of: &dyn Fn(&Value) -> f64| Figures::new(timings.iter().map(of).collect());
    let part = |name: &str| figures(&|timing| timing[name].as_f64().unwrap_or(f64::NAN) / 1e3);
    let sum =
        |names: &[&str], timing: &Value| names.iter().filter_map(|name| timing[name].as_f64()).sum::<f64>();
    let inside = ["boot_us", "application_us"];
    let entry_and_exit = figures(&|timing| (sum(&["guest_us"], timing) - sum(&inside, timing)) / 1e3);
    let told = figures(&|timing| sum(&["setup_us", "guest_us", "teardown_us"], timing) / 1e3);
    let whole = Figures::new(whole);
    whole.print("process start to exit", "ms", &format!("target: under {BOOT_TARGET_MS} ms"));
    part("setup_us").print("  VMM set-up", "ms", "");
    part("boot_us").print("  guest boot", "ms", "");
    part("application_us").print("  application", "ms", "");
    entry_and_exit.print("  guest before boot and after its end", "ms", "");
    part("teardown_us").print("  tear-down", "ms", "");
    let outside = whole.median() - told.median();
    println!("  {:<38} {outside:>9.2} ms", "  process start and end, by difference");
    Figures::new(process).print("for scale: /bin/true", "ms", "");
    let overhead = figures(&|timing| timing["vmm_peak_rss_kib"].as_f64().unwrap_or(f64::NAN));
    let target = format!("target: under {OVERHEAD_TARGET_KIB} KiB");
    overhead.print("peak RSS beyond guest memory", "KiB", &target);
    println!(
        "  VM exits of the last run: {}",
        timings.last().map_or(&Value::Null, |timing| &timing["exits"])
    );
    Ok(())
}

/// What `vmm-stub` tells of one run of hello.
fn timing(artifacts: &Artifacts) -> Result<Value> {
    let output = vmm(artifacts, Lane::Kvm, &artifacts.hello).arg("--timing").output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = errors.lines().find_map(|line| line.strip_prefix("timing: "));
    Ok(serde_json::from_str(line.ok_or_else(|| format!("no timing line: {errors}"))?)?)
}

fn qemu(artifacts: &Artifacts) -> Result<()> {
    println!("\nQEMU microvm without KVM, 512 MiB, {RUNS} runs by turns: median, least to greatest");
    let folder = tempfile::tempdir()?;
    let empty = folder.path().join("empty");
    fs::write(&empty, empty_guest::image())?;
    let run = |image: &Path| milliseconds(&mut vmm(artifacts, Lane::QemuMicrovm, image));
    let pairs = repeat(|| Ok((run(&artifacts.hello)?, run(&empty)?)))?;
    let (hello, empty): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let (hello, empty) = (Figures::new(hello), Figures::new(empty));
    hello.print("hello", "ms", "");
    empty.print("empty guest", "ms", "");
    let difference = hello.median() - empty.median();
    println!(
        "  {:<38} {difference:>9.2} ms {:>22}target: under {EMPTY_GUEST_TARGET_MS} ms",
        "difference of the medians", ""
    );
    Ok(())
}

fn sizes(artifacts: &Artifacts) -> Result<()> {
    println!("ELF sizes, stripped: bytes, of which symbol table");
    let images = [
        ("hello", &artifacts.hello, format!("target: under {HELLO_TARGET_BYTES} bytes")),
        ("memory-stress", &artifacts.memory_stress, String::new()),
    ];
    for (name, path, target) in images {
        let file = fs::read(path)?;
        println!("  {name:<38} {:>9} {:>9}  {target}", file.len(), symbol_table_len(&file)?);
    }
    Ok(())
}

fn symbol_table_len(file: &[u8]) -> Result<u64> {
    let header = FileHeader64::<LittleEndian>::parse(file)?;
    let headers = header.program_headers(LittleEndian, file)?;
    let table = headers
        .iter()
        .find(|header| header.p_type(LittleEndian) == guest_interface::symbols::PROGRAM_HEADER_TYPE);
    Ok(table.map_or(0, |table| table.p_filesz(LittleEndian)))
}
