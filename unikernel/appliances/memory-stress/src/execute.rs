//! Runs the steps of a method over regions, a slice at a time.

use crate::content::Content;
use crate::kernel::{BLOCK_LEN, Direction, WrongBlock};
use crate::memory::{Region, len_bytes, run_len};
use crate::method::{Method, Part, Step};
use core::ops::{ControlFlow, Range};

/// Blocks between two looks at the clock: 4 MiB.
const SLICE_BLOCKS: usize = (4 << 20) / BLOCK_LEN;

/// A word that did not hold what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongWord {
    /// Its address.
    pub address: u64,
    /// What was written.
    pub expected: u64,
    /// What it held.
    pub found: u64,
}

/// Who watches a method at work.
pub trait Observer {
    /// A word was wrong.
    fn wrong(&mut self, word: WrongWord);
    /// So many bytes more were read or written. Says whether to go on.
    fn progress(&mut self, bytes: u64) -> ControlFlow<()>;
}

/// A fault that is made on purpose, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Index of the word, over all regions in order.
    pub word: u64,
    /// The bit that is inverted.
    pub bit: u32,
    /// Whether it comes again before each time that memory is verified, or only the first time.
    pub sticky: bool,
}

/// Bytes that a method reads and writes in so many blocks.
#[must_use]
pub fn traffic(method: Method, blocks: usize) -> u64 {
    let part = |part| len_bytes(if part == Part::All { blocks } else { blocks / 2 });
    method
        .steps(0)
        .iter()
        .map(|step| match *step {
            Step::Fill(of, _) => part(of),
            Step::Verify { part: of, .. } => part(of),
            Step::Update(..) => 2 * part(Part::All),
            Step::Move(of) => 2 * part(of),
        })
        .sum()
}

/// Runs a method over all regions. Breaks off when the observer says so. `injection` is taken when it was made and is not
/// sticky.
pub fn run<R: Region>(
    method: Method,
    regions: &mut [R],
    seed: u64,
    injection: &mut Option<Injection>,
    observer: &mut impl Observer,
) -> ControlFlow<()> {
    for step in method.steps(seed) {
        if matches!(step, Step::Verify { .. } | Step::Update(..)) {
            inject(regions, injection);
        }
        let downwards = matches!(step, Step::Update(Direction::Down, ..));
        for index in 0..regions.len() {
            let index = if downwards { regions.len() - 1 - index } else { index };
            run_step(step, &mut regions[index], observer)?;
        }
    }
    ControlFlow::Continue(())
}

/// Makes the injected fault.
fn inject<R: Region>(regions: &mut [R], injection: &mut Option<Injection>) {
    let Some(Injection { word, bit, sticky }) = *injection else { return };
    let mut word = word;
    for region in regions {
        let words = len_bytes(region.len_blocks()) / size_of::<u64>() as u64;
        if word < words {
            region.flip(word as usize, bit);
            break;
        }
        word -= words;
    }
    if !sticky {
        *injection = None;
    }
}

/// Runs one step over one region.
fn run_step(step: Step, region: &mut impl Region, observer: &mut impl Observer) -> ControlFlow<()> {
    let base = region.address();
    let len = region.len_blocks();
    match step {
        Step::Fill(part, content) => slices(blocks_of(part, len), |slice| {
            runs(content, slice.clone(), |run| region.fill(run.clone(), content.at(base, run.start)));
            observer.progress(len_bytes(slice.len()))
        }),
        Step::Verify { part, from, content } => {
            let blocks = blocks_of(part, len);
            // Index of where the content of the first block was written.
            let origin = blocks_of(from, len).start;
            let start = blocks.start;
            slices(blocks, |slice| {
                runs(content, slice.clone(), |run| {
                    let pattern = content.at(base, run.start - start + origin);
                    region.verify(run, pattern, &mut |block| report(base, block, observer));
                });
                observer.progress(len_bytes(slice.len()))
            })
        }
        Step::Update(direction, old, new) => {
            let visit = |slice: Range<usize>| {
                let patterns = match direction {
                    Direction::Up => Some((old.at(base, slice.start), new.at(base, slice.start))),
                    Direction::Down => {
                        old.down_from(base, slice.end - 1).zip(new.down_from(base, slice.end - 1))
                    }
                };
                if let Some((old, new)) = patterns {
                    region.update(slice.clone(), direction, old, new, &mut |block| {
                        report(base, block, observer)
                    });
                }
                observer.progress(2 * len_bytes(slice.len()))
            };
            match direction {
                Direction::Up => slices(0..len, visit),
                Direction::Down => slices_down(0..len, visit),
            }
        }
        Step::Move(from) => {
            let source = blocks_of(from, len);
            let target = if source.start == 0 { len / 2 } else { 0 };
            let start = source.start;
            slices(source, |slice| {
                region.copy(slice.clone(), slice.start - start + target);
                observer.progress(2 * len_bytes(slice.len()))
            })
        }
    }
}

/// The blocks of a part, in a region of `len`.
const fn blocks_of(part: Part, len: usize) -> Range<usize> {
    match part {
        Part::All => 0..len,
        Part::Lower => 0..len / 2,
        Part::Upper => len / 2..len,
    }
}

/// Cuts blocks into slices, from below.
fn slices(blocks: Range<usize>, mut visit: impl FnMut(Range<usize>) -> ControlFlow<()>) -> ControlFlow<()> {
    blocks
        .clone()
        .step_by(SLICE_BLOCKS)
        .try_for_each(|start| visit(start..blocks.end.min(start + SLICE_BLOCKS)))
}

/// Cuts blocks into slices, from above.
fn slices_down(
    blocks: Range<usize>,
    mut visit: impl FnMut(Range<usize>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let starts = blocks.clone().step_by(SLICE_BLOCKS);
    starts.rev().try_for_each(|start| visit(start..blocks.end.min(start + SLICE_BLOCKS)))
}

/// Cuts a slice into what one pattern holds for.
fn runs(content: Content, slice: Range<usize>, mut visit: impl FnMut(Range<usize>)) {
    let mut start = slice.start;
    while start < slice.end {
        let len = run_len(content, start, slice.end - start);
        visit(start..start + len);
        start += len;
    }
}

/// Reports each wrong word of a block.
fn report(base: u64, block: WrongBlock, observer: &mut impl Observer) {
    let address = base + len_bytes(block.index);
    let mut any = false;
    for (word, (&expected, &found)) in block.expected.0.iter().zip(&block.found.0).enumerate() {
        if expected != found {
            any = true;
            observer.wrong(WrongWord {
                address: address + (word * size_of::<u64>()) as u64,
                expected,
                found,
            });
        }
    }
    if !any {
        // The block read wrong once and right the second time: no word can be named but its first.
        observer.wrong(WrongWord { address, expected: block.expected.0[0], found: block.found.0[0] });
    }
}

#[cfg(test)]
#[path = "execute_tests.rs"]
mod tests;
