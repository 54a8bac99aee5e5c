//! What the kernel does, as `tracer drops` sees it.

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::Pod;
use tracer_tests::faults::{expected::Place, role};

use crate::cases::{Case, each};
use crate::watch::{Watch, brief, name};

/// Reasons of drops that are no losses everywhere, and are only counted.
const COUNTED: [(&str, &str); 2] = [("OTHERHOST", "flooded"), ("NO_SOCKET", "refusal")];

fn check(case: &Case<'_>) -> Result<()> {
    let mut watch = Watch::start(&case.stage.lab, &[])?;
    let traffic = case.run()?;
    let is_faulty = |drop: &Value| traffic.is_faulty(&drop["packet"]);
    let place = case.expected.drop.as_ref();
    let counted = place.and_then(|place| {
        let is = |(reason, _): &&(&str, &str)| place.reasons == [*reason];
        COUNTED.iter().find(is)
    });
    if place.is_some() && counted.is_none() {
        watch.wait_for(is_faulty)?;
    }
    traffic.clean_arrives()?;
    let told = watch.stop()?;
    let text = |drop: &Value| format!("{drop:#}\namong {:#?}", brief(&told.drops));
    for drop in &told.drops {
        ensure!(drop["packet"]["dst_port"] != traffic.clean.port(), text(drop));
    }
    for drop in told.drops.iter().filter(|drop| is_faulty(drop)) {
        ensure!(place.is_some_and(|place| is_at(case, drop, place)), text(drop));
    }
    if let Some((_, class)) = counted {
        let freed = told.summary["packets"][class].as_u64();
        ensure!(freed >= Some(traffic.sent as u64), "{:#}", told.summary);
    }
    Ok(())
}

/// Whether a drop is where, and why, the table says.
fn is_at(case: &Case<'_>, drop: &Value, place: &Place) -> bool {
    let stage = case.stage;
    let pods: [(&str, &Pod); 4] = [
        ("a", stage.a()),
        ("b", stage.b()),
        ("a2", stage.a2()),
        ("b2", stage.b2()),
    ];
    let pod = pods.iter().find(|(name, _)| *name == place.netns);
    let netns = pod.map_or("host".to_owned(), |(_, pod)| name(pod));
    let is_one = |field: &Value, words: &[String]| {
        field.as_str().is_some_and(|is| words.iter().any(|word| word == is))
    };
    let interface = match drop["interface"].as_str() {
        None => place.interfaces.is_empty(),
        Some(interface) => match pod {
            Some((_, pod)) if interface == pod.interface => place.interfaces == ["pod"],
            Some(_) => place.interfaces == [interface],
            None => {
                let role = role(&stage.lab, place.node, interface);
                role.is_some_and(|role| place.interfaces == [role])
            }
        },
    };
    drop["node"] == *stage.lab.nodes[place.node].name
        && drop["netns"] == *netns
        && (interface || place.interfaces == ["*"])
        && is_one(&drop["reason"], &place.reasons)
        && is_one(&drop["function"], &place.functions)
}

macro_rules! groups {
    ($($group:ident)*) => {$(
        #[test]
        fn $group() -> Result<()> {
            each(stringify!($group), check)
        }
    )*};
}

groups!(routes neighbours filters sockets devices middle foreign);
