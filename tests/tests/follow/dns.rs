//! `--dns`: a pod's queries to any server, with answers joined to their questions. The test's
//! server counts its queries and answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tracer_tests::{
    Lab, LabSpec, Pod, Proxy, Service, ServicePort,
    program::{Finished, LIMIT, Tracer},
    traffic::{LookedUp, Says, look_up, tcp_to_service},
};

use crate::{
    expected::{check_balance, is_neighbour, pod},
    recordings,
};

/// The queries: a few names, one of them with a search path. The server fails on one query, and
/// does not answer another.
const QUESTIONS: [Says; 11] = [
    Says::NoError,
    Says::NxDomain,
    Says::NxDomain,
    Says::NxDomain,
    Says::NxDomain,
    Says::NoError,
    Says::ServFail,
    Says::Nothing,
    Says::NxDomain,
    Says::NoError,
    Says::NoError,
];

/// A lab with a DNS Service, whose endpoints are these pods at a target port.
fn lab(endpoints: &[usize], target: u16) -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let ports = vec![ServicePort::udp(53, target), ServicePort::tcp(53, target)];
    let service = lab.add_service(Proxy::Iptables, ports, endpoints)?;
    Ok((lab, service))
}

fn follow(lab: &Lab, client: &Pod, name: &str) -> Result<Tracer> {
    let (source, recording) = (pod(client), recordings::fault(name));
    let ends = ["--src-pod", &source, "--dns", "--hold", "1s"];
    let mut tracer = Tracer::follow(lab, ends.into_iter().chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// Waits until unanswered queries have a verdict, and ends the follow.
fn stop(mut tracer: Tracer, packets: usize) -> Result<Finished> {
    let mut left = packets;
    tracer.wait_for(
        |line| {
            let is_silent = line["verdict"]["kind"] == "unanswered";
            left -= usize::from(is_silent);
            left == 0
        },
        LIMIT,
    )?;
    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    check_balance(&finished.summary);
    Ok(finished)
}

/// Checks that each query and each answer is a separate journey, and that answers belong to their
/// queries. The sums must be those of the client and the server.
fn check(finished: &Finished, looked_up: &LookedUp) -> Result<()> {
    assert_eq!(looked_up.heard.get(&Says::Nothing), Some(&1));
    assert_eq!(looked_up.got.get(&Says::Nothing), Some(&2));
    let of_dns = |journey: &&Value| !journey["packet"]["dns"].is_null();
    let journeys = finished.journeys.iter().filter(of_dns);
    let by_id: BTreeMap<u64, &Value> = journeys
        .map(|journey| Ok((journey["id"].as_u64().context("an id")?, journey)))
        .collect::<Result<_>>()?;
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for journey in by_id.values() {
        let dns = &journey["packet"]["dns"];
        let Some(code) = dns["rcode"].as_str() else {
            let is_silent = journey["answered_by"].is_null();
            let kind = if is_silent { "unanswered" } else { "delivered" };
            assert_eq!(journey["verdict"]["kind"], kind, "{journey:#}");
            continue;
        };
        *codes.entry(code).or_default() += 1;
        // NXDOMAIN and SERVFAIL are answers like any other.
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let question = journey["answers"].as_u64().context("it answers")?;
        let question = by_id.get(&question).context("a question that was seen")?;
        assert_eq!(question["packet"]["dns"]["id"], dns["id"]);
        assert_eq!(
            question["packet"]["src_port"],
            journey["packet"]["dst_port"]
        );
        assert_eq!(question["answered_by"], journey["id"]);
        let took = journey["took_ns"].as_u64().context("a time")?;
        assert!(
            took > 0 && u128::from(took) < looked_up.slowest.as_nanos(),
            "{journey:#}"
        );
    }
    let count = |says| looked_up.got.get(&says).copied().unwrap_or_default();
    let expected = [
        ("NOERROR", count(Says::NoError)),
        ("NXDOMAIN", count(Says::NxDomain)),
        ("SERVFAIL", count(Says::ServFail)),
    ];
    assert_eq!(codes, BTreeMap::from(expected));
    let dns = &finished.summary["dns"];
    assert_eq!(dns["questions"], looked_up.ids.len(), "{dns:#}");
    assert_eq!(dns["retries"], 1, "{dns:#}");
    assert_eq!(dns["answers"], json!(codes), "{dns:#}");
    assert_eq!(dns["unanswered"], json!({"unanswered": 1}), "{dns:#}");
    assert_eq!(dns["missing"], json!({}), "{dns:#}");
    assert_eq!(dns["nxdomain_runs"], 1, "{dns:#}");
    assert_eq!(dns["longest_run"]["answers"], 4, "{dns:#}");
    assert_eq!(dns["took"]["count"], codes.values().sum::<u64>(), "{dns:#}");
    Ok(())
}

/// A pod asks by the Service's address, as usual. Another pod's queries are not shown.
#[test]
fn a_pod_asks_a_service() -> Result<()> {
    // The target port may differ from the Service's port.
    let (lab, service) = lab(&[2], 5353)?;
    let [client, beside, server] = [&lab.pods[0], &lab.pods[1], &lab.pods[2]];
    let tracer = follow(&lab, client, "dns-service")?;
    let at = SocketAddr::new(server.address(false), 5353);
    let servers = [(&server.netns, at)];
    look_up(
        &beside.netns,
        service.at(false, 0),
        &servers,
        &[Says::NoError; 3],
    )?;
    let looked_up = look_up(&client.netns, service.at(false, 0), &servers, &QUESTIONS)?;
    let tcp = tcp_to_service(&client.netns, service.at(false, 1), (&[server], 5353), 1)?;
    assert!(tcp.is_complete(), "{tcp:?}");
    let finished = stop(tracer, 2)?;
    check(&finished, &looked_up)?;
    assert_eq!(finished.summary["dns"]["tcp_connections"], 1);
    let of_pod = |journey: &&Value| !is_neighbour(journey);
    for journey in finished.journeys.iter().filter(of_pod) {
        let is_request = journey["direction"] == "request";
        let side = if is_request { "src_pod" } else { "dst_pod" };
        assert_eq!(journey[side], pod(client), "{journey:#}");
        if is_request {
            let asked = service.full_name();
            assert_eq!(journey["dst_service"], asked, "{journey:#}");
        }
    }
    Ok(())
}

/// A pod asks the server's own address, with both IP versions, on another node and on the same.
#[test]
fn a_pod_asks_a_pod() -> Result<()> {
    let (lab, _) = lab(&[1, 3], 53)?;
    let client = &lab.pods[0];
    for (server, v6) in [(&lab.pods[1], false), (&lab.pods[3], true)] {
        let name = if v6 { "dns-pod-v6" } else { "dns-pod" };
        let tracer = follow(&lab, client, name)?;
        let at = SocketAddr::new(server.address(v6), 53);
        let looked_up = look_up(&client.netns, at, &[(&server.netns, at)], &QUESTIONS)?;
        let finished = stop(tracer, 2)?;
        check(&finished, &looked_up)?;
    }
    Ok(())
}
