use super::*;
use crate::churn::fault::tests as fault;
use crate::churn::map::tests::{Flaw, Pretended};
use crate::document::SCHEMA;
use crate::kernel::Kernels;
use crate::measure::Operation;
use crate::method::Method;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use serde_json::Value;
use std::time::Instant;

#[path = "program_churn_tests.rs"]
mod churns;

/// A host that keeps what it is told.
pub(crate) struct Host {
    start: Instant,
    /// How many times too fast its clock is.
    haste: u32,
    pub(crate) free: Cell<u64>,
    /// What its allocator keeps of that at hand after each document, until it is trimmed.
    keeps: u64,
    pub(crate) at_hand: Cell<u64>,
    /// What maps memory.
    mapper: Pretended,
    /// What has pages come on demand.
    demand_memory: fault::Pretended,
    /// What an audit says; `None` for a platform without page tables.
    audit: Option<bool>,
    printed: RefCell<String>,
    published: RefCell<Vec<Value>>,
}

impl Host {
    pub(crate) fn new(free: u64) -> Self {
        Self {
            start: Instant::now(),
            haste: 1,
            free: Cell::new(free),
            keeps: 0,
            at_hand: Cell::new(0),
            mapper: Pretended::new(Flaw::None),
            demand_memory: fault::Pretended::new(fault::Flaw::None),
            audit: None,
            printed: RefCell::default(),
            published: RefCell::default(),
        }
    }
}

impl Platform for Host {
    type Mapper = Pretended;
    type DemandMemory = fault::Pretended;

    fn now(&self) -> Duration {
        self.start.elapsed() * self.haste
    }

    fn free_bytes(&self) -> u64 {
        self.free.get()
    }

    fn trim(&self) {
        self.free.update(|bytes| bytes + self.at_hand.take());
    }

    fn kernels(&self) -> Kernels {
        Kernels::scalar()
    }

    fn physical_address(&self, address: u64) -> Option<u64> {
        Some(address ^ 1 << 60)
    }

    fn mapper(&self) -> Option<Pretended> {
        Some(self.mapper.clone())
    }

    fn demand_memory(&self) -> fault::Pretended {
        self.demand_memory.clone()
    }

    fn is_terminal(&self) -> bool {
        false
    }

    fn print(&self, text: fmt::Arguments<'_>) {
        self.printed.borrow_mut().push_str(&text.to_string());
    }

    fn publish(&self, document: &str) {
        self.published.borrow_mut().push(serde_json::from_str(document).unwrap());
        let kept = self.keeps.min(self.free.get());
        self.free.update(|bytes| bytes - kept);
        self.at_hand.update(|bytes| bytes + kept);
    }

    fn has_page_tables(&self) -> bool {
        self.audit.is_some()
    }

    fn audit(&self) -> bool {
        self.print(format_args!("audit\n"));
        self.audit.unwrap_or_default()
    }

    fn dump_address_space(&self) {
        self.print(format_args!("dump\n"));
    }
}

/// Runs a command line; gives verdict, output and the documents.
fn run_line(line: &str) -> (Verdict, String, Vec<Value>) {
    run_line_on(Host::new(4 << 20), line)
}

fn run_line_on(host: Host, line: &str) -> (Verdict, String, Vec<Value>) {
    let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
    let verdict = run(&arguments, &host);
    (verdict, host.printed.into_inner(), host.published.into_inner())
}

#[test]
fn all_methods_pass_on_good_memory_and_the_document_grows() {
    let methods: Vec<&str> = Method::ALL.map(Method::name).to_vec();
    let (verdict, printed, documents) =
        run_line(&alloc::format!("--size 256K --passes 2 --method {}", methods.join(",")));
    assert_eq!(verdict, Verdict::Passed, "{printed}");
    let last = documents.last().unwrap();
    assert_eq!(last["schema"], SCHEMA);
    assert_eq!((&last["complete"], &last["verdict"]), (&Value::Bool(true), &"passed".into()));
    assert_eq!(last["tested_bytes"], 256 << 10);
    let entries = last["methods"].as_array().unwrap();
    assert_eq!(entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect::<Vec<_>>(), methods);
    assert!(entries.iter().all(|entry| entry["runs"] == 2 && entry["complete"] == true));
    for (index, document) in documents[..=methods.len()].iter().enumerate() {
        assert_eq!((&document["complete"], &document["verdict"]), (&false.into(), &"running".into()));
        assert_eq!(document["methods"].as_array().unwrap().len(), index);
    }
    assert!(printed.lines().last().unwrap().starts_with("memory-stress: PASSED: "), "{printed}");
}

#[test]
fn an_audit_comes_last_and_decides() {
    let run = |audit, line: &str| run_line_on(Host { audit, ..Host::new(4 << 20) }, line);
    let line = "--size 256K --method checkerboard --audit --dump-address-space";
    let (verdict, printed, _) = run(Some(true), line);
    assert_eq!(verdict, Verdict::Passed);
    assert!(printed.contains("PASSED") && printed.ends_with("\ndump\naudit\n"), "{printed}");
    assert_eq!(run(Some(false), line).0, Verdict::AuditFailed);
    let broken = alloc::format!("{line} --inject=once");
    assert_eq!(run(Some(false), &broken).0, Verdict::WrongWords, "what the program is for says more");
    let (verdict, printed, _) = run(None, line);
    assert_eq!(verdict, Verdict::Refused);
    assert!(printed.contains("need a guest"), "{printed}");
}

