//! The program, the same in the guest and on the host: takes memory, runs what was asked for, gives a verdict.

use crate::content::{CHUNK_BLOCKS, mix};
use crate::execute::Injection;
use crate::kernel::BLOCK_LEN;
use crate::memory::{RealRegion, Region, len_bytes};
use crate::options::{Options, Request, USAGE, Work, parse};
use crate::platform::Platform;
use crate::run::Run;
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that are left free, for the program itself.
const RESERVE_BYTES: u64 = 512 << 10;
/// Length of the largest region in bytes, and of the smallest worth having.
const REGION_MAX: u64 = 1 << 30;
const REGION_MIN: u64 = (2 * CHUNK_BLOCKS * BLOCK_LEN) as u64;
/// Most regions.
const REGIONS_MAX: usize = 4096;
/// Bytes in a word, in which faults are counted.
pub(crate) const WORD_LEN: u64 = size_of::<u64>() as u64;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All went well, and every word held what was written to it.
    Passed,
    /// Some word did not.
    WrongWords,
    /// Time was up before every method had come to its end once; nothing was wrong until then.
    Incomplete,
    /// The command line can't be followed.
    Refused,
    /// The page tables or frames of the machine are not as they must be.
    AuditFailed,
}

/// Runs the program.
pub fn run(arguments: &[String], platform: &impl Platform) -> Verdict {
    let refuse = |message: &str| {
        platform.print(format_args!("memory-stress: {message}\n"));
        Verdict::Refused
    };
    let options = match parse(arguments) {
        Ok(Request::Run(options)) => options,
        Ok(Request::List) => {
            for work in Work::all() {
                platform.print(format_args!("{:<20} {}\n", work.name(), work.purpose()));
            }
            return Verdict::Passed;
        }
        Err(message) => return refuse(&alloc::format!("{message}; usage: {USAGE}")),
    };
    if (options.audit || options.dump) && !platform.has_page_tables() {
        return refuse(
            "--audit and --dump-address-space need a guest; a process has no page tables of its own",
        );
    }
    let free = platform.free_bytes().saturating_sub(RESERVE_BYTES);
    if options.size.is_some_and(|size| size > free) {
        return refuse(&alloc::format!("--size is more than the {} MiB that are free", free >> 20));
    }
    let mut regions = take_memory(platform, options.size.unwrap_or(free));
    let blocks = regions.iter().map(Region::len_blocks).sum();
    if blocks == 0 {
        return refuse(&alloc::format!("there is no room to test: {REGION_MIN} bytes are the least"));
    }
    let injection = match injection(&options, len_bytes(blocks)) {
        Ok(injection) => injection,
        Err(message) => return refuse(&message),
    };
    let (audit, dump) = (options.audit, options.dump);
    let verdict = Run::new(platform, options, injection).run(&mut regions, blocks);
    if dump {
        platform.dump_address_space();
    }
    if audit && !platform.audit() && verdict != Verdict::WrongWords {
        return Verdict::AuditFailed;
    }
    verdict
}

/// Takes memory in ever smaller regions.
fn take_memory(platform: &impl Platform, mut wanted: u64) -> Vec<RealRegion> {
    let mut regions = Vec::new();
    if regions.try_reserve_exact(REGIONS_MAX).is_err() {
        return regions;
    }
    let mut len = REGION_MAX;
    while len >= REGION_MIN && regions.len() < REGIONS_MAX {
        let room = platform.free_bytes().saturating_sub(RESERVE_BYTES).min(wanted);
        let region =
            if room < len { None } else { RealRegion::take(len as usize / BLOCK_LEN, platform.kernels()) };
        match region {
            Some(region) => {
                wanted -= len_bytes(region.len_blocks());
                regions.push(region);
            }
            None => len /= 2,
        }
    }
    regions
}

/// The fault to be made, at its place.
fn injection(options: &Options, tested: u64) -> Result<Option<Injection>, String> {
    let Some(inject) = options.inject else { return Ok(None) };
    let random = mix(options.seed);
    let offset = inject.offset.unwrap_or(random % tested);
    if offset >= tested {
        return Err(alloc::format!("--inject @{offset:#x} is behind the {tested:#x} bytes under test"));
    }
    Ok(Some(Injection { word: offset / WORD_LEN, bit: (random >> 58) as u32, sticky: inject.sticky }))
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
