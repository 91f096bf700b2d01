//! `map-churn`: mapping and unmapping, in portions of several kinds.
//!
//! For each kind of [`Portion`] some address ranges are taken. In each round all of them are mapped, words at both ends of
//! each page are written and, when all were written, compared; then all are unmapped. Two parts are reported, `map-…` and
//! `unmap-…`, whose operation is one portion, with its memory taken or freed. At the end the ranges and the empty page tables
//! go back, and as much memory must be free as was before.
//!
//! No more than a quarter of what is free is mapped at a time. Portions that are longer are left out; a single page is always
//! tried. Nothing is allocated from the heap between the two looks at what is free, since the heap may take frames, too.
//!
//! | file | about |
//! |---|---|
//! | [`mapper`] | the seam to what maps |
//! | [`typed`] | the kernel's typed core behind it |

pub mod mapper;
#[cfg(test)]
pub(crate) mod tests;
pub mod typed;

use super::figure::{Figure, Pages};
use super::random::Random;
use super::watch::Watch;
use crate::execute::{Observer, WrongWord};
use alloc::string::String;
use core::ops::ControlFlow;
pub use mapper::{Form, MapError, Mapper, Page, Portion};

/// What is mapped, one kind after the other.
const PORTIONS: [Portion; 10] = [
    portion(Page::Small, 1, Form::Single),
    portion(Page::Small, 8, Form::Run),
    portion(Page::Small, 8, Form::Batch),
    portion(Page::Small, 64, Form::Run),
    portion(Page::Small, 64, Form::Batch),
    portion(Page::Small, 512, Form::Run),
    portion(Page::Small, 512, Form::Batch),
    portion(Page::Large, 1, Form::Single),
    portion(Page::Large, 8, Form::Run),
    portion(Page::Large, 8, Form::Batch),
];
/// Of how much free memory one part is mapped at a time.
const FREE_ONE_IN: u64 = 4;
/// Most ranges that are mapped at a time.
const RANGES_MAX: u64 = 16;
/// Pages that are mapped of each kind, in all, and how many portions that makes at least and at most.
const PAGES: u64 = 16_384;
const PORTIONS_MIN: u64 = 64;
const PORTIONS_MAX: u64 = 2048;

const fn portion(page: Page, count: u64, form: Form) -> Portion {
    Portion { page, count, form }
}

