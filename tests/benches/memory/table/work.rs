//! The works of untracked tables, the same loop for every contestant.

use super::{Done, ENTRIES, PageTable, REGION_PAGES, Refused};
use crate::Result;
use crate::arena::{Arena, PAGE};
use std::hint::black_box;
use std::rc::Rc;
use system_tests::contest::{Contest, Reach, Role, Work, nanoseconds};
use system_tests::random::Random;

/// Physical address of what is mapped: beyond any RAM, and 1 GiB aligned.
pub(super) const PHYS: u64 = 256 << 30;

/// Short runs that are mapped one after the other before the clock is read: their leaf nodes fill a cache of 32 KiB.
const SHORT_RUNS: u64 = 8;
const SHORT_ROUNDS: u64 = 128;
const LONG_ROUNDS: u64 = 4;
const RANDOM_ROUNDS: u64 = 4;

/// Pages that are looked at to see whether a table works.
const SAMPLES: [u64; 5] = [0, 1, ENTRIES, REGION_PAGES / 2 + 7, REGION_PAGES - 1];

/// All contests of untracked tables.
pub(super) struct Contests {
    arena: Arena,
    orders: Rc<Orders>,
    short: Contest<'static, 2>,
    long: Contest<'static, 2>,
    single: Contest<'static, 2>,
    lookup: Contest<'static, 1>,
    release: Contest<'static, 2>,
}

/// Two random orders of the region's pages.
struct Orders {
    first: Vec<u32>,
    second: Vec<u32>,
}

impl Contests {
    /// All contests, without contestants.
    pub(super) fn new(arena: Arena) -> Self {
        let order = |seed| {
            let mut pages: Vec<u32> = (0..REGION_PAGES as u32).collect();
            Random::new(seed).shuffle(&mut pages);
            pages
        };
        let work = |title, reach| Work { title, reach };
        let (map, unmap) = (Reach::Under(0.55), Reach::Under(0.4));
        Self {
            arena,
            orders: Rc::new(Orders { first: order(1919), second: order(1387) }),
            short: Contest::new([
                work("map 512 consecutive pages, nodes kept, per page", map),
                work("unmap 512 consecutive pages, nodes kept, per page", unmap),
            ]),
            long: Contest::new([
                work("map 262,144 consecutive pages, nodes kept, per page", map),
                work("unmap 262,144 consecutive pages, nodes kept, per page", unmap),
            ]),
            single: Contest::new([
                work("map single random pages of 1 GiB, nodes kept", Reach::FastestPeer),
                work("unmap single random pages of 1 GiB, nodes kept", Reach::FastestPeer),
            ]),
            lookup: Contest::new([work("look up random pages of 1 GiB", Reach::Under(2.6))]),
            release: Contest::new([
                work("map 262,144 consecutive pages, nodes made, per page", Reach::None),
                work("detach and release 1 GiB of leaves with their nodes, per page", Reach::Under(0.1)),
            ]),
        }
    }

    /// Enters a contestant into all of them but that of single pages.
    pub(super) fn enter<T: PageTable>(&mut self, role: Role) {
        let arena = self.arena;
        self.short.enter(role, T::name(), move || runs::<T>(arena, ENTRIES, SHORT_RUNS, SHORT_ROUNDS));
        self.long.enter(role, T::name(), move || runs::<T>(arena, REGION_PAGES, 1, LONG_ROUNDS));
        let orders = Rc::clone(&self.orders);
        self.lookup.enter(role, T::name(), move || lookup::<T>(arena, &orders));
        self.release.enter(role, T::name(), move || release::<T>(arena));
    }

    /// Enters a contestant into that of single pages.
    pub(super) fn enter_single<T: PageTable>(&mut self, role: Role) {
        let (arena, orders) = (self.arena, Rc::clone(&self.orders));
        self.single.enter(role, T::name(), move || single::<T>(arena, &orders));
    }

    /// Holds them all.
    pub(super) fn hold(self) -> Result<()> {
        self.short.hold()?;
        self.long.hold()?;
        self.single.hold()?;
        self.lookup.hold()?;
        self.release.hold()
    }
}

/// Sees to it that some pages are mapped to where [`map_runs`] and [`map_each`] map them.
fn expect_mapped<T: PageTable>(table: &T) -> Result<()> {
    SAMPLES.iter().try_for_each(|&page| expect(table, page, Some(PHYS + page * PAGE)))
}

/// Sees to it that the same pages are not mapped.
fn expect_unmapped<T: PageTable>(table: &T) -> Result<()> {
    SAMPLES.iter().try_for_each(|&page| expect(table, page, None))
}

