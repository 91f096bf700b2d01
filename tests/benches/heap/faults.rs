//! Page faults in the guest against those of a process of the host, by turns: `fault-storm` of memory-stress on both sides.

use crate::Result;
use serde_json::Value;
use std::path::Path;
use system_tests::artifact::Artifacts;
use system_tests::contest::median;
use system_tests::lane::{Lane, Lanes};
use system_tests::memory_stress::{as_process, in_guest, process_binary};

/// Turns of each side that count, after one that does not.
const TURNS: usize = 5;
/// So little that no memory is left that was never touched when something is timed.
const GUEST_MEMORY: &str = "256M";
const ARGUMENTS: [&str; 4] = ["--size", "240M", "--method", "fault-storm"];
/// What a row says, and the part of `fault-storm` it is about.
const ROWS: [(&str, &str); 6] = [
    ("a fault on pages of 4 KiB", "touch-4k-sparse"),
    ("a page of 4 KiB touched in order", "touch-4k"),
    ("a page of 2 MiB touched in order", "touch-2m"),
    ("a page of 4 KiB given back", "give-back-4k"),
    ("a page of 2 MiB given back", "give-back-2m"),
    ("a page of 4 KiB prefaulted", "prefault-4k"),
];

/// Nanoseconds of an operation of each row; none if it was refused.
type Figures = [Option<f64>; ROWS.len()];

/// Measures both sides and prints the table.
pub(crate) fn measure() -> Result<()> {
    let artifacts = Artifacts::find()?;
    let lanes = Lanes::detect(&artifacts)?;
    let Some(lane) = [Lane::Kvm, Lane::QemuQ35].into_iter().find(|lane| lanes.missing(*lane).is_none())
    else {
        println!("\npages on demand were not measured, since nothing here runs guests: {lanes}");
        return Ok(());
    };
    if let Some(reason) = lanes.missing(Lane::Kvm) {
        println!(
            "\nthere is no KVM, so the guest runs in software, on QEMU, which no ratio is about: {reason}"
        );
    }
    let process = process_binary(&artifacts, "just bench heap")?;
    let folder = tempfile::tempdir()?;
    let mut sides: [Vec<Figures>; 2] = Default::default();
    for turn in 0..=TURNS {
        for side in 0..sides.len() {
            // The other one begins each time.
            let side = (turn + side) % sides.len();
            let figures = run(side == 0, &artifacts, lane, folder.path(), &process)?;
            if turn > 0 {
                sides[side].push(figures);
            }
        }
    }
    print(&sides, lane);
    Ok(())
}

fn run(is_guest: bool, artifacts: &Artifacts, lane: Lane, folder: &Path, process: &Path) -> Result<Figures> {
    let json = if is_guest {
        in_guest(artifacts, lane, GUEST_MEMORY, folder, &ARGUMENTS)?
    } else {
        as_process(process, &ARGUMENTS)?
    };
    let document: Value = serde_json::from_str(&json)?;
    let entries = document["churn"].as_array().ok_or("the result has no churn")?;
    let of = |part| {
        let entry = entries.iter().find(|entry| entry["part"] == part)?;
        let was_done = entry["operations"].as_u64() > Some(0);
        entry["picoseconds_an_operation"].as_f64().filter(|_| was_done).map(|time| time / 1000.0)
    };
    Ok(ROWS.map(|(_, part)| of(part)))
}

fn print(sides: &[Vec<Figures>; 2], lane: Lane) {
    println!(
        "\npages on demand, guest ({GUEST_MEMORY}, {}) and process of the host, cleared on both sides;",
        lane.name()
    );
    println!(
        "medians of {TURNS} runs by turns, in nanoseconds; a fault of the guest on pages of 4 KiB maps 4, or 16 on KVM_PVM"
    );
    println!("  {:<46} {:>10} {:>10} {:>8}", "", "guest", "host", "of host");
    for (row, (title, _)) in ROWS.iter().enumerate() {
        let [guest, host] = sides.each_ref().map(|runs| {
            let figures: Option<Vec<f64>> = runs.iter().map(|run| run[row]).collect();
            figures.map(median)
        });
        let told = |figure: Option<f64>| figure.map_or("refused".to_owned(), |time| format!("{time:.0}"));
        let ratio = guest.zip(host).map_or(String::new(), |(guest, host)| format!("{:.2}", guest / host));
        println!("  {title:<46} {:>10} {:>10} {ratio:>8}", told(guest), told(host));
    }
}
