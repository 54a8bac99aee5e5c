//! The report that CI systems show: a test case for each flow.

use std::{io, path::Path};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Expectations, Flow};
use crate::store::Target;

/// Writes the report; its final name appears once it is complete.
pub(super) fn write(path: &Path, expectations: &Expectations) -> io::Result<()> {
    let mut target = Target::create(path)?;
    let report = report(expectations);
    report.serialize(&mut target.file).map_err(|error| {
        // The error is the library's own type, so its text is kept.
        io::Error::other(error.to_string())
    })?;
    target.publish()
}

fn report(expectations: &Expectations) -> Report {
    let mut suite = TestSuite::new(&*expectations.follow);
    suite.add_test_cases(expectations.flows.iter().map(case));
    let mut report = Report::new("tracer");
    report.add_test_suite(suite);
    report
}

fn case(flow: &Flow) -> TestCase {
    let status = match flow.difference() {
        None => TestCaseStatus::success(),
        Some(difference) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(difference).set_type("unexpected");
            status
        }
    };
    let mut case = TestCase::new(&*flow.name, status);
    case.set_classname("tracer");
    case.set_system_out(format!(
        "{} as expected, {} otherwise, {} not known because the follow began or ended",
        flow.seen.as_expected,
        flow.seen
            .otherwise
            .values()
            .map(|(packets, _)| packets)
            .sum::<u64>(),
        flow.seen.cut_off,
    ));
    case
}
