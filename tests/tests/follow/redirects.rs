//! Foreign programs that redirect packets around routes and bridges, as dataplanes in BPF do. A
//! packet that was not seen on its way is not lost: it may have been redirected past the points.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Wiring,
    bpf::{Attached, Fate, Hook, NAME, Program, index_of},
    program::{Finished, LIMIT, Tracer, evidence, run},
    traffic::{Flow, Tally},
};

use crate::{
    expected::{between_pods, check_balance, is_neighbour, pod, point, seen},
    recordings::keep_clean,
};

/// Redirects packets for `to` that come in from a device of its node.
fn redirect(lab: &Lab, from: &str, to: &Pod, fate: fn(u32) -> Fate) -> Result<Attached> {
    let node = &lab.node_of(to).netns;
    let program = Program {
        hook: Hook::TcxIngress,
        to: to.v4.into(),
        shift: 0,
        fate: fate(index_of(node, &to.veth)?),
        first: false,
    };
    program.attach(node, from)
}

/// The follow of all kinds of traffic between two pods, all of which arrives.
fn follow(lab: &Lab, [a, b]: [&Pod; 2], more: &[&str]) -> Result<Finished> {
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--hold", "1s"];
    let mut tracer = Tracer::follow(lab, ends.iter().chain(more))?;
    let started = tracer.wait_started(LIMIT)?;
    let warnings = started["warnings"].to_string();
    assert!(warnings.contains(NAME), "{warnings}");
    let flow = Flow::new(a, b);
    let tallies = [
        flow.ping(20, Duration::from_millis(2))?,
        flow.udp_exchange(100, 64)?,
        flow.udp_exchange(3, 20_000)?,
        flow.tcp_connects(5)?,
        flow.tcp_bulk(1_000_000)?,
    ];
    assert!(tallies.iter().all(Tally::is_complete), "{tallies:?}");
    // Unknown journeys are shown after the hold time.
    let reply = |value: &Value| {
        value["direction"] == "reply" && value["packet"]["tcp"]["flags"].to_string().contains("FIN")
    };
    tracer.wait_for(reply, LIMIT)?;
    let mut finished = tracer.stop()?;
    check_balance(&finished.summary);
    finished.journeys.retain(|journey| !is_neighbour(journey));
    assert!(finished.journeys.len() > 250, "{}", finished.stderr);
    Ok(finished)
}

fn check_all_delivered(finished: &Finished, confidence: Option<&str>) {
    for journey in &finished.journeys {
        let verdict = &journey["verdict"];
        assert_eq!(verdict["kind"], "delivered", "{journey:#}");
        if let Some(confidence) = confidence {
            assert_eq!(verdict["confidence"], confidence, "{journey:#}");
        }
    }
}

/// Checks journeys whose last points see no packet. Those that were answered or acknowledged have
/// arrived. The others are unknown, and the verdict names the program.
fn check_bypassed(finished: &Finished, veths: [&str; 2]) -> Result<()> {
    let mut arrived = 0;
    for journey in &finished.journeys {
        let (packet, verdict) = (&journey["packet"], &journey["verdict"]);
        let is_request = journey["direction"] == "request";
        let answered = is_request && (packet["proto"] == "icmp" || packet["tcp"]["flags"] == "SYN");
        if verdict["kind"] == "delivered" {
            arrived += 1;
            assert_eq!(verdict["confidence"], "confirmed", "{journey:#}");
            let is_veth = |point: &Value| {
                let interface = point["interface"].as_str();
                interface.is_some_and(|name| name.starts_with("veth"))
            };
            assert!(evidence(journey, "bypassed").any(is_veth), "{journey:#}");
            continue;
        }
        // Nothing shows the fate of the others.
        assert!(!answered, "{journey:#}");
        assert_eq!(verdict["kind"], "unknown", "{journey:#}");
        if verdict["cause"] == "still-open" {
            continue;
        }
        assert_eq!(verdict["cause"], "foreign-program", "{journey:#}");
        let names = |foreign: &Value| foreign["text"].to_string().contains(NAME);
        assert!(evidence(journey, "foreign").any(names), "{journey:#}");
        let unobserved = evidence(journey, "pod-unobserved").count();
        assert_eq!(unobserved, 1, "{journey:#}");
        let out = |hop: &Value| {
            let interface = hop["interface"].as_str().unwrap_or_default();
            hop["direction"] == "egress" && veths.contains(&interface)
        };
        let hops = journey["hops"].as_array().context("hops")?;
        assert!(!hops.iter().any(out), "{journey:#}");
    }
    // These are all echo requests, handshakes, and data.
    assert!(arrived > 30, "{arrived} arrived");
    Ok(())
}

