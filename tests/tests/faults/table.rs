//! Checks that the table and the list of faults agree.

use std::collections::BTreeSet;

use anyhow::Result;
use tracer_tests::Wiring;
use tracer_tests::faults::{Table, all};

#[test]
fn each_fault_is_expected_once_and_nothing_else_is() -> Result<()> {
    let table = Table::of_this_kernel()?;
    let faults = all();
    let pairs = || {
        faults
            .iter()
            .flat_map(|fault| fault.v6.iter().map(move |v6| (fault, *v6)))
    };
    for (fault, v6) in pairs() {
        let expected = table.expect(&fault.name, v6, Wiring::Flannel)?;
        assert!(!expected.verdicts.is_empty(), "{expected:?}");
        assert!(!expected.source.is_empty(), "{expected:?}");
    }
    let made: BTreeSet<(&str, bool)> = pairs().map(|(fault, v6)| (&*fault.name, v6)).collect();
    let told: BTreeSet<(&str, bool)> = table.faults().collect();
    assert_eq!(made, told);
    Ok(())
}
