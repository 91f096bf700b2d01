//! The program, the same in the guest and on the host: takes memory, runs what was asked for, gives a verdict.
//!
//! Memory for methods is taken before the run, unless there is a churn, too: then churns run first in each pass, with
//! nothing held, and the memory is taken after them. For churns alone none is.

use crate::content::mix;
use crate::execute::Injection;
use crate::memory::len_bytes;
use crate::options::{Options, Request, USAGE, Work, parse};
use crate::platform::Platform;
use crate::regions::{REGION_MIN, Regions};
use crate::run::Run;
use alloc::string::String;

/// Bytes that are left free, for the program itself.
pub(crate) const RESERVE_BYTES: u64 = 512 << 10;
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
    /// The page tables or frames of the machine are not as they must be: an audit says so, or a churn.
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
    let wanted = options.size.unwrap_or(free);
    let mut regions = Regions::new(wanted);
    // Churns come first, and while they run no memory is held for others; but what can't be tested is refused before.
    let needed = options.work.iter().any(|work| work.needs_regions());
    let has_churn = options.work.iter().any(|work| !work.needs_regions());
    let blocks = match (needed, has_churn) {
        (false, _) => 0,
        (true, true) => regions.measure(platform),
        (true, false) => {
            regions.hold(platform);
            regions.len_blocks()
        }
    };
    if needed && blocks == 0 {
        return refuse(&alloc::format!("there is no room to test: {REGION_MIN} bytes are the least"));
    }
    let injection = match injection(&options, len_bytes(blocks)) {
        Ok(injection) => injection,
        Err(message) => return refuse(&message),
    };
    let (audit, dump) = (options.audit, options.dump);
    let verdict = Run::new(platform, options, injection, wanted).run(&mut regions, blocks);
    if dump {
        platform.dump_address_space();
    }
    if audit && !platform.audit() && verdict != Verdict::WrongWords {
        return Verdict::AuditFailed;
    }
    verdict
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
pub(crate) mod tests;
