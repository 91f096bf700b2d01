//! The clock and the observer of a churn at work.

use super::figure::Figure;
use crate::execute::Observer;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::time::Duration;

/// What a churn is given to work with, and leaves its figures in.
pub struct Watch<'a> {
    now: &'a dyn Fn() -> Duration,
    /// Who is told of wrong words.
    pub observer: &'a mut dyn Observer,
    figures: Vec<Figure>,
}

impl<'a> Watch<'a> {
    /// With this clock and this observer.
    pub fn new(now: &'a dyn Fn() -> Duration, observer: &'a mut dyn Observer) -> Self {
        Self { now, observer, figures: Vec::new() }
    }

    /// Adds the time of some work to a figure.
    pub fn time<T>(&self, figure: &mut Figure, work: impl FnOnce(&mut Figure) -> T) -> T {
        let start = (self.now)();
        let result = work(figure);
        figure.time += (self.now)().saturating_sub(start);
        result
    }

    /// Says that so many bytes were marked or looked at. Says whether to go on.
    pub fn progress(&mut self, bytes: u64) -> ControlFlow<()> {
        self.observer.progress(bytes)
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
