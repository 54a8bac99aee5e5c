//! What the kernel does, as `tracer drops` sees it.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cases::{Case, Running, is_at};
use crate::watch::{Watch, brief};

/// Reasons of drops that are no losses everywhere, and are only counted.
const COUNTED: [(&str, &str); 2] = [("NO_SOCKET", "refusal"), OTHERHOST];
/// This one where neither MAC nor IP address is the node's: a node that nobody asked
/// about may have had a copy.
const OTHERHOST: (&str, &str) = ("OTHERHOST", "flooded");
/// The index of that node.
const THIRD: usize = 2;

/// Checks, and ends, a watch that was there while `traffic` met its fault.
pub(crate) fn check(case: &Case<'_>, traffic: &Running, mut watch: Watch) -> Result<()> {
    let is_faulty = |drop: &Value| traffic.is_faulty(&drop["packet"]);
    let place = case.expected.drop.as_ref();
    let counted = place.and_then(|place| {
        let is = |counted: &&(&str, &str)| {
            place.reasons[0] == counted.0 && (**counted != OTHERHOST || place.node == THIRD)
        };
        COUNTED.iter().find(is)
    });
    // Of which class a drop is, and so whether it is shown, follows from the reason.
    if place.is_some() && counted.is_none() && !case.expected.may_be_unknown {
        watch.wait_for(is_faulty)?;
    }
    let told = watch.stop()?;
    let text = |drop: &Value| format!("{drop:#}\namong {:#?}", brief(&told.drops));
    for drop in &told.drops {
        ensure!(
            drop["packet"]["dst_port"] != traffic.clean.port(),
            text(drop)
        );
    }
    for drop in told.drops.iter().filter(|drop| is_faulty(drop)) {
        ensure!(
            place.is_some_and(|place| is_at(case.stage, drop, place)),
            text(drop)
        );
    }
    // Another kernel may give another reason, which is of another class.
    if let Some((_, class)) = counted
        && !case.expected.of_another_kernel
    {
        let freed = told.summary["packets"][class].as_u64();
        ensure!(freed >= Some(traffic.sent as u64), "{:#}", told.summary);
    }
    Ok(())
}
