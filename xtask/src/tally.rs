//! The results of tests: how many ran, which failed, which cannot run on this kernel, and how long
//! each tier took.
//!
//! For its runner, a test that returns early has passed. Tests therefore say so if they do not run
//! ([`NOT_HERE`]). The summary of all tiers checks that each test ran somewhere. Otherwise a wiring
//! that no kernel supports would stay green for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tracer_tests::lab::NOT_HERE;

/// The results that test programs printed.
#[derive(Default)]
pub(crate) struct Tally {
    /// The number of tests that ran, including those that do not run here.
    pub(crate) ran: u32,
    /// The names of the tests that ended.
    ended: BTreeSet<String>,
    failed: BTreeSet<String>,
    /// The tests that do not run here, with the reasons.
    not_here: BTreeMap<String, String>,
}

impl Tally {
    /// Takes a line of a test program's output.
    pub(crate) fn hear(&mut self, line: &str) {
        self.ran += ran_in(line);
        // With one thread, the runner completes its line when a test has ended. The test's own
        // lines then begin in the middle of the runner's line.
        if let Some((_, told)) = line.split_once(NOT_HERE) {
            let (test, why) = told.split_once(": ").unwrap_or((told, ""));
            self.not_here.insert(test.to_owned(), why.to_owned());
        }
        let test = line.strip_prefix("test ");
        if let Some((test, result)) = test.and_then(|rest| rest.split_once(" ... ")) {
            self.ended.insert(test.to_owned());
            if result.contains("FAILED") {
                self.failed.insert(test.to_owned());
            }
        }
    }

    /// Adds the results of other test programs.
    pub(crate) fn add(&mut self, other: Self) {
        self.ran += other.ran;
        self.ended.extend(other.ended);
        self.failed.extend(other.failed);
        self.not_here.extend(other.not_here);
    }

    /// The number of tests that do not run here.
    pub(crate) fn not_here(&self) -> usize {
        self.not_here.len()
    }

    /// Whether a test ran to its end, and did not return early.
    fn has_run(&self, test: &str) -> bool {
        self.ended.contains(test) && !self.not_here.contains_key(test)
    }
}

/// The number of tests in the runner's summary line; 0 for any other line.
fn ran_in(line: &str) -> u32 {
    if !line.starts_with("test result: ") {
        return 0;
    }
    line.split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .filter(|(_, what)| matches!(*what, "passed" | "failed"))
        .filter_map(|(count, _)| count.parse::<u32>().ok())
        .sum()
}

/// A part of a run that has ended.
struct Part {
    name: String,
    took: Duration,
    tally: Tally,
    passed: bool,
}

/// The summary at the end of a run.
#[derive(Default)]
pub(crate) struct Summary {
    parts: Vec<Part>,
}

impl Summary {
    /// Runs a part, and keeps its result. `run` counts into the given tally, so the tests of a part
    /// that fails count, too.
    pub(crate) fn part<T>(
        &mut self,
        name: impl Into<String>,
        run: impl FnOnce(&mut Tally) -> Result<T>,
    ) -> Result<T> {
        let begin = Instant::now();
        let mut tally = Tally::default();
        let result = run(&mut tally);
        self.parts.push(Part {
            name: name.into(),
            took: begin.elapsed(),
            tally,
            passed: result.is_ok(),
        });
        result
    }

    /// The number of tests that ran.
    pub(crate) fn ran(&self) -> u32 {
        self.parts.iter().map(|part| part.tally.ran).sum()
    }

    /// The parts that failed.
    pub(crate) fn failed(&self) -> Vec<&str> {
        let failed = self.parts.iter().filter(|part| !part.passed);
        failed.map(|part| part.name.as_str()).collect()
    }

    /// The tests that no part has run, with one of the reasons.
    fn nowhere(&self) -> BTreeMap<&str, &str> {
        let left = self.parts.iter().flat_map(|part| &part.tally.not_here);
        let ran = |test: &str| self.parts.iter().any(|part| part.tally.has_run(test));
        left.filter(|(test, _)| !ran(test))
            .map(|(test, why)| (test.as_str(), why.as_str()))
            .collect()
    }

