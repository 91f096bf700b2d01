//! What the nested Linux said, and whether it proves what it should.

use crate::lane::Lane;
use std::fmt;

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
}

impl Report {
    /// Takes a line; returns whether it is for people to see.
    pub(crate) fn take(&mut self, line: &str) -> bool {
        let Some(said) = line.strip_prefix("lane: ") else {
            self.count(line);
            return true;
        };
        if let Some(fact) = said.strip_prefix("fact: ") {
            self.facts.push(fact.to_owned());
        } else if let Some(status) = said.strip_prefix("status ") {
            self.status = status.trim().parse().ok();
        } else {
            self.troubles.push(said.to_owned());
        }
        false
    }

    /// Reads `test result: ok. 217 passed; 1 failed; 0 ignored; …`.
    fn count(&mut self, line: &str) {
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
        if self.passed == 0 {
            failures.push("no test has passed".to_owned());
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

    const GOOD: &str = "lane: fact: Linux 6.1, kvm_amd/parameters/npt Y\n\
        lane: fact: paging: SVM+NPT\n\
        running 2 tests\n\
        test kvm/hello/16M ... ok\n\
        test kvm/hello/64M ... ok\n\
        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 313 filtered out\n\
        lane: status 0\n";

    fn report(said: &str) -> Report {
        let mut report = Report::default();
        for line in said.lines() {
            report.take(line);
        }
        report
    }

    #[test]
    fn a_good_run_is_told_with_its_facts_and_counts() {
        let report = report(GOOD);
        assert_eq!(report.failures(Lane::Npt), [""; 0]);
        let said = report.to_string();
        assert!(said.starts_with("Linux 6.1, kvm_amd/parameters/npt Y\n"), "{said}");
        assert!(said.ends_with("\n2 passed, 0 failed"), "{said}");
    }

    #[test]
    fn whatever_is_missing_or_wrong_is_a_failure() {
        for (from, to) in [
            ("lane: status 0\n", ""),
            ("lane: status 0\n", "lane: status 101\n"),
            ("npt Y", "npt N"),
            ("SVM+NPT", "SVM without NPT"),
            ("2 passed; 0 failed", "1 passed; 1 failed"),
            ("2 passed; 0", "0 passed; 0"),
            ("64M ... ok", "64M ... ok\nlane: module kvm-amd can't be loaded"),
            ("test result: ", ""),
        ] {
            assert!(GOOD.contains(from));
            let report = report(&GOOD.replace(from, to));
            assert_ne!(report.failures(Lane::Npt), [""; 0], "{from} -> {to}");
        }
        assert_eq!(report(GOOD).failures(Lane::Ept).len(), 2, "of another lane");
    }

    #[test]
    fn only_what_people_should_see_is_shown() {
        let mut report = Report::default();
        assert!(!report.take("lane: status 0"));
        assert!(report.take("test kvm/hello/16M ... ok"));
    }
}
