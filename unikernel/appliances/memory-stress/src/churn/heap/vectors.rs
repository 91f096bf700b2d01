//! Vectors that grow beside each other.

use super::allocator::Allocator;
use super::block::word;
use crate::churn::figure::Figure;
use crate::churn::random::Random;
use crate::churn::watch::Watch;
use crate::execute::{Observer, WrongWord};
use alloc::vec::Vec;
use core::hint::black_box;
use core::ops::ControlFlow;

/// How many vectors.
const VECTORS: usize = 4;
/// How far each grows, where there is room.
const ELEMENTS_MAX: u64 = 1_000_000;
/// Most elements that are pushed to one before it is another's turn.
const TURN_MAX: usize = 1024;
/// Bytes of budget for each element: twice its length for a vector that has just grown, and half as much again for the
/// memory that it grew out of.
const BUDGET_PER_ELEMENT: u64 = 3 * size_of::<u64>() as u64;

/// A vector that holds a pattern.
pub(super) struct Growing {
    pub(super) elements: Vec<u64>,
    seed: u64,
}

pub(super) fn run(
    heap: &impl Allocator,
    budget_bytes: u64,
    mut random: Random,
    watch: &mut Watch<'_>,
) -> ControlFlow<()> {
    let end = (budget_bytes / (VECTORS as u64 * BUDGET_PER_ELEMENT)).min(ELEMENTS_MAX) as usize;
    let mut vectors: [Growing; VECTORS] = core::array::from_fn(|_| Growing::new(random.word()));
    let mut figure = Figure::new("push");
    let ended = grow(heap, end, &mut vectors, &mut random, &mut figure, watch);
    watch.report(figure);
    ended?;
    vectors.iter().try_for_each(|vector| {
        let read = vector.verify(watch);
        watch.progress(read)
    })
}

fn grow(
    heap: &impl Allocator,
    end: usize,
    vectors: &mut [Growing],
    random: &mut Random,
    figure: &mut Figure,
    watch: &mut Watch<'_>,
) -> ControlFlow<()> {
    let mut is_growing = [true; VECTORS];
    while is_growing.contains(&true) {
        for (vector, is_growing) in vectors.iter_mut().zip(&mut is_growing) {
            if !*is_growing {
                continue;
            }
            let turn = (1 + random.below(TURN_MAX)).min(end - vector.elements.len());
            let (capacity, len) = (vector.elements.capacity(), vector.elements.len());
            let has_room = watch.time(figure, |figure| vector.push(heap, turn, figure));
            *is_growing = has_room && vector.elements.len() < end;
            let pushed = vector.elements.len() - len;
            let mut bytes = (pushed * size_of::<u64>()) as u64;
            if vector.elements.capacity() != capacity {
                bytes += vector.verify(watch);
            }
            watch.progress(bytes)?;
        }
    }
    ControlFlow::Continue(())
}

impl Growing {
    pub(super) const fn new(seed: u64) -> Self {
        Self { elements: Vec::new(), seed }
    }

    /// Pushes so many elements. Says whether there was room.
    pub(super) fn push(&mut self, heap: &impl Allocator, count: usize, figure: &mut Figure) -> bool {
        for _ in 0..count {
            if self.elements.len() == self.elements.capacity() && !heap.grow(&mut self.elements) {
                figure.count(false);
                return false;
            }
            self.elements.push(word(self.seed, self.elements.len()));
            figure.count(true);
        }
        true
    }

    /// Compares all elements with the pattern. Returns the bytes read.
    pub(super) fn verify(&self, observer: &mut dyn Observer) -> u64 {
        for (index, found) in black_box(&self.elements).iter().enumerate() {
            let expected = word(self.seed, index);
            if *found != expected {
                observer.wrong(WrongWord { address: &raw const *found as u64, expected, found: *found });
            }
        }
        (self.elements.len() * size_of::<u64>()) as u64
    }
}