    /// Checks that each test ran in one of the parts. `other_turn` names tests that other kernels
    /// run at another turn.
    ///
    /// # Errors
    /// Names the tests that did not run.
    pub(crate) fn all_ran(&self, other_turn: impl Fn(&str) -> bool) -> Result<()> {
        let nowhere = self.nowhere();
        let left: Vec<&str> = nowhere
            .into_keys()
            .filter(|test| !other_turn(test))
            .collect();
        if !left.is_empty() {
            bail!(
                "no kernel ran {}: add them to the tests of `cargo xtask kernels`, or a kernel \
                 that can run them",
                left.join(", ")
            );
        }
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |took: Duration| took.as_secs_f64() / 60.0;
        writeln!(f, "\n{:24} minutes  tests  not here", "")?;
        for part in &self.parts {
            let Part {
                name, took, tally, ..
            } = part;
            let failed = if part.passed { "" } else { "  FAILED" };
            let (ran, not_here) = (tally.ran, tally.not_here());
            let minutes = minutes(*took);
            writeln!(f, "{name:24} {minutes:7.1} {ran:6} {not_here:9}{failed}")?;
        }
        let took = self.parts.iter().map(|part| part.took).sum();
        let all = (minutes(took), self.ran());
        writeln!(f, "{:24} {:7.1} {:6}", "all", all.0, all.1)?;
        for part in &self.parts {
            for test in &part.tally.failed {
                writeln!(f, "{}: {test} FAILED", part.name)?;
            }
        }
        for (test, why) in self.nowhere() {
            writeln!(f, "not run here: {test}: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results in these lines.
    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.hear(line);
        }
        tally
    }

    #[test]
    fn the_runners_summary_is_counted() {
        let summary = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured; 7 filtered out; finished in 0.42s";
        assert_eq!(ran_in(summary), 13);
        let coloured = "test result: \u{1b}[32mok\u{1b}[m. 2 passed; 0 failed; 0 ignored";
        assert_eq!(ran_in(coloured), 2);
        assert_eq!(ran_in("test lab::ping ... ok"), 0);
    }

    #[test]
    fn a_test_that_is_not_run_here_is_no_test_that_ran() {
        let here = format!("{NOT_HERE}one::two: this kernel has no GRE: none");
        // One thread writes the first form, and several threads the second.
        let begun = format!("test one::two ... {here}");
        let one_thread = [begun.as_str(), "ok", "test one::three ... ok"];
        let several = [
            &*here,
            "test one::two ... ok",
            "test one::three ... \u{1b}[32mok",
        ];
        for lines in [one_thread, several] {
            let tally = tally(&lines);
            assert_eq!(tally.not_here(), 1);
            assert!(!tally.has_run("one::two"));
            assert!(tally.has_run("one::three"));
            assert!(!tally.has_run("one::four"));
            assert_eq!(tally.not_here["one::two"], "this kernel has no GRE: none");
        }
    }

    #[test]
    fn each_test_has_to_run_somewhere() {
        let mut summary = Summary::default();
        let mut part = |name: &str, lines: &[&str], fails: bool| {
            let part = summary.part(name, |counted| {
                counted.add(tally(lines));
                anyhow::ensure!(!fails, "it fails");
                Ok(())
            });
            assert_eq!(part.is_err(), fails);
        };
        let missing = |test: &str| format!("{NOT_HERE}{test}: this kernel has no GRE");
        part(
            "lab",
            &[&missing("gre"), "test gre ... ok", &missing("old")],
            false,
        );
        part("Linux 1", &["test gre ... ok", &missing("old")], true);
        assert_eq!(summary.failed(), ["Linux 1"]);
        let shown = summary.to_string();
        let left = "\nnot run here: old: this kernel has no GRE\n";
        assert!(shown.ends_with(left), "{shown}");
        assert!(!shown.contains("not run here: gre"), "{shown}");
        assert!(summary.all_ran(|test| test == "old").is_ok());
        let error = summary.all_ran(|_| false).expect_err("none ran it");
        assert!(error.to_string().contains("no kernel ran old"), "{error}");
    }

    #[test]
    fn what_failed_is_named_at_the_end() {
        let mut summary = Summary::default();
        let ran = summary.part("pure", |counted| {
            counted.add(tally(&["test a::b ... FAILED", "test a::c ... ok"]));
            bail!("tests failed") as Result<()>
        });
        assert!(ran.is_err());
        assert!(summary.to_string().contains("\npure: a::b FAILED\n"));
    }
}
