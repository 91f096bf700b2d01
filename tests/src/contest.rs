//! A contest: all contestants do the same works by turns, pass after pass, so that whatever else the machine does meets
//! all alike. Each turn starts from a fresh contestant over the same memory.

use std::error::Error;
use std::fmt;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Passes that count, after one that does not.
pub const PASSES: usize = 9;

/// What a contestant is to the comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The core of this repository: what ratios refer to.
    Ours,
    /// A crate, or a common way, that does the same.
    Peer,
    /// The least that any way of doing it costs.
    Floor,
}

/// What ours is to reach.
#[derive(Clone, Copy)]
pub enum Reach {
    /// Fewer nanoseconds than this.
    Under(f64),
    /// No more than the fastest peer of the same run.
    FastestPeer,
    /// Shown for what it tells.
    None,
}

/// One figure of a contest.
pub struct Work {
    /// What is done, and what a nanosecond is counted by.
    pub title: &'static str,
    /// What ours is to reach.
    pub reach: Reach,
}

/// Contestants at `WORKS` works that are timed in one turn.
pub struct Contest<'a, const WORKS: usize> {
    works: [Work; WORKS],
    entries: Vec<Entry<'a, WORKS>>,
}

struct Entry<'a, const WORKS: usize> {
    name: String,
    role: Role,
    turn: Box<dyn FnMut() -> Result<[f64; WORKS]> + 'a>,
    figures: Vec<[f64; WORKS]>,
}

impl<'a, const WORKS: usize> Contest<'a, WORKS> {
    /// A contest without contestants.
    pub fn new(works: [Work; WORKS]) -> Self {
        Self { works, entries: Vec::new() }
    }

    /// Enters a contestant. Its turn does all works once, and returns the nanoseconds of each.
    pub fn enter(
        &mut self,
        role: Role,
        name: impl Into<String>,
        turn: impl FnMut() -> Result<[f64; WORKS]> + 'a,
    ) {
        self.entries.push(Entry { name: name.into(), role, turn: Box::new(turn), figures: Vec::new() });
    }

    /// Holds the contest and prints a table for each work.
    ///
    /// # Errors
    ///
    /// When a contestant could not do its work, or did it wrongly.
    pub fn hold(mut self) -> Result<()> {
        let count = self.entries.len();
        for pass in 0..=PASSES {
            for turn in 0..count {
                // Another one begins each time, so that nobody always follows the same other.
                let entry = &mut self.entries[(pass + turn) % count];
                let figures = (entry.turn)().map_err(|error| format!("{}: {error}", entry.name))?;
                if pass > 0 {
                    entry.figures.push(figures);
                }
            }
        }
        for (index, work) in self.works.iter().enumerate() {
            let rows = self.entries.iter().map(|entry| {
                let figures = entry.figures.iter().map(|turn| turn[index]).collect();
                (entry.role, entry.name.as_str(), Figures::new(figures))
            });
            print(work, &rows.collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// Nanoseconds of all passes, sorted.
struct Figures(Vec<f64>);

impl Figures {
    fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    fn greatest(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }
}

impl Reach {
    /// The most nanoseconds that reach it.
    fn limit(self, fastest_peer: f64) -> Option<f64> {
        match self {
            Self::Under(limit) => Some(limit),
            Self::FastestPeer => Some(fastest_peer),
            Self::None => None,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Under(limit) => write!(formatter, "reach: under {limit}"),
            Self::FastestPeer => formatter.write_str("reach: the fastest peer"),
            Self::None => formatter.write_str("no reach set"),
        }
    }
}

fn print(work: &Work, rows: &[(Role, &str, Figures)]) {
    let least_median = |wanted: Role| {
        rows.iter().filter(|(role, ..)| *role == wanted).map(|row| row.2.median()).reduce(f64::min)
    };
    let ours = least_median(Role::Ours);
    println!("\n{}; {}", work.title, work.reach);
    println!("  {:<46} {:>9} {:>9} {:>9} {:>8}", "", "median", "least", "greatest", "of ours");
    for (role, name, figures) in rows {
        let name = if *role == Role::Floor { format!("floor: {name}") } else { (*name).to_owned() };
        let ratio = ours.map_or(String::new(), |ours| format!("{:.2}", figures.median() / ours));
        let (median, least, greatest) = (figures.median(), figures.least(), figures.greatest());
        println!("  {name:<46} {median:>9.3} {least:>9.3} {greatest:>9.3} {ratio:>8}");
    }
    let fastest_peer = least_median(Role::Peer).unwrap_or(f64::NAN);
    if let (Some(ours), Some(limit)) = (ours, work.reach.limit(fastest_peer)) {
        println!("  {}", if ours <= limit { "reached" } else { "not reached" });
    }
}

/// The middle one of some figures.
#[must_use]
pub fn median(figures: Vec<f64>) -> f64 {
    Figures::new(figures).median()
}

/// Nanoseconds that a piece of work takes.
///
/// # Errors
///
/// Those of the work.
pub fn nanoseconds<T, E>(work: impl FnOnce() -> std::result::Result<T, E>) -> Result<f64>
where
    E: Into<Box<dyn std::error::Error>>,
{
    let start = Instant::now();
    let done = work();
    let time = start.elapsed();
    done.map_err(Into::into)?;
    Ok(time.as_secs_f64() * 1e9)
}