#[test]
fn an_injected_fault_fails_the_run_with_its_place() {
    let (verdict, printed, documents) =
        run_line("--size 256K --method checkerboard,random --inject=once@0x1238");
    assert_eq!(verdict, Verdict::WrongWords);
    assert!(printed.contains("memory-stress: FAILED: "), "{printed}");
    let last = documents.last().unwrap();
    assert_eq!((&last["verdict"], &last["wrong_words"]), (&"failed".into(), &1.into()));
    assert_eq!(last["injected"]["offset_bytes"], 0x1238);
    let number = |field: &str| {
        let text = last["wrong_words_listed"][0][field].as_str().unwrap();
        u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
    };
    assert_eq!(number("address") % 64, 0x38, "the word within its block");
    assert_eq!(number("physical_address"), number("address") ^ 1 << 60);
    assert_eq!(number("expected") ^ number("found"), number("differing_bits"));
    assert_eq!(number("differing_bits"), 1 << last["injected"]["bit"].as_u64().unwrap());
}

#[test]
fn a_sticky_fault_is_found_by_every_method_and_listed_up_to_the_limit() {
    let (verdict, printed, documents) = run_line("--size 256K --method walking-ones,random --inject=sticky");
    assert_eq!(verdict, Verdict::WrongWords);
    let last = documents.last().unwrap();
    assert!(last["wrong_words"].as_u64().unwrap() > crate::document::LISTED_MAX as u64);
    assert_eq!(last["wrong_words_listed"].as_array().unwrap().len(), crate::document::LISTED_MAX);
    assert!(last["methods"].as_array().unwrap().iter().all(|method| method["wrong_words"] != 0));
    assert_eq!(printed.matches("wrong word at").count(), crate::document::LISTED_MAX);
}

#[test]
fn a_time_limit_ends_the_run_in_the_middle_of_it() {
    let (verdict, printed, documents) = run_line("--size 1M --seconds 1 --method random");
    assert_eq!(verdict, Verdict::Passed, "{printed}");
    let last = documents.last().unwrap();
    assert_eq!(last["complete"], true, "the run came to the end it was given");
    assert!(last["elapsed_ns"].as_u64().unwrap() >= 1_000_000_000);
}

#[test]
fn a_run_whose_time_was_up_too_early_has_not_passed() {
    let hasty = Host { haste: 100_000, ..Host::new(4 << 20) };
    let (verdict, printed, documents) =
        run_line_on(hasty, "--size 2M --seconds 1 --method walking-ones,random");
    assert_eq!(verdict, Verdict::Incomplete, "{printed}");
    let last = documents.last().unwrap();
    assert_eq!((&last["verdict"], &last["complete"]), (&"incomplete".into(), &true.into()));
    assert!(!printed.contains("PASSED"), "{printed}");
}

#[test]
fn a_wrong_word_is_handed_over_before_its_method_ends() {
    let (_, _, documents) = run_line("--size 256K --method moving-inversions --inject=once@8");
    let told = documents.iter().find(|document| document["wrong_words"] == 1).unwrap();
    assert_eq!((&told["verdict"], &told["complete"]), (&"failed".into(), &false.into()));
    assert_eq!(told["wrong_words_listed"].as_array().unwrap().len(), 1);
    assert_eq!((&told["methods"][0]["complete"], &told["methods"][0]["runs"]), (&false.into(), &0.into()));
}

#[test]
fn a_long_run_stays_short_in_what_it_says() {
    let (_, printed, documents) = run_line("--size 64K --seconds 1 --method address-in-address");
    let last = documents.last().unwrap();
    assert!(last["methods"][0]["runs"].as_u64().unwrap() > 20, "{last}");
    assert!(documents.len() < 10, "{} documents", documents.len());
    assert!(printed.lines().count() < 10, "{printed}");
    assert!(last.to_string().len() < 2000);
}

#[test]
fn measurements_cover_growing_working_sets() {
    let (verdict, printed, documents) = run_line("--size 128K --method bandwidth,latency --json");
    assert_eq!(verdict, Verdict::Passed);
    let last = documents.last().unwrap();
    assert_eq!(last["bandwidth"].as_array().unwrap().len(), 2 * Operation::ALL.len(), "16 and 64 KiB");
    assert_eq!(last["latency"].as_array().unwrap().len(), 2);
    assert!(last["latency"][0]["picoseconds"].as_u64().unwrap() > 0);
    assert_eq!(last["verdict"], "not-verified");
    let json: Value = serde_json::from_str(printed.lines().rev().nth(1).unwrap()).unwrap();
    assert_eq!(&json, last, "--json prints the last document");
}

#[test]
fn what_cannot_be_done_is_refused_before_the_run() {
    for (line, part) in [
        ("--size 8M", "more than the 3 MiB that are free"),
        ("--size 1K", "no room to test"),
        ("--size 64K --inject=@65536", "behind the 0x10000 bytes"),
        ("--method nothing", "there is no method 'nothing'"),
    ] {
        let (verdict, printed, documents) = run_line(line);
        assert_eq!(verdict, Verdict::Refused, "{line}");
        assert!(printed.contains(part), "{line}: {printed}");
        assert_eq!(printed.lines().count(), 1);
        assert!(documents.is_empty());
    }
}

#[test]
fn the_list_names_all_there_is() {
    let (verdict, printed, _) = run_line("--list");
    assert_eq!(verdict, Verdict::Passed);
    let names: Vec<&str> = printed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, Work::all().iter().map(|work| work.name()).collect::<Vec<_>>());
}
