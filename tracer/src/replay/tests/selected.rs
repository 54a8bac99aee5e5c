//! Compares what `--where` shows of recordings with what a filter on the JSON lines selects.

use std::{net::IpAddr, slice};

use ipnet::IpNet;
use jiff::tz::TimeZone;
use serde_json::Value;
use tracer_core::journal::{Reader, Selection};

use super::fixtures;
use crate::{playback::replay, store::Recordings, view::Json};

/// Recordings that together have every kind of journey that the queries need.
const FILES: [&str; 5] = [
    "clean",
    "invalid-state-4",
    "middle-loses-some-4",
    "nft-forward-near-reject-4",
    "wiring-docker-masqueraded",
];

/// The lines that a replay writes.
fn lines(name: &str, query: Option<&str>) -> Vec<Value> {
    first_lines(name, query, None)
}

/// As [`lines`], up to a number of journeys.
fn first_lines(name: &str, query: Option<&str>, most: Option<u64>) -> Vec<Value> {
    let path = fixtures().join(name).with_extension("arrows");
    let mut recordings = Recordings::open(slice::from_ref(&path)).expect("a trace");
    let selection = query.map(|query| Selection {
        query: query.parse().expect(query),
        zone: TimeZone::UTC,
        most,
    });
    let mut out = Vec::new();
    let mut view = Json::new(&mut out);
    replay(&mut recordings, &mut Reader::new(&mut view, selection)).expect("memory");
    let lines = String::from_utf8(out).expect("text");
    let lines = lines.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn is_journey(line: &Value) -> bool {
    line["schema"] == "tracer.journey/2"
}

/// The lines of all recordings without a query.
struct All(Vec<(&'static str, Vec<Value>)>);

impl All {
    fn read() -> Self {
        Self(FILES.map(|name| (name, lines(name, None))).into())
    }

    /// The first journey for which `is` holds.
    fn first(&self, is: impl Fn(&Value) -> bool) -> &Value {
        let mut journeys = self
            .0
            .iter()
            .flat_map(|(_, lines)| lines)
            .filter(|line| is_journey(line));
        journeys.find(|line| is(line)).expect("there is one")
    }

    /// Checks that a query shows exactly the journeys that `picks` picks, and changes nothing else
    /// but the summary's part on the query.
    fn assert(&self, query: &str, picks: impl Fn(&Value) -> bool) {
        let (mut of, mut matching) = (0, 0);
        for (name, all) in &self.0 {
            let mut expected: Vec<Value> = all
                .iter()
                .filter(|line| !is_journey(line) || picks(line))
                .cloned()
                .collect();
            let left = expected.iter().filter(|line| is_journey(line)).count();
            let journeys = all.iter().filter(|line| is_journey(line)).count();
            let summary = expected.last_mut().expect("a summary");
            assert_eq!(summary["where"].take(), Value::Null);
            let mut shown = lines(name, Some(query));
            let summed = shown.last_mut().expect("a summary");
            let said = summed["where"].take();
            assert_eq!(shown, expected, "{query} of {name}");
            assert_eq!(
                (&said["matching"], &said["of"]),
                (&left.into(), &journeys.into())
            );
            of += journeys;
            matching += left;
        }
        assert!((1..of).contains(&matching), "{query}: {matching} of {of}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().expect("a list").iter()
}

/// The values of the packet's two ends.
fn ends<'a>(line: &'a Value, keys: [&str; 2]) -> [&'a Value; 2] {
    keys.map(|key| &line["packet"][key])
}

#[test]
fn verdicts_and_ways() {
    let all = All::read();
    let kind = |line: &Value, kind: &str| line["verdict"]["kind"] == kind;
    all.assert("verdict:lost,REFUSED", |line| {
        kind(line, "lost") || kind(line, "refused")
    });
    all.assert("-verdict:delivered", |line| !kind(line, "delivered"));
    all.assert("verdict:lost or verdict:refused", |line| {
        kind(line, "lost") || kind(line, "refused")
    });
    all.assert("-(verdict:delivered or verdict:lost)", |line| {
        !kind(line, "delivered") && !kind(line, "lost")
    });
    all.assert("cause:NETFILTER", |line| {
        line["verdict"]["cause"] == "netfilter"
    });
    all.assert("confidence:confirmed", |line| {
        line["verdict"]["confidence"] == "confirmed"
    });
    all.assert("direction:reply", |line| line["direction"] == "reply");
    all.assert("drop:netfilter", |line| {
        list(&line["drops"]).any(|drop| text(&drop["reason"]).contains("NETFILTER"))
    });
    all.assert("drop:=nft_do_chain", |line| {
        list(&line["drops"]).any(|drop| drop["function"] == "nft_do_chain")
    });
    all.assert("retransmission", |line| !line["retransmits"].is_null());
}

#[test]
fn names_and_addresses() {
    let all = All::read();
    let web = all.first(|line| line["src_pod"].is_string());
    let pods = |line: &Value, is: &dyn Fn(&str) -> bool| {
        let pods = [&line["src_pod"], &line["dst_pod"]];
        pods.into_iter().filter_map(Value::as_str).any(is)
    };
    let (whole, source) = (text(&web["src_pod"]), text(&web["packet"]["src"]));
    all.assert("pod:PAYMENTS/", |line| {
        pods(line, &|pod| pod.contains("payments/"))
    });
    all.assert(&format!("pod:={whole}"), |line| {
        pods(line, &|pod| pod == whole)
    });
    all.assert(&format!("src:{whole}"), |line| line["src_pod"] == whole);
    all.assert(&format!("dst:={whole}"), |line| line["dst_pod"] == whole);
    all.assert(&format!("owner:{whole}"), |line| {
        pods(line, &|pod| pod == whole)
    });
    all.assert("node:=node-b", |line| {
        let seen = list(&line["hops"]).chain(list(&line["drops"]));
        let mut nodes = seen.map(|at| &at["node"]);
        nodes.any(|node| node == "node-b")
    });
    let net: IpNet = format!("{source}/24").parse().expect("a network");
    let within = |address: &Value| {
        let address: IpAddr = text(address).parse().expect("an address");
        net.contains(&address)
    };
    let both = ["src", "dst"];
    all.assert(&format!("ip:{source}"), |line| {
        ends(line, both).contains(&&source.into())
    });
    all.assert(&format!("ip:{net}"), |line| {
        ends(line, both).into_iter().any(within)
    });
    all.assert(&format!("src:{net}"), |line| within(&line["packet"]["src"]));
    all.assert(&format!("dst:{net}"), |line| within(&line["packet"]["dst"]));
}

#[test]
fn headers() {
    let all = All::read();
    let port = |line: &Value, key: &str| number(&line["packet"][key]);
    let tcp = all.first(|line| line["packet"]["proto"] == "tcp");
    let sport = port(tcp, "src_port").expect("a port");
    all.assert(&format!("port:{sport}"), |line| {
        [port(line, "src_port"), port(line, "dst_port")].contains(&Some(sport))
    });
    all.assert(&format!("sport:{sport}"), |line| {
        port(line, "src_port") == Some(sport)
    });
    all.assert(&format!("dport:..{}", sport - 1), |line| {
        port(line, "dst_port").is_some_and(|port| port < sport)
    });
    let proto = |line: &Value| text(&line["packet"]["proto"]).to_owned();
    all.assert("proto:icmp", |line| proto(line).starts_with("icmp"));
    all.assert("proto:icmpv6,6", |line| {
        ["icmpv6", "tcp"].contains(&&*proto(line))
    });
    let flags = |line: &Value, is: &dyn Fn(&[&str]) -> bool| {
        let flags = line["packet"]["tcp"]["flags"].as_str();
        flags.is_some_and(|flags| is(&flags.split('|').collect::<Vec<_>>()))
    };
    all.assert("flags:syn", |line| flags(line, &|flags| flags == ["SYN"]));
    all.assert("flags:synack", |line| {
        flags(line, &|flags| flags == ["SYN", "ACK"])
    });
    all.assert("flags:fin,psh", |line| {
        flags(line, &|flags| {
            flags.contains(&"FIN") || flags.contains(&"PSH")
        })
    });
    all.assert("len:>84", |line| number(&line["packet"]["len"]) > Some(84));
    all.assert("id:2,5..7", |line| {
        number(&line["id"]).is_some_and(|id| id == 2 || (5..=7).contains(&id))
    });
    let conversation = text(&tcp["conversation"]);
    all.assert(&format!("conversation:{conversation}"), |line| {
        line["conversation"] == conversation
    });
}

#[test]
fn places_and_times() {
    let all = All::read();
    let at = |hop: &Value, interface: &str| hop["interface"] == interface;
    all.assert("at:flannel.1", |line| {
        list(&line["hops"])
            .chain(list(&line["drops"]))
            .any(|hop| at(hop, "flannel.1"))
    });
    all.assert("at:node-b/*", |line| {
        list(&line["hops"])
            .chain(list(&line["drops"]))
            .any(|hop| hop["node"] == "node-b")
    });
    let legs = |line: &Value, least: u64| {
        let hops: Vec<&Value> = list(&line["hops"]).collect();
        hops.windows(2).any(|leg| {
            let touches = leg
                .iter()
                .any(|hop| at(hop, "cni0") && hop["node"] == "node-a");
            touches && number(&leg[1]["since_previous_ns"]) >= Some(least)
        })
    };
    all.assert("leg:node-a/cni0", |line| legs(line, 0));
    all.assert("leg:node-a/cni*>2us", |line| legs(line, 2_001));
    let took = |line: &Value| {
        let last = list(&line["hops"]).skip(1).last();
        last.and_then(|hop| number(&hop["offset_ns"]))
    };
    all.assert(">50us", |line| took(line) > Some(50_000));
    all.assert("<20us", |line| took(line).is_some_and(|time| time < 20_000));
    let (_, clean) = &all.0[0];
    let times: Vec<&str> = clean
        .iter()
        .filter(|line| is_journey(line))
        .map(|line| text(&line["time"]))
        .collect();
    let (from, to) = (times[times.len() / 3], times[times.len() / 2]);
    all.assert(&format!("time:{from}..{to}"), |line| {
        // Times sort as text.
        (from..=to).contains(&text(&line["time"]))
    });
    let clock = |time: &str| time[11..].trim_end_matches('Z').to_owned();
    let (first, last) = (clock(from), clock(to));
    all.assert(&format!("time:{first}..{last}"), |line| {
        (first.clone()..=last.clone()).contains(&clock(text(&line["time"])))
    });
}

#[test]
fn after_the_last_that_is_wanted_nothing_is_judged() {
    let is_syn = |line: &Value| line["packet"]["tcp"]["flags"] == "SYN";
    let all = lines("clean", None);
    let journeys: Vec<&Value> = all.iter().filter(|line| is_journey(line)).collect();
    let syns = journeys.iter().enumerate().filter(|(_, line)| is_syn(line));
    let [(_, first), (until, second), _, ..] = *syns.collect::<Vec<_>>() else {
        panic!("too few connections");
    };
    let shown = first_lines("clean", Some("flags:syn"), Some(2));
    let shown_journeys: Vec<&Value> = shown.iter().filter(|line| is_journey(line)).collect();
    assert_eq!(shown_journeys, [*first, *second]);
    let summary = shown.last().expect("a summary");
    let sum: u64 = summary["journeys"]
        .as_object()
        .expect("by verdict")
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(sum, until as u64 + 1);
    assert_eq!(summary["where"]["matching"], 2);
}
