//! Checks the verdicts of `tracer follow` on packets that meet a fault, and on packets that do not.
//! Also checks that the kernel did what the table says.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer_tests::faults::{FOREIGN, Fault, OF_POD, Traffic, group};
use tracer_tests::program::{LIMIT, Tracer, is};
use tracer_tests::{Lab, Pod, Wiring};

use crate::cases::{Case, Running, Unseen, check_each, each, is_at};
use crate::kernel;
use crate::watch::{Watch, name};

/// Evidence that some faults must have, because whoever repairs them needs it.
const EVIDENCE: [(&str, &str); 13] = [
    ("conntrack-full", "the conntrack table is full"),
    ("outer-checksum", "that of the tunnel's own header"),
    (
        "wrong-neighbour-on-overlay",
        "may have a stale neighbour or fdb entry",
    ),
    ("not-forwarding-far-inlet", ".forwarding is 0"),
    (
        "iptables-policy-forward-far-drop",
        "filter/FORWARD (0 rules, policy drop)",
    ),
    (
        "iptables-filter-forward-far-prohibited",
        "filter/FORWARD (2 rules, policy accept)",
    ),
    ("mac-spoof-check", "bridge nat/PREROUTING"),
    ("nft-forward-far-marked", "mark 0x4000, ct state new"),
    (
        "invalid-state",
        "no tracked connection, and a route out of ",
    ),
    ("tcp-listens-on-loopback", "is open at"),
    ("service-hairpin-off", "hairpin"),
    ("service-snat-clash", "ct state new (SRC_NAT, DST_NAT)"),
    ("service-stale-entry", "an address that no known pod has"),
];

/// Follows the packets between two pods.
pub(crate) fn follow(lab: &Lab, pods: [&Pod; 2], more: &[&str]) -> Result<Tracer> {
    let [from, to] = pods.map(name);
    follow_ends(
        lab,
        &["--src-pod", &from, "--dst-pod", &to].map(str::to_owned),
        more,
    )
}

