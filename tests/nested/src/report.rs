//! What the nested Linux said, and whether it proves what it should.

use crate::lane::Lane;
use std::fmt;
use std::ops::ControlFlow;

/// Made of the lines of the console.
#[derive(Debug, Default)]
pub(crate) struct Report {
    facts: Vec<String>,
    /// Problems that the first process told of.
    troubles: Vec<String>,
    status: Option<i32>,
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Names of tests that have passed.
    passed_names: Vec<String>,
}

/// Starts the lines by which the first process speaks to this program.
const LANE: &str = "lane: ";

/// What a lane is there to prove; of each at least one test must have passed.
const REQUIRED_GROUPS: [&str; 9] = [
    "kvm/hello/",
    "kvm/backing/anonymous/",
    "kvm/backing/thp/",
    "kvm/backing/hugetlb-2m/",
    "kvm/paging/",
    "kvm/kernel/",
    "kvm/misbehave/",
    "kvm/forbidden/",
    "backing/hugetlb-2m/pool_too_small",
];

/// What the kernel says, and no more, when it can't go on.
const KERNEL_PANIC: &str = "Kernel panic - not syncing";

impl Report {
    /// Takes a line. Breaks if nothing will follow.
    pub(crate) fn take(&mut self, line: &str) -> ControlFlow<()> {
        if line.contains(KERNEL_PANIC) {
            self.troubles.push(line.to_owned());
            return ControlFlow::Break(());
        }
        match line.strip_prefix(LANE) {
            Some(said) => self.take_said(said),
            None => self.count(line),
        }
        ControlFlow::Continue(())
    }

    /// Takes what the first process says to this program.
    fn take_said(&mut self, said: &str) {
        if let Some(fact) = said.strip_prefix("fact: ") {
            self.facts.push(fact.to_owned());
        } else if let Some(status) = said.strip_prefix("status ") {
            self.status = status.trim().parse().ok();
        } else {
            self.troubles.push(said.to_owned());
        }
    }

    /// Whether a line is for people to see.
    pub(crate) fn shows(line: &str) -> bool {
        !line.starts_with(LANE)
    }

    /// Reads `test kvm/hello/16M ... ok` and `test result: ok. 217 passed; 1 failed; 0 ignored; …`.
    fn count(&mut self, line: &str) {
        if let Some(test) = line.strip_prefix("test ")
            && test.ends_with("... ok")
        {
            self.passed_names.extend(test.split_whitespace().next().map(str::to_owned));
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        let number_of = |what| {
            let place = words.iter().position(|word| *word == what)?;
            words.get(place.checked_sub(1)?)?.parse::<u64>().ok()
        };
        self.passed += number_of("passed").unwrap_or(0);
        self.failed += number_of("failed").unwrap_or(0);
        self.ignored += number_of("ignored").unwrap_or(0);
    }

    /// Whether the first process did not come to its end.
    pub(crate) const fn is_incomplete(&self) -> bool {
        self.status.is_none()
    }

    /// Why the lane has failed; nothing if it has passed.
    pub(crate) fn failures(&self, lane: Lane) -> Vec<String> {
        let mut failures = self.troubles.clone();
        match self.status {
            None => failures.push("Linux ended before its tests did".to_owned()),
            Some(0) => {}
            Some(status) => failures.push(format!("the tests ended with status {status}")),
        }
        if self.failed > 0 {
            failures.push(format!("{} tests have failed", self.failed));
        }
        // Inside there is all that a test could miss.
        if self.ignored > 0 {
            failures.push(format!("{} tests were skipped", self.ignored));
        }
        for group in REQUIRED_GROUPS {
            if !self.passed_names.iter().any(|name| name.starts_with(group)) {
                failures.push(format!("no test of '{group}' has passed"));
            }
        }
        for required in lane.required_facts() {
            if !self.facts.iter().any(|fact| fact.contains(required)) {
                failures.push(format!("'{required}' was not said, so nothing is proved"));
            }
        }
        failures
    }
}

impl fmt::Display for Report {
    /// The facts, a line each, and the counts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.facts {
            writeln!(formatter, "{fact}")?;
        }
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 { write!(formatter, ", {} skipped", self.ignored) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a good run says.
    fn good() -> String {
        let tests: String = REQUIRED_GROUPS.iter().map(|group| format!("test {group}a ... ok\n")).collect();
        format!(
            "lane: fact: Linux 6.1, kvm_amd/parameters/npt Y\n\
             lane: fact: paging: SVM+NPT\n\
             running 9 tests\n\
             {tests}\
             test result: ok. 9 passed; 0 failed; 0 ignored; 0 measured; 313 filtered out\n\
             lane: status 0\n"
        )
    }

    fn report(said: &str) -> Report {
        let mut report = Report::default();
        let _ = said.lines().try_for_each(|line| report.take(line));
        report
    }

    #[test]
    fn a_good_run_is_told_with_its_facts_and_counts() {
        let report = report(&good());
        assert_eq!(report.failures(Lane::Npt), [""; 0]);
        let said = report.to_string();
        assert!(said.starts_with("Linux 6.1, kvm_amd/parameters/npt Y\n"), "{said}");
        assert!(said.ends_with("\n9 passed, 0 failed"), "{said}");
    }

    #[test]
    fn whatever_is_missing_or_wrong_is_a_failure() {
        for (from, to) in [
            ("lane: status 0\n", ""),
            ("lane: status 0\n", "lane: status 101\n"),
            ("npt Y", "npt N"),
            ("SVM+NPT", "SVM without NPT"),
            ("9 passed; 0 failed", "8 passed; 1 failed"),
            ("0 ignored", "1 ignored"),
            ("kvm/paging/a ... ok", "kvm/paging/a ... FAILED"),
            ("test kvm/backing/thp/a ... ok\n", ""),
            ("running", "lane: module kvm-amd can't be loaded\nrunning"),
            ("running", "[ 9.9] Kernel panic - not syncing: no init\nrunning"),
        ] {
            let good = good();
            assert!(good.contains(from));
            let report = report(&good.replace(from, to));
            assert_ne!(report.failures(Lane::Npt), [""; 0], "{from} -> {to}");
        }
        assert_eq!(report(&good()).failures(Lane::Ept).len(), 2, "of another lane");
    }

    #[test]
    fn only_what_people_should_see_is_shown() {
        assert!(!Report::shows("lane: status 0"));
        assert!(Report::shows("test kvm/hello/16M ... ok"));
    }

    #[test]
    fn nothing_is_waited_for_behind_a_panic() {
        assert!(Report::default().take("[ 9.9] Kernel panic - not syncing: no init").is_break());
        assert!(Report::default().take("lane: status 0").is_continue());
    }
}
