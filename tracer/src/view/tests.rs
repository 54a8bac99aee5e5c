//! All views over all fixtures.
//!
//! The output of views is compared with files in `testdata/`. With `UPDATE_EXPECT=1` in the
//! environment, the tests rewrite these files, so that a person can read the difference.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::Path,
};

use expect_test::expect_file;
use jiff::tz::TimeZone;
use serde_json::Value;

use tracer_core::{
    journal::{Changed, View},
    model::{Owner, OwnerKind},
};

use super::{
    Json, Look, Text,
    fixtures::{Case, all, restarted, started, summary},
};
use crate::terminal::columns;

/// Everything that a view writes about a case.
fn show(view: &mut dyn View, case: &Case) {
    let scene = &case.scene;
    view.started(scene, &started(scene)).expect("memory");
    for (journey, verdict, parts) in &case.journeys {
        view.journey(scene, journey, verdict, parts)
            .expect("memory");
    }
    view.summary(scene, &summary(scene, &case.journeys), None)
        .expect("memory");
}

fn text(case: &Case, look: Look) -> String {
    let mut out = Vec::new();
    show(&mut Text::new(&mut out, look), case);
    String::from_utf8(out).expect("text")
}

fn coloured() -> Look {
    Look::plain().in_colours()
}

pub(super) fn json(case: &Case) -> Vec<String> {
    let mut out = Vec::new();
    show(&mut Json::new(&mut out), case);
    let lines = String::from_utf8(out).expect("text");
    lines.lines().map(ToOwned::to_owned).collect()
}

pub(super) fn named(name: &str) -> Case {
    let case = all().into_iter().find(|case| case.name == name);
    case.expect("a case of this name")
}

/// Compares text with a file below the crate's root, or writes that file.
pub(super) fn agree(file: &str, actual: &str) {
    expect_file![Path::new(env!("CARGO_MANIFEST_DIR")).join(file)].assert_eq(actual);
}

#[test]
fn text_is_as_recorded() {
    for case in all() {
        agree(
            &format!("src/view/testdata/{}.txt", case.name),
            &text(&case, Look::plain()),
        );
    }
}

#[test]
fn no_line_is_wider_than_a_terminal_or_ends_in_a_space() {
    for case in all() {
        for line in text(&case, Look::plain()).lines() {
            assert!(columns(line) <= 80, "{}: {line}", case.name);
            assert_eq!(line, line.trim_end(), "{}", case.name);
        }
    }
}

#[test]
fn colours_add_nothing_but_colours() {
    for case in all() {
        let mut plain = String::new();
        for (at, piece) in text(&case, coloured()).split("\u{1b}[").enumerate() {
            let text = match piece.split_once('m') {
                Some((_, text)) if at > 0 => text,
                _ => piece,
            };
            plain.push_str(text);
        }
        assert_eq!(plain, text(&case, Look::plain()));
    }
    assert!(text(&named("ping"), coloured()).contains("\u{1b}["));
}

#[test]
fn names_cannot_steer_the_terminal() {
    let text = text(&named("hostile"), Look::plain());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    assert!(!text.contains('\u{202e}'));
    assert!(text.contains("node\u{fffd}[2Ja"));
}

/// Nodes get their names from a file or a command line. Anyone who creates an interface names it.
#[test]
fn wide_and_combining_characters_leave_columns_where_they_are() {
    let mut case = named("ping");
    let rows = |case: &Case| -> Vec<(String, usize)> {
        let text = text(case, Look::plain());
        let ttl = |line: &str| Some((line.to_owned(), columns(line.split_once("  ttl ")?.0)));
        text.lines().filter_map(ttl).collect()
    };
    let before = rows(&case);
    assert!(before.len() > 2, "{before:?}");
    for (hello, name) in case.scene.nodes.iter_mut().zip(["東京", "ノe\u{301}ド"]) {
        hello.node = name.into();
        for point in &mut hello.points {
            point.interface.push('網');
        }
    }
    let after = rows(&case);
    assert_eq!(after.len(), before.len());
    let first = after[0].1;
    assert!(after.iter().all(|(_, at)| *at == first), "{after:#?}");
}

