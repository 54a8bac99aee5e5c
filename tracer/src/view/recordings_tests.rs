//! Text and JSON about recordings, compared with docs/json.md.

use std::collections::BTreeMap;

use serde_json::Value;
use tracer_core::{
    journal::Selected,
    journey::Scene,
    verdict::{Grouping, Kind, Stats, Verdict},
};

use super::{
    Look, contents_json,
    fixtures::{Case, all, started},
    json,
    plan::DryRun,
    stats_json, stats_text,
};
use crate::{
    interfaces::{self, Interface, PodNamespace, Role},
    store::{Contents, Head},
};

const EVERYTHING: Grouping = Grouping {
    pod: true,
    leg: true,
    reason: true,
};

fn named(name: &str) -> Case {
    let case = all().into_iter().find(|case| case.name == name);
    case.expect("a case of this name")
}

/// The sums of a fixture's journeys.
fn sums(name: &str, grouping: Grouping, change: impl Fn(&mut Scene, &mut Verdict)) -> Stats {
    let mut case = named(name);
    let mut stats = Stats::new(grouping);
    for (journey, verdict, _) in &mut case.journeys {
        change(&mut case.scene, verdict);
        stats.add(&case.scene, journey, verdict);
    }
    stats
}

fn text(stats: &Stats) -> String {
    let mut out = Vec::new();
    stats_text(&mut out, &Look::plain(), stats, None).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn the_whole_way_is_that_of_what_arrived() {
    let whole = Grouping::default();
    let arrived = sums("ping", whole, |_, _| {});
    assert_eq!(arrived.latencies.len(), 1);
    let lost = sums("ping", whole, |_, verdict| verdict.kind = Kind::Lost);
    assert!(lost.latencies.is_empty());
}

/// The rows of a table are as wide as its head, at any width.
#[test]
fn columns_of_figures_stay_in_their_line() {
    for width in [80, 100, 160] {
        let look = Look::plain().on_columns(width);
        for name in ["ping", "long", "dropped"] {
            let mut out = Vec::new();
            let stats = sums(name, EVERYTHING, |_, _| {});
            stats_text(&mut out, &look, &stats, None).expect("memory");
            let text = String::from_utf8(out).expect("text");
            let head = text.lines().find(|line| line.starts_with("latency"));
            let head = head.expect("the table's head");
            assert!(head.ends_with("max"), "{text}");
            let end = head.chars().count();
            assert!(end <= width, "{text}");
            let units = [" ns", " µs", " ms", " s"];
            let rows = text
                .lines()
                .filter(|line| units.iter().any(|unit| line.ends_with(unit)));
            let mut rows = rows.peekable();
            assert!(rows.peek().is_some(), "{text}");
            for row in rows {
                assert_eq!(row.chars().count(), end, "{text}");
            }
        }
    }
}

#[test]
fn times_of_two_clocks_are_marked() {
    let whole = Grouping::default();
    assert!(!text(&sums("ping", whole, |_, _| {})).contains('~'));
    let two = sums("ping", whole, |scene, _| {
        for (index, hello) in scene.nodes.iter_mut().enumerate() {
            hello.boot_id = format!("boot-{index}");
        }
    });
    assert!(
        text(&two).contains("~ times of two clocks"),
        "{}",
        text(&two)
    );
    assert!(two.latencies.keys().all(|of| !of.one_clock));
}

/// The contents of a fixture's recording.
fn contents() -> Contents {
    let case = named("ping");
    Contents {
        head: Head {
            version: "0.1.0".to_owned(),
            recording: 0x1f,
            piece: 1,
            armed: Some(1_772_368_496_000_000_000),
            last: None,
            anonymized: false,
            key: 0,
            time: 1_772_368_495_000_000_000,
            follow: started(&case.scene).follow,
            warnings: Vec::new(),
            pairs: Vec::new(),
            sources: Vec::new(),
            asked: Vec::new(),
            hold: 0,
            open: 0,
            skew: 0,
            count: None,
            nodes: case.scene.nodes.to_vec(),
            owners: case.scene.owners,
        },
        bytes: 16_000,
        hops: vec![12, 12],
        drops: vec![0, 1],
        batches: 7,
        span: Some((1_772_368_496_000_000_000, 1_772_368_497_000_000_000)),
        armed: Some(1_772_368_496_000_000_000),
        ended: Some(1_772_368_498_000_000_000),
        cut: false,
    }
}

/// Adds all keys of a value to `found`.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Interfaces of a node: a pod's one, and an uplink with other programs.
fn interfaces() -> interfaces::Plan {
    let interface = |name: &str, role| Interface {
        ifindex: 2,
        name: name.to_owned(),
        role,
        link_kind: String::new(),
        l2: true,
        mac: None,
        mtu: 1500,
        up: true,
        addresses: Vec::new(),
        pods: Vec::new(),
        vxlan: None,
        master: None,
        xdp: None,
        xdp_hook: None,
        why: "the route to the other node leads there".to_owned(),
    };
    let uplink = Interface {
        xdp: Some(17),
        xdp_hook: Some("xdp"),
        ..interface("eth0", Role::Uplink)
    };
    interfaces::Plan {
        interfaces: vec![interface("veth4af06e43", Role::PodVeth), uplink],
        pod_namespaces: vec![PodNamespace {
            pod: [10, 244, 1, 5].into(),
            path: "/proc/42/ns/net".into(),
            ifindex: 2,
            name: "eth0".to_owned(),
            kind: "veth".to_owned(),
        }],
        notes: vec!["no neighbour entry for 10.244.2.7".to_owned()],
        ..interfaces::Plan::default()
    }
}

/// Documents of each kind: with all values, and with null for each value that may be missing.
pub(super) fn documents() -> Vec<String> {
    let mut out = Vec::new();
    let selected = Selected {
        query: "verdict:dropped".to_owned(),
        matching: 1,
        of: 2,
    };
    for (name, grouping, selected) in [
        ("ping", EVERYTHING, None),
        ("dropped", EVERYTHING, Some(&selected)),
        ("ping", Grouping::default(), None),
        ("dropped", Grouping::default(), None),
    ] {
        let stats = sums(name, grouping, |_, _| {});
        stats_json(&mut out, &stats, selected).expect("memory");
    }
    let never = Contents {
        span: None,
        armed: None,
        ended: None,
        ..contents()
    };
    for contents in [contents(), never] {
        contents_json(&mut out, &contents).expect("memory");
    }
    let nodes = [("node-a".to_owned(), interfaces())];
    let plan = DryRun::of("default/web → shop/cart (any protocol)", &[], &nodes);
    out.extend(json::line(&plan).expect("memory"));
    let out = String::from_utf8(out).expect("text");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_written_is_documented() {
    let document = include_str!("../../../docs/json.md");
    let sections: BTreeMap<&str, &str> = document
        .split("\n## ")
        .filter_map(|section| section.split_once('\n'))
        .collect();
    for line in documents() {
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let schema = value["schema"].as_str().expect("its name");
        let section = sections
            .get(schema)
            .unwrap_or_else(|| panic!("no {schema}"));
        let mut found = Vec::new();
        keys(&value, &mut found);
        for key in found {
            let named = [format!("`{key}`"), format!(".{key}`")];
            let is_there = named.iter().any(|key| section.contains(key));
            assert!(is_there, "{key} of {schema} is not documented");
        }
    }
}