/// Maps and unmaps portions of all kinds. Breaks off when the observer says so.
///
/// # Errors
/// A line that says what should have been done and was not, or that memory was lost.
pub fn run(mapper: &impl Mapper, seed: u64, watch: &mut Watch<'_>) -> Result<ControlFlow<()>, String> {
    let mut random = Random::new(seed, 4);
    for portion in PORTIONS.into_iter().filter(|portion| mapper.takes(*portion)) {
        mapper.trim().map_err(|error| error.told(portion))?;
        let room = mapper.free_bytes() / FREE_ONE_IN;
        if portion.len_bytes() > room && portion != PORTIONS[0] {
            continue;
        }
        let [mut map, mut unmap] = figures(portion);
        let before = mapper.free_bytes();
        let churned = churn(mapper, portion, room, &mut random, [&mut map, &mut unmap], watch);
        let after = mapper.free_bytes();
        watch.report(map);
        watch.report(unmap);
        let bytes = churned.map_err(|error| error.told(portion))?;
        if after != before {
            return Err(alloc::format!(
                "{}: {before} bytes were free before, and {after} are now",
                portion.name()
            ));
        }
        if watch.progress(bytes).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn figures(portion: Portion) -> [Figure; 2] {
    ["map", "unmap"].map(|part| {
        let mut figure = Figure::new(alloc::format!("{part}-{}", portion.name()));
        figure.pages = Some(Pages { count: portion.count, page_bytes: portion.page.len_bytes() });
        figure
    })
}

impl MapError {
    fn told(self, portion: Portion) -> String {
        match self {
            Self::NoRoom => alloc::format!("{}: no room where none is needed", portion.name()),
            Self::Refused(why) => alloc::format!("{}: {why}", portion.name()),
        }
    }
}

/// Maps and unmaps portions of one kind, and gives all back. Returns how many bytes were written and read.
fn churn<M: Mapper>(
    mapper: &M,
    portion: Portion,
    room: u64,
    random: &mut Random,
    [map, unmap]: [&mut Figure; 2],
    watch: &mut Watch<'_>,
) -> Result<u64, MapError> {
    let ranges = (room / portion.len_bytes()).clamp(1, RANGES_MAX);
    let portions = (PAGES / portion.count).clamp(PORTIONS_MIN, PORTIONS_MAX);
    let mut places: [Place<M>; RANGES_MAX as usize] = [const { Place { range: None, seed: None } }; _];
    let places = &mut places[..ranges as usize];
    for place in places.iter_mut() {
        place.range = Some(mapper.reserve(portion)?);
    }
    let mut bytes = 0;
    for _ in 0..portions.div_ceil(ranges) {
        watch.time(map, |figure| map_all(mapper, portion, places, random, figure))?;
        for place in places.iter() {
            bytes += place.mark(mapper, portion);
        }
        for place in places.iter() {
            bytes += place.verify(mapper, portion, watch);
        }
        watch.time(unmap, |figure| unmap_all(mapper, places, figure))?;
    }
    for place in places {
        if let Some(range) = place.range.take() {
            mapper.give_back(range)?;
        }
    }
    mapper.trim()?;
    Ok(bytes)
}

/// An address range, and what marks the memory that is mapped there, if any is.
struct Place<M: Mapper> {
    range: Option<M::Range>,
    seed: Option<u64>,
}

fn map_all<M: Mapper>(
    mapper: &M,
    portion: Portion,
    places: &mut [Place<M>],
    random: &mut Random,
    figure: &mut Figure,
) -> Result<(), MapError> {
    for Place { range, seed } in places {
        let Some(range) = range else { continue };
        match mapper.map(range, portion) {
            Ok(()) => *seed = Some(random.word()),
            Err(MapError::NoRoom) => {}
            Err(error) => return Err(error),
        }
        figure.count(seed.is_some());
    }
    Ok(())
}

fn unmap_all<M: Mapper>(mapper: &M, places: &mut [Place<M>], figure: &mut Figure) -> Result<(), MapError> {
    for Place { range, seed } in places {
        if seed.take().is_some()
            && let Some(mapped) = range.take()
        {
            *range = Some(mapper.unmap(mapped)?);
            figure.count(true);
        }
    }
    Ok(())
}

impl<M: Mapper> Place<M> {
    /// Each word that is marked, with what it is to hold.
    fn words(&self, mapper: &M, portion: Portion) -> impl Iterator<Item = (*mut u64, u64)> {
        let mapped = self.range.as_ref().zip(self.seed);
        let page_len = portion.page.len_bytes();
        let offsets = (0..portion.count)
            .flat_map(move |page| [page * page_len, (page + 1) * page_len - size_of::<u64>() as u64]);
        mapped.into_iter().flat_map(move |(range, seed)| {
            offsets.clone().map(move |offset| (mapper.word(range, offset), seed.wrapping_add(offset)))
        })
    }

    fn mark(&self, mapper: &M, portion: Portion) -> u64 {
        let mut bytes = 0;
        for (word, value) in self.words(mapper, portion) {
            // SAFETY: the mapper promises that the word is of the mapping. Volatile, since to the compiler two addresses are
            // two memories.
            unsafe { word.write_volatile(value) };
            bytes += size_of::<u64>() as u64;
        }
        bytes
    }

    fn verify(&self, mapper: &M, portion: Portion, watch: &mut Watch<'_>) -> u64 {
        let mut bytes = 0;
        for (word, expected) in self.words(mapper, portion) {
            // SAFETY: as for `mark`.
            let found = unsafe { word.read_volatile() };
            if found != expected {
                watch.wrong(WrongWord { address: word as u64, expected, found });
            }
            bytes += size_of::<u64>() as u64;
        }
        bytes
    }
}