/// `bpf_redirect_peer` takes packets from the tunnel directly into the pod.
#[test]
fn from_the_tunnel_into_the_pod() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let ends = [&lab.pods[0], &lab.pods[1]];
    let mut programs = Vec::new();
    for pod in ends {
        let overlay = &lab.node_of(pod).overlay;
        programs.push(redirect(&lab, overlay, pod, Fate::Peer)?);
    }
    let names = ends.map(pod);
    let mut look = vec!["follow", "--dry-run", "--src-pod", &names[0]];
    look.extend(["--dst-pod", &names[1]]);
    let agents = lab.agent_args()?;
    let looked = run(look.into_iter().chain(agents.iter().map(String::as_str)))?;
    for pod in ends {
        let says = format!(
            "! tc at {} ingress: {NAME} (program",
            lab.node_of(pod).overlay
        );
        assert!(looked.stdout.contains(&says), "{}", looked.stdout);
    }

    let finished = follow(&lab, ends, &[])?;
    check_bypassed(&finished, ends.map(|pod| pod.veth.as_str()))?;
    keep_clean(&lab, ends, "redirect-peer")?;

    let finished = follow(&lab, ends, &["--pod-interfaces"])?;
    check_all_delivered(&finished, Some("confirmed"));
    for journey in &finished.journeys {
        let from_a = journey["direction"] == "request";
        let [from, to] = if from_a { ends } else { [ends[1], ends[0]] };
        let mut way = between_pods(&lab, from, to);
        way.truncate(6);
        way.insert(0, point(lab.node_of(from), &from.interface, "egress"));
        way.push(point(lab.node_of(to), &to.interface, "ingress"));
        assert_eq!(seen(journey), way, "{journey:#}");
        let is_there = |point: &Value| {
            point["node"] == *lab.node_of(to).name && point["interface"] == *to.veth
        };
        assert!(evidence(journey, "bypassed").any(is_there), "{journey:#}");
    }
    Ok(())
}

/// Two pods of one node, and programs that redirect the packets between them.
fn on_one_node(fate: fn(u32) -> Fate) -> Result<(Lab, [Attached; 2])> {
    let lab = Lab::new(&LabSpec {
        nodes: 1,
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let programs = [
        redirect(&lab, &a.veth, b, fate)?,
        redirect(&lab, &b.veth, a, fate)?,
    ];
    Ok((lab, programs))
}

/// `bpf_redirect_peer` takes packets from pod to pod of one node.
#[test]
fn from_one_pod_into_another() -> Result<()> {
    let (lab, _programs) = on_one_node(Fate::Peer)?;
    let ends = [&lab.pods[0], &lab.pods[1]];
    let finished = follow(&lab, ends, &[])?;
    check_bypassed(&finished, ends.map(|pod| pod.veth.as_str()))?;
    check_all_delivered(
        &follow(&lab, ends, &["--pod-interfaces"])?,
        Some("confirmed"),
    );
    Ok(())
}

/// `bpf_redirect` takes packets from one pod's interface out of the other's.
#[test]
fn out_of_another_device() -> Result<()> {
    let (lab, _programs) = on_one_node(Fate::Out)?;
    let ends = [&lab.pods[0], &lab.pods[1]];
    let finished = follow(&lab, ends, &[])?;
    check_all_delivered(&finished, None);
    for journey in &finished.journeys {
        assert_eq!(seen(journey).len(), 2, "{journey:#}");
    }
    Ok(())
}

/// `bpf_redirect_neigh` takes packets from the tunnel out of the pod's veth, past the node's own
/// routing: the TTL stays.
#[test]
fn to_the_neighbour_that_a_route_names() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::CalicoVxlan,
        ..LabSpec::default()
    })?;
    let ends = [&lab.pods[0], &lab.pods[1]];
    let mut programs = Vec::new();
    for pod in ends {
        let overlay = &lab.node_of(pod).overlay;
        programs.push(redirect(&lab, overlay, pod, Fate::Neighbour)?);
    }
    let finished = follow(&lab, ends, &[])?;
    check_all_delivered(&finished, None);
    for journey in &finished.journeys {
        let from_a = journey["direction"] == "request";
        let [from, to] = if from_a { ends } else { [ends[1], ends[0]] };
        assert_eq!(seen(journey), between_pods(&lab, from, to), "{journey:#}");
        let hops = journey["hops"].as_array().context("hops")?;
        assert_eq!(hops[4]["ttl"], hops[5]["ttl"], "{journey:#}");
    }
    Ok(())
}

/// A dropping program was attached first, and tracer's program still runs before it.
#[test]
fn a_program_that_was_first_is_not_before_tracers() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let drops = Program {
        hook: Hook::TcxIngress,
        to: b.v4.into(),
        shift: 0,
        fate: Fate::Dropped,
        first: true,
    };
    let _program = drops.attach(&lab.nodes[0].netns, &a.veth)?;
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--explain"];
    let mut tracer = Tracer::follow(&lab, ends)?;
    tracer.wait_started(LIMIT)?;
    let pings = Flow::new(a, b).ping(1, Duration::from_millis(2))?;
    assert_eq!(pings.received, 0);
    let journey = tracer.wait_for(|value| value["packet"]["proto"] == "icmp", LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(seen(&journey), [point(&lab.nodes[0], &a.veth, "ingress")]);
    assert_eq!(journey["verdict"]["drop"]["interface"], *a.veth);
    let evidence = journey["verdict"]["evidence"].to_string();
    assert!(evidence.contains(NAME), "{journey:#}");

    // If a program is put before tracer's later, the kernel reports its drops.
    let _earlier = drops.attach(&lab.nodes[0].netns, &a.veth)?;
    let pings = Flow::new(a, b).ping(1, Duration::from_millis(2))?;
    assert_eq!(pings.received, 0);
    let unseen = |value: &Value| {
        value["packet"]["proto"] == "icmp" && value["hops"].as_array().is_some_and(Vec::is_empty)
    };
    let journey = tracer.wait_for(unseen, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(journey["verdict"]["drop"]["interface"], *a.veth);
    Ok(())
}
