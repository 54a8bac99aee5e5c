//! Checks what the kernel does, as `tracer drops` sees it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cases::{Case, Running, Unseen, is_at};
use crate::watch::{Watch, brief};

/// Reasons of drops that are not always losses, and are only counted.
const COUNTED: [(&str, &str); 2] = [("NO_SOCKET", "refusal"), OTHERHOST];
/// The reason if neither the MAC nor the IP address is the node's: a bridge may have flooded a
/// copy.
const OTHERHOST: (&str, &str) = ("OTHERHOST", "flooded");
/// The index of the third node.
const THIRD: usize = 2;

/// Checks and ends a watch that ran while `traffic` met its fault.
pub(crate) fn check(case: &Case<'_>, traffic: &Running, mut watch: Watch) -> Result<()> {
    let is_faulty = |drop: &Value| traffic.is_faulty(&drop["packet"]);
    let place = case.expected.drop.as_ref();
    let counted = place.and_then(|place| {
        let is = |counted: &&(&str, &str)| {
            place.reasons[0] == counted.0 && (**counted != OTHERHOST || place.node == THIRD)
        };
        COUNTED.iter().find(is)
    });
    // The reason decides a drop's class, and so whether the drop is shown.
    if place.is_some() && counted.is_none() && !case.expected.may_be_unknown {
        watch.wait_for(is_faulty).context(Unseen)?;
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
    // Another kernel may give another reason, with another class.
    if let Some((_, class)) = counted
        && !case.expected.of_another_kernel
    {
        let freed = told.summary["packets"][class].as_u64();
        ensure!(freed >= Some(traffic.sent as u64), "{:#}", told.summary);
    }
    Ok(())
}
