//! The checks that a change has to pass, beginning with the most likely to fail, and their
//! durations: whoever adds tests sees at the end what they cost.

use anyhow::Result;

use crate::{check, cluster, kernels, lint, tally::Summary};

/// Runs lints, tests, and the tests that need other kernels.
pub(crate) fn run() -> Result<()> {
    let mut summary = Summary::default();
    let passed = all(&mut summary);
    print!("{summary}");
    // The last line says what did not run, so that nobody overlooks it.
    if let Some(why) = passed? {
        println!("{why}");
    }
    Ok(())
}

/// Returns the reason if the cluster's tests did not run.
fn all(summary: &mut Summary) -> Result<Option<String>> {
    summary.part("lint", |_| lint::lint())?;
    check::test_into(&[], summary)?;
    let cluster = cluster::run_if_kept(summary)?;
    kernels::run_turn(summary)?;
    summary.all_ran(kernels::run_by_turns)?;
    Ok(cluster)
}
