//! The fuzzer: libFuzzer makes the bytes, guided by which code of the heap they reach. Run by `just fuzz heap`.

#![no_main]

use core::cell::RefCell;
use libfuzzer_sys::fuzz_target;
use memory_model::HeapSequence;

thread_local! {
    /// What runs, for the message if it fails.
    static RUNNING: RefCell<Option<HeapSequence>> = const { RefCell::new(None) };
}

/// Prints the sequence before the panic that it led to, which ends the process.
fn print_sequence_on_panic() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        if let Some(sequence) = RUNNING.with(|running| running.try_borrow().ok()?.clone()) {
            eprintln!("{sequence:?}");
        }
        next(information);
    }));
}

fuzz_target!(init: print_sequence_on_panic(), |bytes: &[u8]| {
    let sequence = HeapSequence::decode(bytes);
    RUNNING.with(|running| *running.borrow_mut() = Some(sequence.clone()));
    sequence.run();
});
