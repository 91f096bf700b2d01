//! Churns in runs of the program.

use super::*;

#[test]
fn churns_run_without_regions_and_report_each_part() {
    let (verdict, printed, documents) = run_line("--method map-churn,heap-churn --passes 2 --size 1M");
    assert_eq!(verdict, Verdict::Passed, "{printed}");
    let last = documents.last().unwrap();
    assert_eq!((&last["verdict"], &last["tested_bytes"]), (&"passed".into(), &0.into()));
    let part = |part: &str| {
        let entries = last["churn"].as_array().unwrap();
        entries.iter().find(|entry| entry["part"] == part).unwrap_or_else(|| panic!("{part}: {last}"))
    };
    for name in ["replace", "resize", "push", "scatter", "large"] {
        assert_eq!(part(name)["name"], "heap-churn");
        assert!(part(name)["operations"].as_u64().unwrap() > 0, "{last}");
        assert!(part(name)["picoseconds_an_operation"].as_u64().unwrap() > 0);
        assert_eq!(part(name)["page_bytes"], Value::Null);
    }
    assert!(part("scatter")["largest_block_bytes"].as_u64() <= part("scatter")["free_bytes"].as_u64());
    assert_eq!(part("unmap-4k-run-8")["pages_an_operation"], 8);
    assert_eq!(part("map-4k-batch-64")["page_bytes"], 4096);
    let methods = last["methods"].as_array().unwrap();
    let told: Vec<_> =
        methods.iter().map(|entry| (entry["name"].as_str().unwrap(), entry["runs"].as_u64())).collect();
    assert_eq!(told, [("map-churn", Some(2)), ("heap-churn", Some(2))]);
    assert!(printed.contains("ns an operation") && printed.contains("of what is free"), "{printed}");
    assert!(printed.starts_with("memory-stress: churning, seed 0xf4ee401d0000001\n"), "{printed}");
    let last = printed.lines().last().unwrap();
    assert!(last.starts_with("memory-stress: PASSED: 4 method runs in 2 passes, 0 wrong words, "), "{last}");
}

#[test]
fn a_storm_of_faults_reports_its_parts_and_how_many_faults_there_were() {
    let (verdict, printed, documents) = run_line("--method fault-storm,checkerboard --size 1M --passes 2");
    assert_eq!(verdict, Verdict::Passed, "{printed}");
    assert!(printed.starts_with("memory-stress: testing 1 MiB, "), "{printed}");
    let entries = documents.last().unwrap()["churn"].as_array().unwrap();
    let [sparse, give_back, large] = ["touch-4k-sparse", "give-back-4k", "touch-2m"]
        .map(|part| entries.iter().find(|entry| entry["part"] == part).unwrap());
    // A quarter of the size in one buffer, in 32 rounds of each pass.
    assert_eq!(
        (&sparse["name"], &sparse["operations"], &sparse["faults"], &sparse["page_bytes"]),
        (&"fault-storm".into(), &(2 * 32 * 4).into(), &64.into(), &4096.into())
    );
    assert_eq!((&give_back["faults"], &give_back["refused"]), (&Value::Null, &0.into()));
    assert_eq!((&large["operations"], &large["refused"]), (&0.into(), &2.into()));
    assert!(printed.contains("operations  32 faults\n"), "{printed}");
}

#[test]
fn churns_come_before_what_holds_memory_in_each_pass() {
    let (verdict, printed, documents) =
        run_line("--method random,map-churn --size 1M --passes 2 --inject=once@8");
    assert_eq!(verdict, Verdict::WrongWords, "{printed}");
    let last = documents.last().unwrap();
    assert_eq!((&last["tested_bytes"], &last["wrong_words"]), (&(1 << 20).into(), &1.into()));
    let place = |text: &str| printed.find(text).unwrap_or_else(|| panic!("{text}: {printed}"));
    assert!(place("map-churn") < place("\nrandom "), "{printed}");
    assert!(last["methods"].as_array().unwrap().iter().all(|entry| entry["runs"] == 2));
}

#[test]
fn a_churn_that_finds_words_wrong_or_memory_lost_fails_the_run() {
    let run = |flaw| {
        let host = Host { mapper: Pretended::new(flaw), ..Host::new(4 << 20) };
        run_line_on(host, "--method map-churn,checkerboard --size 256K")
    };
    let (verdict, printed, documents) = run(Flaw::Aliases);
    assert_eq!(verdict, Verdict::WrongWords, "{printed}");
    assert_eq!(documents.last().unwrap()["wrong_words_listed"][0]["method"], "map-churn");
    let (verdict, printed, documents) = run(Flaw::StaysMapped);
    assert_eq!(verdict, Verdict::AuditFailed, "{printed}");
    assert!(printed.contains("FAILED"), "{printed}");
    let last = documents.last().unwrap();
    assert_eq!((&last["verdict"], &last["wrong_words"]), (&"failed".into(), &0.into()));
    assert_eq!(last["errors"].as_array().unwrap().len(), 1, "{last}");
    let run = |flaw| {
        let host = Host { demand_memory: fault::Pretended::new(flaw), ..Host::new(4 << 20) };
        run_line_on(host, "--method fault-storm").0
    };
    assert_eq!(run(fault::Flaw::Uncleared), Verdict::WrongWords);
    assert_eq!(run(fault::Flaw::Leaks), Verdict::AuditFailed);
}

#[test]
fn what_the_allocator_keeps_after_a_churn_is_tested_by_the_methods_after_it() {
    let host = Host { keeps: 4 << 20, ..Host::new(4 << 20) };
    let (verdict, printed, documents) = run_line_on(host, "--method map-churn,checkerboard --passes 2");
    assert_eq!(verdict, Verdict::Passed, "{printed}");
    let tested: Vec<_> = documents.iter().map(|document| document["tested_bytes"].as_u64()).collect();
    assert!(tested[0] >= Some(2 << 20) && tested.iter().all(|bytes| *bytes == tested[0]), "{tested:?}");
}

#[test]
fn a_churn_obeys_the_time_limit() {
    let hasty = Host { haste: 100_000, ..Host::new(4 << 20) };
    let (verdict, printed, documents) =
        run_line_on(hasty, "--seconds 1 --method heap-churn,map-churn,fault-storm");
    assert_eq!(verdict, Verdict::Incomplete, "{printed}");
    assert_eq!(documents.last().unwrap()["methods"][0]["complete"], false);
}
