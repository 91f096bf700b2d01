//! Images with random damage: whatever a spoilt file or guest does, the VMM neither fails nor hangs.
//!
//! The damage follows from a number, which a failure shows, so that it can be had again.

use crate::context::{Context, Outcome};
use guest_interface::status::{GUEST_MAX, VmmStatus};
use libtest_mimic::Trial;
use std::fs;
use std::ops::Range;
use std::time::Duration;
use system_tests::elf::{self, Field};
use system_tests::lane::Lane;
use system_tests::verdict::Failure;

/// Long enough for a guest that is sound to end by itself.
const TIME_LIMIT: Duration = Duration::from_millis(200);
const HEADER_RUNS: u64 = 300;
const CODE_RUNS: u64 = 100;

pub(crate) fn trials(context: &'static Context) -> Vec<Trial> {
    // In parts, to run side by side.
    let headers = (0..3).map(|part| {
        let seeds = part * HEADER_RUNS / 3..(part + 1) * HEADER_RUNS / 3;
        context.trial(Lane::Kvm, &format!("corruption/headers_{part}"), move || {
            survives(context, seeds, elf::headers)
        })
    });
    let code = context.trial(Lane::Kvm, "corruption/code", || survives(context, 0..CODE_RUNS, code_of));
    headers.chain([code]).collect()
}

/// The bytes of the segment that the entry point is in.
fn code_of(file: &[u8]) -> Range<usize> {
    let entry = elf::read(file, elf::ENTRY);
    let field = |header, field| elf::read(file, header + field as usize);
    let headers = elf::program_headers_of(file, elf::LOAD);
    let code = headers.into_iter().find_map(|header| {
        let into = entry.checked_sub(field(header, Field::VirtualAddress))?;
        let len = field(header, Field::FileLen);
        (into < len).then(|| (field(header, Field::Offset), len))
    });
    code.map_or(0..0, |(offset, len)| offset as usize..(offset + len) as usize)
}

/// Boots one spoilt image for each seed.
fn survives(context: &Context, seeds: Range<u64>, area: impl Fn(&[u8]) -> Range<usize>) -> Outcome {
    let sound = fs::read(&context.artifacts.hello).map_err(Failure::start)?;
    let area = area(&sound);
    if area.is_empty() || area.end > sound.len() {
        return Err(Failure::new(format!("{area:?} is no part of hello")));
    }
    let folder = tempfile::tempdir().map_err(Failure::start)?;
    let path = folder.path().join("image");
    for seed in seeds {
        let mut random = Random::new(seed);
        let mut file = sound.clone();
        for _ in 0..=random.below(3) {
            let index = area.start + random.below(area.len() as u64) as usize;
            file[index] ^= 1 << random.below(8);
        }
        fs::write(&path, &file).map_err(Failure::start)?;
        let boot = context.boot(Lane::Kvm, &path).memory("16M").timeout(TIME_LIMIT);
        let verdict = boot.end().map_err(|failure| Failure::new(format!("seed {seed}: {failure}")))?;
        let status = verdict.ended().status.and_then(|status| u8::try_from(status).ok());
        let documented = |status| status <= GUEST_MAX || VmmStatus::from_code(status).is_some();
        if !status.is_some_and(|status| documented(status) && status != VmmStatus::VmmError.code()) {
            return Err(verdict.failure(format!("seed {seed}: neither image nor guest explain this status")));
        }
    }
    Ok(())
}

/// The generator xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number from 0 to below a limit, as evenly as damage has to be.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }
}
