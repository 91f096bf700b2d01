//! Churns in a run: their budget, their figures, and what is printed of them.

use super::Run;
use crate::churn::figure::{Figure, Room};
use crate::churn::heap::GlobalHeap;
use crate::churn::watch::Watch;
use crate::churn::{Churn, fault, heap, map};
use crate::document::{ChurnEntry, Document, MethodEntry};
use crate::platform::{Platform, Thousandths};
use crate::progress::Progress;
use alloc::string::ToString;
use core::ops::ControlFlow;

/// Of how many bytes that the run may take one is the heap's at a time.
const HEAP_ONE_IN: u64 = 2;
/// And of how many one is touched by a storm of faults.
const FAULT_ONE_IN: u64 = 4;

impl<P: Platform> Run<'_, P> {
    /// Runs a churn, with nothing held. Breaks off when time is up, and when something is wrong other than words: nobody knows
    /// what else is.
    pub(super) fn churn(&mut self, churn: Churn, pass: u32) -> ControlFlow<()> {
        let (name, platform) = (churn.name(), self.platform);
        let index = self.entry(name);
        let seed = self.options.seed.wrapping_add(u64::from(pass - 1));
        let mut progress = Progress::new(platform, &mut self.document, name, None, self.start, self.deadline);
        let now = || platform.now();
        let mut watch = Watch::new(&now, &mut progress);
        let ended = match churn {
            Churn::Heap => {
                let heap = GlobalHeap(|| platform.free_bytes());
                Ok(heap::run(&heap, self.size_bytes / HEAP_ONE_IN, seed, &mut watch))
            }
            Churn::Map => match platform.mapper() {
                Some(mapper) => map::run(&mapper, seed, &mut watch),
                None => Err("nothing maps memory here".to_string()),
            },
            Churn::Fault => {
                fault::run(&platform.demand_memory(), self.size_bytes / FAULT_ONE_IN, seed, &mut watch)
            }
        };
        let figures = watch.into_figures();
        let time = progress.finish();
        let (traffic, wrong) = (progress.traffic, progress.wrong);
        for figure in &figures {
            add(&mut self.document, name, figure);
        }
        let is_complete = matches!(ended, Ok(ControlFlow::Continue(())));
        self.document.methods[index].add(is_complete, traffic, time, wrong);
        if pass == 1 {
            self.document
                .churn
                .iter()
                .filter(|entry| entry.name == name)
                .for_each(|entry| print_part(platform, entry));
            super::print_method(platform, &self.document.methods[index]);
        }
        ended.unwrap_or_else(|message| {
            self.error(alloc::format!("{name}: {message}"));
            ControlFlow::Break(())
        })
    }
}

/// Adds a figure to the entry of its part.
fn add(document: &mut Document, name: &'static str, figure: &Figure) {
    let entries = &mut document.churn;
    let index = entries.iter().position(|entry| entry.name == name && entry.part == figure.part);
    let index = index.unwrap_or_else(|| {
        entries.push(ChurnEntry::new(name, figure));
        entries.len() - 1
    });
    entries[index].add(figure);
}

/// Prints one line on all parts together: what was found.
pub(super) fn print_whole(platform: &impl Platform, entry: &MethodEntry) {
    let (name, traffic_mib, wrong) = (entry.name, entry.traffic_bytes >> 20, entry.wrong_words);
    let end = if entry.complete { "" } else { ", broken off" };
    platform.print(format_args!(
        "{name:<12} {traffic_mib} MiB of marks written and read  {wrong} wrong words{end}\n"
    ));
}

/// Prints one line on a part: the time of an operation, how often it was done, and what is worth knowing beside.
pub(super) fn print_part(platform: &impl Platform, entry: &ChurnEntry) {
    platform.print(format_args!(
        "{:<12} {:<20} {:>10} ns an operation  {:>8} operations",
        entry.name,
        entry.part,
        Thousandths(entry.picoseconds_an_operation),
        entry.operations,
    ));
    if entry.refused > 0 {
        platform.print(format_args!("  {} refused", entry.refused));
    }
    if let Some(faults) = entry.faults {
        platform.print(format_args!("  {faults} faults"));
    }
    if let Some((free_bytes, largest_block_bytes)) = entry.free_bytes.zip(entry.largest_block_bytes) {
        let thousandths = Room { free_bytes, largest_block_bytes }.thousandths();
        platform.print(format_args!(
            "  largest block {} KiB, {}.{} % of what is free",
            largest_block_bytes >> 10,
            thousandths / 10,
            thousandths % 10,
        ));
    }
    platform.print(format_args!("\n"));
}
