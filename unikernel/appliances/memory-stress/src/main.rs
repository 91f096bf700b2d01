//! Fills most of the guest's memory with one pattern after the other, verifies each, and gives a verdict.
//!
//! Arguments: `[--seed N]`, N decimal or `0x…`. Ends with 0 when every word held what was written to it, with the kernel's
//! status of a verification failure when one did not.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use memory_stress::{Pattern, WORD_LEN, WrongWord};
use unikernel::cpu::clock;
use unikernel::memory::heap;
use unikernel::{ApplicationStatus, println};

unikernel::appliance!(stress);

/// Length of the blocks that memory is taken in, in words, as long as there is room for such.
const BLOCK_WORDS_MAX: usize = (64 << 20) / WORD_LEN;
/// Length of the smallest block worth taking.
const BLOCK_WORDS_MIN: usize = (64 << 10) / WORD_LEN;
/// Most blocks: more than 511 GiB have.
const BLOCKS_MAX: usize = 8192;
/// Bytes of the heap that are left alone, for the program itself.
const RESERVE_BYTES: u64 = 256 << 10;
/// Wrong words that are printed; the rest are counted.
const REPORTS_MAX: u64 = 16;
/// Seed without `--seed`.
const DEFAULT_SEED: u64 = 0x0f4e_e401_d000_0001;

fn stress(arguments: &[String]) -> ApplicationStatus {
    let seed = match seed(arguments) {
        Ok(seed) => seed,
        Err(message) => {
            println!("memory-stress: {message}; usage: memory-stress [--seed N]");
            return ApplicationStatus::USAGE;
        }
    };
    let mut blocks = take_memory();
    let len_bytes: u64 = blocks.iter().map(|block| size_of_val(&**block) as u64).sum();
    if len_bytes == 0 {
        println!(
            "memory-stress: no memory to test: give the guest more than {} KiB free",
            RESERVE_BYTES >> 10
        );
        return ApplicationStatus::FAILURE;
    }
    println!("memory-stress: testing {} MiB in {} blocks, seed {seed:#x}", len_bytes >> 20, blocks.len());

    let start = clock::since_boot();
    let mut wrong = 0;
    for pattern in [Pattern::AddressInAddress, Pattern::Random { seed }] {
        wrong += run(pattern, &mut blocks, len_bytes, wrong);
    }
    let seconds = clock::since_boot() - start;
    let verdict = if wrong == 0 { "PASSED" } else { "FAILED" };
    println!(
        "memory-stress: {verdict}: {} MiB, 2 patterns, {wrong} wrong words, {}.{:03} s",
        len_bytes >> 20,
        seconds.as_secs(),
        seconds.subsec_millis()
    );
    if wrong == 0 {
        return ApplicationStatus::SUCCESS;
    }
    unikernel::appliance::fail_verification()
}

/// Reads the arguments.
fn seed(arguments: &[String]) -> Result<u64, String> {
    let mut seed = DEFAULT_SEED;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument != "--seed" {
            return Err(alloc::format!("unknown argument '{argument}'"));
        }
        let number = rest.next().ok_or("--seed needs a number")?;
        let parsed = match number.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => number.parse(),
        };
        seed = parsed.map_err(|_| alloc::format!("--seed '{number}' is not a 64-bit number"))?;
    }
    Ok(seed)
}

/// Takes all of the heap but the reserve, in ever smaller blocks.
fn take_memory() -> Vec<Vec<u64>> {
    let mut blocks = Vec::new();
    let mut words = BLOCK_WORDS_MAX;
    if blocks.try_reserve_exact(BLOCKS_MAX).is_err() {
        return blocks;
    }
    while words >= BLOCK_WORDS_MIN && blocks.len() < BLOCKS_MAX {
        let room = heap::statistics().free_bytes.saturating_sub(RESERVE_BYTES);
        let mut block: Vec<u64> = Vec::new();
        if room < (words * WORD_LEN) as u64 || block.try_reserve_exact(words).is_err() {
            words /= 2;
            continue;
        }
        block.resize(words, 0);
        blocks.push(block);
    }
    blocks
}

/// Fills all blocks, then verifies all. Returns the number of wrong words, of which `reported` have been found before.
fn run(pattern: Pattern, blocks: &mut [Vec<u64>], len_bytes: u64, reported: u64) -> u64 {
    let start = clock::since_boot();
    for block in &mut *blocks {
        pattern.fill(block);
    }
    let filled = clock::since_boot();
    let mut wrong = 0;
    for block in &*blocks {
        let mut count = reported + wrong;
        wrong += pattern.verify(block, |word| {
            count += 1;
            report(pattern, word, count);
        });
    }
    let verified = clock::since_boot();
    println!(
        "{:<20} write {:>6} MiB/s  verify {:>6} MiB/s  {wrong} wrong words",
        pattern.name(),
        mib_per_second(len_bytes, filled - start),
        mib_per_second(len_bytes, verified - filled),
    );
    wrong
}

/// Prints one wrong word, the `count`th.
fn report(pattern: Pattern, WrongWord { address, expected, found }: WrongWord, count: u64) {
    if count <= REPORTS_MAX {
        let differing = expected ^ found;
        println!(
            "{}: {address:#x} holds {found:#018x} instead of {expected:#018x} (bits {differing:#x})",
            pattern.name()
        );
    }
    if count == REPORTS_MAX {
        println!("further wrong words are only counted");
    }
}

/// Whole MiB a second.
fn mib_per_second(len_bytes: u64, time: Duration) -> u128 {
    (u128::from(len_bytes) * 1_000_000_000 / time.as_nanos().max(1)) >> 20
}
