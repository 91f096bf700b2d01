//! Names for addresses, and backtraces.

use crate::Test;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::hint::black_box;
use unikernel::diagnosis::backtrace::Backtrace;
use unikernel::diagnosis::symbols::CodeAddress;

pub(crate) const TESTS: &[Test] = &[
    ("diagnosis::a_function_knows_its_name", a_function_knows_its_name),
    ("diagnosis::data_has_no_name", data_has_no_name),
    ("diagnosis::a_backtrace_names_the_callers", a_backtrace_names_the_callers),
    (
        "diagnosis::a_deep_backtrace_is_short_and_reaches_the_head",
        a_deep_backtrace_is_short_and_reaches_the_head,
    ),
];

fn a_function_knows_its_name() {
    let start = black_box(a_function_knows_its_name as *const () as u64);
    for offset in [0, 1, 5] {
        let address = CodeAddress(start + offset);
        assert_eq!(address.function(), Some(("kernel_tests::diagnosis::a_function_knows_its_name", offset)));
        let shown = format!("{address}");
        assert!(
            shown.ends_with(&format!(" kernel_tests::diagnosis::a_function_knows_its_name+{offset:#x}")),
            "{shown}"
        );
    }
}

fn data_has_no_name() {
    let local = 0_u64;
    let heap = Vec::from([0_u64]);
    for address in [0, black_box(&raw const local) as u64, heap.as_ptr() as u64, u64::MAX] {
        assert_eq!(CodeAddress(address).function(), None, "{address:#x}");
    }
}

fn a_backtrace_names_the_callers() {
    let names = outer();
    let expected = ["inner", "outer", "a_backtrace_names_the_callers"];
    let expected = expected.map(|name| format!("kernel_tests::diagnosis::{name}"));
    assert_eq!(names[..3], expected, "{names:#?}");
    assert_eq!(names.last(), Some(&"start_64"), "{names:#?}");
}

#[inline(never)]
fn outer() -> Vec<&'static str> {
    let mut names = inner();
    // Work after the call keeps this frame on the stack.
    names.shrink_to_fit();
    black_box(names)
}

#[inline(never)]
fn inner() -> Vec<&'static str> {
    black_box(callers().collect())
}

/// The names of the caller and of all that have called it.
#[inline(never)]
fn callers() -> impl Iterator<Item = &'static str> {
    // A return address may be the first byte behind the function that made the call.
    let name = |caller: CodeAddress| CodeAddress(caller.0 - 1).function().map(|(name, _)| name);
    black_box(Backtrace::here()).callers().filter_map(name)
}

fn a_deep_backtrace_is_short_and_reaches_the_head() {
    let shown = descend(black_box(500));
    assert!(shown.contains("kernel_tests::diagnosis::descend+"), "{shown}");
    assert!(shown.contains("more times"), "{shown}");
    assert!(shown.contains("start_64+"), "{shown}");
    assert!(shown.lines().count() < 20, "{shown}");
}

#[inline(never)]
fn descend(depth: usize) -> String {
    if depth == 0 {
        return format!("{}", Backtrace::here());
    }
    black_box(descend(black_box(depth - 1)))
}
