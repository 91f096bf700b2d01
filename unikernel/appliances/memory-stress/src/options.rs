//! The command line of memory-stress.

use crate::churn::Churn;
use crate::method::Method;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Seed without `--seed`.
pub const DEFAULT_SEED: u64 = 0x0f4e_e401_d000_0001;

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A churn, which verifies what it marks.
    Churn(Churn),
    /// A method that verifies memory.
    Verify(Method),
    /// Read, write and copy bandwidth by working set.
    Bandwidth,
    /// Latency of dependent reads by working set.
    Latency,
}

/// All options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What to run, in order: churns come first, since they need the memory that other methods hold.
    pub work: Vec<Work>,
    /// Bytes to test; most of what is free if not given.
    pub size: Option<u64>,
    /// When to stop.
    pub end: End,
    /// Seed of the random methods.
    pub seed: u64,
    /// Print the result as JSON, too.
    pub json: bool,
    /// Make a fault.
    pub inject: Option<Inject>,
    /// Audit the machine's page tables at the end, while the memory is held.
    pub audit: bool,
    /// Print the machine's address space at the end, while the memory is held.
    pub dump: bool,
}

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so many passes over all work.
    Passes(u32),
    /// After so many seconds, in the middle of a pass if need be.
    Seconds(u32),
}

/// A fault to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inject {
    /// Offset in bytes into the tested memory; random if not given.
    pub offset: Option<u64>,
    /// Whether it comes again each time.
    pub sticky: bool,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To run.
    Run(Options),
    /// To list the methods.
    List,
}

/// One line on how to call it.
pub const USAGE: &str = "memory-stress [--method NAME,…] [--size N[K|M|G]] [--passes N | --seconds N] [--seed N] \
                         [--inject[=once|sticky][@OFFSET]] [--json] [--audit] [--dump-address-space] | --list";

impl Work {
    /// Everything there is, in the order in which it runs.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let churns = Churn::ALL.into_iter().map(Self::Churn);
        let methods = Method::ALL.into_iter().map(Self::Verify);
        churns.chain(methods).chain([Self::Bandwidth, Self::Latency]).collect()
    }

    /// Whether it works on memory that is held for it.
    #[must_use]
    pub const fn needs_regions(self) -> bool {
        !matches!(self, Self::Churn(_))
    }

    /// Whether it verifies anything, and hence runs in each pass.
    #[must_use]
    pub const fn verifies(self) -> bool {
        matches!(self, Self::Churn(_) | Self::Verify(_))
    }

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Churn(churn) => churn.name(),
            Self::Verify(method) => method.name(),
            Self::Bandwidth => "bandwidth",
            Self::Latency => "latency",
        }
    }

    /// What it is for, in a line.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Churn(churn) => churn.purpose(),
            Self::Verify(method) => method.purpose(),
            Self::Bandwidth => "measures read, write and copy by working set; verifies nothing",
            Self::Latency => "measures dependent reads in random order by working set; verifies nothing",
        }
    }
}

/// Reads a command line.
///
/// # Errors
/// A line that says what is wrong with it.
pub fn parse(arguments: &[String]) -> Result<Request, String> {
    let mut options = Options {
        work: Vec::new(),
        size: None,
        end: End::Passes(1),
        seed: DEFAULT_SEED,
        json: false,
        inject: None,
        audit: false,
        dump: false,
    };
    let (mut passes, mut seconds, mut list) = (None, None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (argument.as_str(), None),
        };
        let mut value = || {
            attached
                .or_else(|| rest.next().map(String::as_str))
                .ok_or_else(|| format!("{name} needs a value"))
        };
        match name {
            "--method" => {
                for method in value()?.split(',') {
                    options.work.push(work(method)?);
                }
            }
            "--size" => options.size = Some(size(value()?)?),
            "--passes" => passes = Some(count(name, value()?)?),
            "--seconds" => seconds = Some(count(name, value()?)?),
            "--seed" => {
                let text = value()?;
                options.seed =
                    number(text).ok_or_else(|| format!("--seed '{text}' is not a 64-bit number"))?;
            }
            "--inject" => options.inject = Some(inject(attached.unwrap_or(""))?),
            "--json" if attached.is_none() => options.json = true,
            "--audit" if attached.is_none() => options.audit = true,
            "--dump-address-space" if attached.is_none() => options.dump = true,
            "--list" if attached.is_none() => list = true,
            _ => return Err(format!("unknown argument '{argument}'")),
        }
    }
    if list {
        return if arguments.len() == 1 { Ok(Request::List) } else { Err("--list goes alone".to_string()) };
    }
    options.end = match (passes, seconds) {
        (Some(_), Some(_)) => return Err("--passes and --seconds contradict each other".to_string()),
        (_, Some(seconds)) => End::Seconds(seconds),
        (passes, None) => End::Passes(passes.unwrap_or(1)),
    };
    if options.work.is_empty() {
        options.work = Work::all();
    }
    options.work.sort_by_key(|work| work.needs_regions());
    if options.inject.is_some() && !options.work.iter().any(|work| matches!(work, Work::Verify(_))) {
        return Err("--inject needs a method that verifies memory, other than a churn".to_string());
    }
    let verifies = options.work.iter().any(|work| work.verifies());
    if !verifies && (passes.is_some() || seconds.is_some()) {
        return Err("--passes and --seconds need a method that verifies memory; measurements are made once"
            .to_string());
    }
    Ok(Request::Run(options))
}

fn work(name: &str) -> Result<Work, String> {
    let all = Work::all();
    if let Some(work) = all.iter().find(|work| work.name() == name) {
        return Ok(*work);
    }
    let near: Vec<&str> = all
        .iter()
        .map(|work| work.name())
        .filter(|known| known.contains(name) || distance(known, name) <= 3)
        .collect();
    match near[..] {
        _ if name.is_empty() => Err("--method needs the name of a method; --list lists them".to_string()),
        [] => Err(format!("there is no method '{name}'; --list lists them")),
        _ => Err(format!("there is no method '{name}'; did you mean {}?", near.join(" or "))),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 10),
        Some((at, 'M' | 'm')) => (&text[..at], 20),
        Some((at, 'G' | 'g')) => (&text[..at], 30),
        _ => (text, 0),
    };
    let count: u64 = digits.parse().map_err(|_| format!("--size '{text}' is not a size, such as 512M"))?;
    match count.checked_mul(1 << shift) {
        Some(0) => Err("--size 0 leaves nothing to test".to_string()),
        Some(bytes) => Ok(bytes),
        None => Err(format!("--size {text} is more than any machine has")),
    }
}

fn count(name: &str, text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err(format!("{name} 0 would do nothing")),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("{name} '{text}' is not a whole number up to {}", u32::MAX)),
    }
}

fn inject(text: &str) -> Result<Inject, String> {
    let wrong = || format!("--inject={text}: give once or sticky, and @OFFSET in bytes if the place matters");
    let (how, offset) = match text.split_once('@') {
        Some((how, offset)) => (how, Some(number(offset).ok_or_else(wrong)?)),
        None => (text, None),
    };
    match how {
        "" | "once" => Ok(Inject { offset, sticky: false }),
        "sticky" => Ok(Inject { offset, sticky: true }),
        _ => Err(wrong()),
    }
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// How many letters must be changed, added or left out to make one word the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..other.len() {
            let changed = diagonal + usize::from(letter != other[column]);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
