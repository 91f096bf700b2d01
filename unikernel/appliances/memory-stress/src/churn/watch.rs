//! The clock and the observer of a churn at work.

use super::figure::Figure;
use crate::execute::{Observer, WrongWord};
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::time::Duration;

/// What a churn is given to work with, and leaves its figures in.
pub struct Watch<'a> {
    now: &'a dyn Fn() -> Duration,
    observer: &'a mut dyn Observer,
    wrong_words: u64,
    figures: Vec<Figure>,
}

impl<'a> Watch<'a> {
    /// With this clock and this observer.
    pub fn new(now: &'a dyn Fn() -> Duration, observer: &'a mut dyn Observer) -> Self {
        Self { now, observer, wrong_words: 0, figures: Vec::new() }
    }

    /// Adds the time of some work to a figure.
    pub fn time<T>(&self, figure: &mut Figure, work: impl FnOnce(&mut Figure) -> T) -> T {
        let start = (self.now)();
        let result = work(figure);
        figure.time += (self.now)().saturating_sub(start);
        result
    }

    /// How many wrong words there were.
    #[must_use]
    pub const fn wrong_words(&self) -> u64 {
        self.wrong_words
    }

    /// Reports a part.
    pub fn report(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// All that was reported.
    #[must_use]
    pub fn into_figures(self) -> Vec<Figure> {
        self.figures
    }
}

impl Observer for Watch<'_> {
    fn wrong(&mut self, word: WrongWord) {
        self.wrong_words += 1;
        self.observer.wrong(word);
    }

    fn progress(&mut self, bytes: u64) -> ControlFlow<()> {
        self.observer.progress(bytes)
    }
}
