//! What the kernel does, as `tracer drops` sees it.

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::Pod;
use tracer_tests::faults::{expected::Place, role};

use crate::cases::{Case, each};
use crate::watch::{Watch, brief, name};

fn check(case: &Case<'_>) -> Result<()> {
    let mut watch = Watch::start(&case.stage.lab, &[])?;
    let [faulty, clean] = case.run()?;
    let is_faulty = |drop: &Value| drop["packet"]["dst_port"] == faulty.port();
    if let Some(place) = &case.expected.drop {
        watch.wait_for(is_faulty)?;
        let told = watch.stop()?;
        for drop in told.drops.iter().filter(|drop| is_faulty(drop)) {
            let text = || format!("{drop:#}\namong {:#?}", brief(&told.drops));
            ensure!(is_at(case, drop, place), "{}", text());
        }
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
            Some((_, pod)) => pod.interface == interface && place.interfaces == ["pod"],
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
