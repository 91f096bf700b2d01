use super::*;

fn read(line: &str) -> Result<Request, String> {
    parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
}

fn options(line: &str) -> Options {
    match read(line) {
        Ok(Request::Run(options)) => options,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn nothing_means_everything_once() {
    let options = options("");
    assert_eq!(options.work, Work::all());
    assert_eq!((options.end, options.size, options.inject), (End::Passes(1), None, None));
}

#[test]
fn each_option_is_read() {
    let options =
        options("--method random,latency --method=checkerboard --size 16M --seconds 9 --seed 0x2a --json");
    assert_eq!(
        options.work.iter().map(|work| work.name()).collect::<Vec<_>>(),
        ["random", "latency", "checkerboard"]
    );
    assert_eq!((options.size, options.end, options.seed), (Some(16 << 20), End::Seconds(9), 42));
    assert!(options.json);
    assert_eq!(read("--list"), Ok(Request::List));
}

#[test]
fn churns_come_first_and_may_be_repeated_alone() {
    let options = options("--method latency,map-churn,random,heap-churn --passes 2");
    let names = options.work.iter().map(|work| work.name()).collect::<Vec<_>>();
    assert_eq!(names, ["map-churn", "heap-churn", "latency", "random"]);
    assert!(read("--method map-churn --seconds 1").is_ok());
}

#[test]
fn a_fault_may_have_a_place_and_stay() {
    let inject = |line| options(line).inject;
    assert_eq!(inject("--inject"), Some(Inject { offset: None, sticky: false }));
    assert_eq!(inject("--inject=sticky"), Some(Inject { offset: None, sticky: true }));
    assert_eq!(inject("--inject=@0x1000"), Some(Inject { offset: Some(4096), sticky: false }));
    assert_eq!(inject("--inject=sticky@8"), Some(Inject { offset: Some(8), sticky: true }));
}

#[test]
fn what_is_wrong_is_said() {
    for (line, part) in [
        ("--method randon", "did you mean random?"),
        ("--method walking", "did you mean walking-ones or walking-zeros?"),
        ("--method zzzzzzzzzzzz", "--list lists them"),
        ("--method", "--method needs a value"),
        ("--method=", "--list lists them"),
        ("--size 0", "leaves nothing to test"),
        ("--size 5T", "not a size"),
        ("--size 99999999999G", "more than any machine has"),
        ("--passes 0", "would do nothing"),
        ("--passes -1", "not a whole number"),
        ("--passes 2 --seconds 3", "contradict"),
        ("--list --json", "--list goes alone"),
        ("--inject=twice", "once or sticky"),
        ("--inject --method bandwidth", "a method that verifies"),
        ("--inject --method heap-churn", "other than a churn"),
        ("--method heap", "did you mean heap-churn?"),
        ("--seconds 3 --method latency", "measurements are made once"),
        ("--seed x", "not a 64-bit number"),
        ("--json=yes", "unknown argument"),
        ("more", "unknown argument 'more'"),
    ] {
        let error = read(line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
        assert!(!error.contains('\n'));
    }
}