/// All journeys have the same keys, whatever the packet and its verdict are. A missing value is
/// null.
#[test]
fn keys_are_always_there() {
    let journeys = all();
    let journeys = journeys.iter().flat_map(json);
    let mut shapes = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    for line in journeys.filter(|line| line.contains("tracer.journey/2")) {
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let keys = |value: &Value| -> Vec<String> {
            value
                .as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect()
        };
        let hops = value["hops"].as_array().expect("hops");
        let hop = keys(&hops[0]);
        assert!(hops.iter().all(|other| keys(other) == hop));
        assert_eq!(hops[0].get("since_previous_ns"), Some(&Value::Null));
        let verdict = &value["verdict"];
        let kind = verdict["kind"].as_str().expect("a kind").to_owned();
        let stopped = ["dropped", "refused"].contains(&kind.as_str());
        let drop = verdict.get("drop").expect("a key");
        assert!(stopped || drop.is_null(), "{verdict:#}");
        kinds.insert((kind, drop.is_object()));
        shapes.insert((
            keys(&value),
            keys(&value["packet"]),
            keys(verdict),
            keys(&value["parts"]),
            hop,
        ));
    }
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    for told in [("delivered", false), ("dropped", true)] {
        let told = (told.0.to_owned(), told.1);
        assert!(kinds.contains(&told), "no case is {told:?}: {kinds:?}");
    }
}

#[test]
fn each_call_is_one_write_and_one_flush() {
    #[derive(Default)]
    struct Calls(Vec<&'static str>);

    impl Write for Calls {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push("write");
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.push("flush");
            Ok(())
        }
    }

    let case = named("ping");
    let expected = ["write", "flush"].repeat(2 + case.journeys.len());
    let mut calls = Calls::default();
    show(&mut Text::new(&mut calls, Look::plain()), &case);
    assert_eq!(calls.0, expected);
    let mut calls = Calls::default();
    show(&mut Json::new(&mut calls), &case);
    assert_eq!(calls.0, expected);
}

#[test]
fn a_wide_terminal_is_used_and_a_narrow_one_is_not_overrun() {
    let longest = |width| {
        let texts = all()
            .into_iter()
            .map(|case| text(&case, Look::plain().on_columns(width)));
        let lines: Vec<usize> = texts
            .flat_map(|text| text.lines().map(columns).collect::<Vec<_>>())
            .collect();
        lines.into_iter().max().expect("there are lines")
    };
    assert!(longest(40) <= 80, "80 columns are the least");
    assert!((81..=160).contains(&longest(160)));
    // A name for which 80 columns have no room.
    let long = text(&named("long"), Look::plain().on_columns(160));
    let hop = "\n  ip-10-0-123-134.eu-central-1.compute.internal  ";
    assert!(long.contains(hop), "{long}");
    assert!(!text(&named("long"), Look::plain()).contains(hop));
}

/// A capture has no boot id, so nothing shows that two nodes' captures have one clock.
#[test]
fn nodes_without_a_boot_id_have_a_clock_each() {
    let mut case = named("ping");
    for node in 0..2 {
        case.scene.nodes[node].boot_id.clear();
    }
    let shown = text(&case, Look::plain());
    let is_marked_hop = |line: &str| line.contains(" ttl ") && line.contains(" ~");
    assert!(shown.lines().any(is_marked_hop), "{shown}");
    assert!(shown.contains("Times marked ~ lie between two nodes"));
    assert!(shown.contains("(~ two clocks)"), "{shown}");

    let lines = json(&case);
    let summary: Value = serde_json::from_str(lines.last().expect("a summary")).expect("JSON");
    let legs = summary["latency"].as_array().expect("a list");
    let between = |leg: &Value| leg["from"]["node"] != leg["to"]["node"];
    assert!(legs.iter().any(between) && !legs.iter().all(between));
    for leg in legs {
        assert_eq!(leg["one_clock"], !between(leg), "{leg}");
    }
}

