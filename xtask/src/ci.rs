//! What a change has to pass, in the order in which it is likely to fail, and what it
//! took: whoever adds tests sees at the end what they cost.

use anyhow::Result;

use crate::{check, cluster, kernels, lint, tally::Summary};

/// Lints, tests, and those of them that need other kernels.
pub(crate) fn run() -> Result<()> {
    let mut summary = Summary::default();
    let passed = all(&mut summary);
    print!("{summary}");
    // What did not run is the last that is read.
    if let Some(why) = passed? {
        println!("{why}");
    }
    Ok(())
}

/// Why the cluster's tests did not run, if they did not.
fn all(summary: &mut Summary) -> Result<Option<String>> {
    summary.part("lint", |_| lint::lint())?;
    check::test_into(&[], summary)?;
    let cluster = cluster::run_if_kept(summary)?;
    kernels::run_turn(summary)?;
    summary.all_ran(kernels::run_by_turns)?;
    Ok(cluster)
}