/// Follows packets with these ends.
fn follow_ends(lab: &Lab, ends: &[String], more: &[&str]) -> Result<Tracer> {
    let ends = ends.iter().map(String::as_str);
    let mut tracer = Tracer::follow(lab, ends.chain(more.iter().copied()))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// The first `count` journeys that `wanted` accepts, as soon as they are shown.
pub(crate) fn take(
    tracer: &mut Tracer,
    count: usize,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>> {
    let mut found = Vec::new();
    tracer.wait_for(
        |value| {
            if is(value, "tracer.journey/2") && wanted(&value["packet"]) {
                found.push(value.clone());
            }
            found.len() == count
        },
        LIMIT,
    )?;
    Ok(found)
}

fn check(case: &Case<'_>) -> Result<()> {
    let stage = case.stage;
    let hold = format!("{}ms", case.fault.hold.as_millis());
    // A burst of a thousand exceeds the usual budget, which would sample it.
    let hold = ["--explain", "--budget", "1000000", "--hold", &*hold];
    let mut beside = follow_ends(&stage.lab, &case.ends_beside()?, &hold)?;
    let fixture = case.fixture();
    let recording = fixture.iter().flat_map(|file| ["-w", file]);
    let more: Vec<&str> = hold.into_iter().chain(recording).collect();
    let mut tracer = follow_ends(&stage.lab, &case.ends()?, &more)?;
    let watch = Watch::start(&stage.lab, &[])?;
    let traffic = case.run()?;
    traffic.clean_arrives()?;
    kernel::check(case, &traffic, watch)?;

    let clean = |packet: &Value| packet["dst_port"] == traffic.clean.port();
    for journey in take(&mut beside, traffic.clean_sent, clean)? {
        ensure!(
            journey["verdict"]["kind"] == "delivered",
            "clean: {journey:#}"
        );
    }
    let mut journeys = take(&mut tracer, traffic.sent, |packet| {
        traffic.is_faulty(packet)
    })?;
    // The later journeys: retransmissions, or packets that were shown twice.
    let rest = tracer.stop()?.journeys;
    let told_already = journeys.len();
    journeys = rest
        .into_iter()
        .filter(|journey| traffic.is_faulty(&journey["packet"]))
        // The end of the follow cut these off.
        .filter(|journey| journey["verdict"]["cause"] != "still-open")
        .collect();
    ensure!(journeys.len() >= told_already, "journeys went missing");
    if matches!(case.fault.traffic, Traffic::Datagrams { .. }) {
        let (told, sent) = (journeys.len(), traffic.sent);
        ensure!(told == sent, "{told} journeys of {sent} datagrams");
    }

    for journey in &journeys {
        let judged = judge(case, journey);
        if case.expected.drop.is_some() && journey["verdict"]["drop"].is_null() {
            judged.context(Unseen)?;
        } else {
            judged?;
        }
    }
    let first = &case.expected.verdicts[0];
    let kinds: Vec<&Value> = journeys.iter().map(|one| &one["verdict"]["kind"]).collect();
    ensure!(
        case.expected.may_be_unknown || kinds.iter().any(|kind| *kind == first),
        "none is {first}: {kinds:?}"
    );
    let cause = &case.expected.causes[0];
    let mut causes = journeys.iter().map(|one| &one["verdict"]["cause"]);
    ensure!(
        case.expected.may_be_unknown
            || case.expected.of_another_kernel
            || causes.any(|one| means(cause, one)),
        "no cause is {cause}: {journeys:#?}"
    );
    if case
        .expected
        .verdicts
        .iter()
        .any(|kind| kind == "delivered")
    {
        let delivered = kinds.iter().filter(|kind| **kind == "delivered").count();
        arrive(&traffic, delivered)?;
    }
    Ok(())
}

/// Whether a word of the table stands for this value.
fn means(word: &str, field: &Value) -> bool {
    match word {
        "*" => true,
        "-" => field.is_null(),
        _ => field == word,
    }
}

/// Checks one journey against the table.
pub(crate) fn judge(case: &Case<'_>, journey: &Value) -> Result<()> {
    let (verdict, expected) = (&journey["verdict"], case.expected);
    let kind = verdict["kind"].as_str().unwrap_or_default();
    let one_of = |words: &[String], field: &Value| words.iter().any(|word| means(word, field));
    let nothing_said = kind == "unknown" && expected.may_be_unknown;
    let is_one = one_of(&expected.verdicts, &verdict["kind"]);
    ensure!(nothing_said || is_one, "{journey:#}");
    if ["delivered", "unknown"].contains(&kind) {
        return Ok(());
    }
    ensure!(
        one_of(&expected.causes, &verdict["cause"]),
        "cause: {journey:#}"
    );
    match &expected.drop {
        // No agent of this follow watches the packet's destination.
        _ if kind == "left" || expected.causes == ["stale-dnat"] => {
            ensure!(verdict["drop"].is_null(), "a drop: {journey:#}");
        }
        Some(place) => {
            let drop = &verdict["drop"];
            let nothing_said = drop.is_null() && expected.may_be_unknown;
            ensure!(
                nothing_said || is_at(case.stage, drop, place),
                "{journey:#}"
            );
        }
        None => ensure!(verdict["drop"].is_null(), "a drop: {journey:#}"),
    }
    let evidence = verdict["evidence"].to_string();
    if kind == "unanswered" {
        ensure!(evidence.contains("ListenOverflows"), "{journey:#}");
    }
    let mut told = EVIDENCE
        .iter()
        .filter(|(name, _)| case.fault.name.trim_end_matches(OF_POD) == *name);
    // The drop's reason decides what an agent reads.
    ensure!(
        expected.of_another_kernel || told.all(|(_, words)| evidence.contains(words)),
        "evidence: {journey:#}"
    );
    if ["tc", "xdp"].iter().any(|cause| verdict["cause"] == *cause) {
        let named = format!("{FOREIGN} (program ");
        ensure!(evidence.contains(&named), "{journey:#}");
    }
    Ok(())
}

/// Waits until all datagrams that were called delivered have arrived: a queue may have delayed
/// some.
fn arrive(traffic: &Running, delivered: usize) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut arrived = traffic.faulty.arrived()?;
    while arrived < delivered && Instant::now() < deadline {
        arrived += traffic.faulty.arrived()?;
        std::thread::yield_now();
    }
    ensure!(
        arrived == delivered,
        "{delivered} are called delivered, {arrived} arrived"
    );
    Ok(())
}

macro_rules! groups {
    ($($group:ident)*) => {$(
        #[test]
        fn $group() -> Result<()> {
            each(stringify!($group), check)
        }
    )*};
}

/// Checks some faults of a group over IP-in-IP, on a kernel that supports it.
fn check_over_ip_in_ip(named: &str, names: &[&str]) -> Result<()> {
    if Wiring::Calico.is_for_another_kernel()? {
        return Ok(());
    }
    let faults = group(named);
    let named_so = |fault: &&Fault| names.contains(&&*fault.name);
    let over_ip_in_ip = |fault| (fault, false, Wiring::Calico);
    let made: Vec<_> = faults.iter().filter(named_so).map(over_ip_in_ip).collect();
    assert_eq!(made.len(), names.len());
    check_each(named, &made, check)
}

macro_rules! over_ip_in_ip {
    ($($group:ident: $names:expr;)*) => {
        mod over_ip_in_ip {
            use anyhow::Result;
            $(
                #[test]
                fn $group() -> Result<()> {
                    super::check_over_ip_in_ip(stringify!($group), &$names)
                }
            )*
        }
    };
}

over_ip_in_ip! {
    routes: ["blackhole-route", "ttl-far"];
    neighbours: ["wrong-neighbour-on-uplink"];
    filters: ["nft-outer-ingress-far-drop", "nft-forward-far-drop"];
    devices: ["uplink-down-near", "pod-gone"];
    sockets: ["udp-no-listener"];
    middle: ["middle-loses-one-direction"];
}

groups!(routes neighbours filters sockets devices middle foreign services);