fn expect<T: PageTable>(table: &T, page: u64, phys: Option<u64>) -> Result<()> {
    let found = table.lookup(page);
    if found == phys {
        return Ok(());
    }
    Err(format!("page {page} is mapped to {found:#x?} in place of {phys:#x?}").into())
}

/// Maps and unmaps `runs` runs of `pages` pages: nanoseconds a page of each.
fn runs<T: PageTable>(arena: Arena, pages: u64, runs: u64, rounds: u64) -> Result<[f64; 2]> {
    let mut table = T::new(arena)?;
    map_runs(&mut table, pages, REGION_PAGES / pages)?;
    expect_mapped(&table)?;
    unmap_runs(&mut table, pages, REGION_PAGES / pages)?;
    expect_unmapped(&table)?;
    let (mut map, mut unmap) = (0.0, 0.0);
    for _ in 0..rounds {
        let table = black_box(&mut table);
        map += nanoseconds(|| map_runs(table, pages, runs))?;
        unmap += nanoseconds(|| unmap_runs(table, pages, runs))?;
    }
    let count = (pages * runs * rounds) as f64;
    Ok([map / count, unmap / count])
}

/// Maps runs that follow each other. Not inlined, so that the same code runs in each work: it is some of the peers' fate
/// to be twice as slow or fast depending on what the compiler knows around them.
#[inline(never)]
fn map_runs<T: PageTable>(table: &mut T, pages: u64, runs: u64) -> Done {
    (0..runs).map(|run| run * pages).try_for_each(|page| table.map_run(page, pages, PHYS + page * PAGE))
}

/// Unmaps them.
#[inline(never)]
fn unmap_runs<T: PageTable>(table: &mut T, pages: u64, runs: u64) -> Done {
    (0..runs).try_for_each(|run| table.unmap_run(run * pages, pages))
}

/// Maps all pages of the region one by one in one random order, and unmaps them in another.
fn single<T: PageTable>(arena: Arena, orders: &Orders) -> Result<[f64; 2]> {
    let mut table = T::new(arena)?;
    let table = black_box(&mut table);
    let (mut map, mut unmap) = (0.0, 0.0);
    for round in 0..=RANDOM_ROUNDS {
        let mapping = nanoseconds(|| map_each(table, &orders.first))?;
        expect_mapped(table)?;
        let unmapping = nanoseconds(|| unmap_each(table, &orders.second))?;
        expect_unmapped(table)?;
        // The first round makes the nodes.
        if round > 0 {
            map += mapping;
            unmap += unmapping;
        }
    }
    Ok([map, unmap].map(|time| time / (REGION_PAGES * RANDOM_ROUNDS) as f64))
}

#[inline(never)]
fn map_each<T: PageTable>(table: &mut T, pages: &[u32]) -> Done {
    pages.iter().map(|&page| u64::from(page)).try_for_each(|page| table.map_page(page, PHYS + page * PAGE))
}

#[inline(never)]
fn unmap_each<T: PageTable>(table: &mut T, pages: &[u32]) -> Done {
    pages.iter().try_for_each(|&page| table.unmap_page(u64::from(page)))
}

/// Looks up all pages of the region in a random order.
fn lookup<T: PageTable>(arena: Arena, orders: &Orders) -> Result<[f64; 1]> {
    let mut table = T::new(arena)?;
    map_runs(&mut table, REGION_PAGES, 1)?;
    let table = black_box(&table);
    let mut sum = 0_u64;
    let time = nanoseconds(|| {
        (0..RANDOM_ROUNDS).flat_map(|_| &orders.first).try_for_each(|&page| {
            let page = u64::from(page);
            let phys = table.lookup(page).ok_or(Refused { operation: "looked up", page })?;
            sum = sum.wrapping_add(phys);
            Ok::<(), Refused>(())
        })
    })?;
    let right = (0..REGION_PAGES).map(|page| PHYS + page * PAGE).fold(0, u64::wrapping_add);
    if black_box(sum) != right.wrapping_mul(RANDOM_ROUNDS) {
        return Err("the physical addresses that were looked up do not add up".into());
    }
    Ok([time / (REGION_PAGES * RANDOM_ROUNDS) as f64])
}

/// Maps the region with no nodes there, and releases it.
fn release<T: PageTable>(arena: Arena) -> Result<[f64; 2]> {
    let mut table = T::new(arena)?;
    let table = black_box(&mut table);
    let map = nanoseconds(|| map_runs(table, REGION_PAGES, 1))?;
    expect_mapped(table)?;
    let release = nanoseconds(|| table.release())?;
    Ok([map, release].map(|time| time / REGION_PAGES as f64))
}