#[test]
fn times_are_those_of_the_zone_that_is_named() {
    let zone = TimeZone::posix("JST-9").expect("a rule");
    let there = text(&named("ping"), Look::plain().in_zone(zone));
    assert!(there.contains("times in JST (UTC+09:00);"), "{there}");
    assert!(
        there.contains("\n21:34:5") && !there.contains("\n12:34:5"),
        "{there}"
    );
}

/// Text and JSON about a pod that has restarted.
pub(super) fn changed() -> [String; 2] {
    let mut scene = named("ping").scene;
    let changed = restarted(&mut scene);
    let (mut text, mut json) = (Vec::new(), Vec::new());
    let told = Text::new(&mut text, Look::plain()).changed(&scene, &changed);
    told.expect("memory");
    let told = Json::new(&mut json).changed(&scene, &changed);
    told.expect("memory");
    [text, json].map(|out| String::from_utf8(out).expect("text"))
}

#[test]
fn what_changed_is_a_line_for_each_interface() {
    let [text, _] = changed();
    assert_eq!(
        text,
        "12:34:58.789 node-b: veth90c1d2e4 (pod shop/cart) is gone\n\
         12:34:58.789 node-b: now also observing veth5b7a90ce (pod shop/cart)\n\
         12:34:58.789 node-b: 1 other tc program(s) at veth5b7a90ce ingress may redirect\n  \
         or drop packets\n\n"
    );
}

/// The place has another number, because other programs run there now.
#[test]
fn a_place_that_is_observed_anew_is_not_gone() {
    let mut scene = named("ping").scene;
    let changed = restarted(&mut scene);
    let (was, points) = (changed.gone[0], &mut scene.nodes[1].points);
    let (ifindex, interface) = (points[was].ifindex, points[was].interface.clone());
    for point in &mut points[changed.points.clone()] {
        point.ifindex = ifindex;
        point.interface.clone_from(&interface);
    }
    let mut text = Vec::new();
    let told = Text::new(&mut text, Look::plain()).changed(&scene, &changed);
    told.expect("memory");
    let text = String::from_utf8(text).expect("text");
    let line = "12:34:58.789 node-b: observing anew veth90c1d2e4 (pod shop/cart)\n";
    assert!(text.starts_with(line), "{text}");
    assert!(!text.contains("is gone"), "{text}");
}

/// The interfaces of a node that an agent leaves are still there.
#[test]
fn of_an_agent_that_leaves_its_node_is_told_and_no_interface() {
    let mut scene = named("ping").scene;
    let changed = Changed {
        points: 0..0,
        leaves: true,
        notes: Vec::new(),
        ..restarted(&mut scene)
    };
    let mut text = Vec::new();
    let told = Text::new(&mut text, Look::plain()).changed(&scene, &changed);
    told.expect("memory");
    assert_eq!(
        String::from_utf8(text).expect("text"),
        "12:34:58.789 node-b: no longer watched: no known end of the follow is there\n\n"
    );
}

/// A Service's address is named, and is not a pod's address.
#[test]
fn a_service_is_named_beside_its_address() {
    let mut case = named("ping");
    case.journeys.truncate(1);
    let address = case.journeys[0].0.packet.dst;
    let service = Owner {
        name: "shop/api".to_owned(),
        kind: OwnerKind::Service,
        node: String::new(),
    };
    case.scene.owners.insert(address, service);
    let text = text(&case, Look::plain());
    assert!(text.contains("10.244.2.7 (Service shop/api)"), "{text}");
    let line = json(&case).swap_remove(1);
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&line["dst_pod"], &line["src_service"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(line["dst_service"], "shop/api");
}
