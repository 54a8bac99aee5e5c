use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tracer_tests::program::{Finished, LIMIT};
use tracer_tests::traffic::{Flow, arp_nd};
use tracer_tests::{Lab, LabSpec, Pod, Tracer};

use crate::{attached, attached_here, by_clsact, by_tcx, full_name, has_tcx};

fn lab_of_four_pods() -> Result<Lab> {
    Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })
}

/// Follows UDP from one pod to another.
fn follow(lab: &Lab, from: &Pod, to: &Pod) -> Result<Tracer> {
    let [from, to] = [from, to].map(full_name);
    let args = ["--proto", "udp", "--src-pod", &from, "--dst-pod", &to];
    let mut tracer = Tracer::follow(lab, args)?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// The message about a node.
fn line_about<'a>(stderr: &'a str, beginning: &str) -> Result<&'a str> {
    let mut lines = stderr.lines();
    let line = lines.find_map(|line| line.strip_prefix(beginning));
    line.with_context(|| format!("no line begins with {beginning}: {stderr}"))
}

/// The number of packets at a point, as in `veth1a2b in 37`.
fn seen_at(stderr: &str, node: &str, point: &str) -> Result<u64> {
    let line = line_about(stderr, &format!("tracer: packets seen on {node}: "))?;
    let figure = line.split(", ").find_map(|part| part.strip_prefix(point));
    let figure = figure.with_context(|| format!("{point} is not in: {line}"))?;
    Ok(figure.trim().parse()?)
}

fn assert_nothing_matched(ended: &Finished) {
    assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
    let mut lines = ended.stderr.lines();
    assert!(
        lines.any(|line| line == "tracer: nothing matched"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.journeys.len(), 0);
    for kind in ["delivered", "left", "unknown"] {
        assert_eq!(ended.summary["journeys"][kind], 0);
    }
    assert_eq!(ended.summary["accounting"]["balances"], true);
}

#[test]
fn packets_to_elsewhere_are_named() -> Result<()> {
    let lab = lab_of_four_pods()?;
    let [from, near, to, other] = &lab.pods[..] else {
        panic!("four pods were asked for")
    };
    let tracer = follow(&lab, from, to)?;
    let sends = |to: &Pod, count| Flow::new(from, to).port(5353).udp_send(count, 10);
    assert!(sends(other, 37)?.is_complete());
    assert!(sends(near, 1)?.is_complete());
    let ended = tracer.stop()?;
    assert_nothing_matched(&ended);

    for (pod, packets, about) in [
        (other, "37 packets", "which do not belong to this follow"),
        (near, "1 packet", "which does not belong to this follow"),
    ] {
        let line = format!(
            "tracer: {} sent {packets} to {}:5353 (udp), {about}\n",
            full_name(from),
            full_name(pod)
        );
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    }
    let node = &lab.nodes[0];
    let point = |name: &str, way| seen_at(&ended.stderr, &node.name, &format!("{name} {way} "));
    assert!(point(&from.veth, "in")? >= 38);
    assert!(point(&node.overlay, "out")? >= 37);
    assert!(point(&node.uplink, "out")? >= 37);
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn addresses_that_nobody_knows_are_shown_as_they_are() -> Result<()> {
    let lab = lab_of_four_pods()?;
    let from = &lab.pods[0];
    let tracer = follow(&lab, from, &lab.pods[2])?;
    // Nobody listens on the node's own address, but the packet reaches it.
    let socket = from
        .netns
        .enter(|| std::net::UdpSocket::bind((from.v4, 0)))?;
    let gateway = lab.nodes[0].bridge_v4;
    socket.send_to(b"?", (gateway, 53))?;
    let ended = tracer.stop()?;
    assert_nothing_matched(&ended);
    let line = format!(
        "tracer: {} sent 1 packet to {gateway}:53 (udp)",
        full_name(from)
    );
    assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    Ok(())
}

/// A program sees packets as soon as it is attached, and not only once all programs are. Early
/// packets are reported as such.
#[test]
fn what_comes_before_the_start_is_no_silence() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [from, to] = &lab.pods[..] else {
        panic!("two pods were asked for")
    };
    let ends = [from, to].map(full_name);
    let args = [
        "--proto",
        "udp",
        "--src-pod",
        &ends[0],
        "--dst-pod",
        &ends[1],
    ];
    let mut tracer = Tracer::follow(&lab, args)?;
    let node = &lab.nodes[0].netns;
    let there = format!("{}/{}", node.name, from.veth);
    let deadline = Instant::now() + LIMIT;
    let by = if has_tcx() { by_tcx } else { by_clsact };
    while !node.enter(|| attached_here(node, by))?.contains(&there) {
        ensure!(Instant::now() < deadline, "nothing is attached to {there}");
        thread::yield_now();
    }
    let early = Flow::new(from, to).port(5353).udp_send(1, 10)?;
    assert!(early.is_complete());
    tracer.wait_started(LIMIT)?;
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("nothing matched"),
        "{}",
        ended.stderr
    );
    let [journey] = &ended.journeys[..] else {
        bail!("not one journey: {:#?}", ended.journeys)
    };
    assert_eq!(journey["packet"]["dst_port"], 5353);
    assert_eq!(journey["verdict"]["kind"], "unknown", "{journey:#}");
    assert_eq!(journey["verdict"]["cause"], "before-start", "{journey:#}");
    assert_eq!(journey["hops"][0]["interface"], *from.veth, "{journey:#}");
    Ok(())
}

/// Every sender first asks for its gateway. That alone is no match.
#[test]
fn neighbours_are_no_match() -> Result<()> {
    let lab = lab_of_four_pods()?;
    let [from, _, to, other] = &lab.pods[..] else {
        panic!("four pods were asked for")
    };
    let ends = [from, to].map(full_name);
    let args = ["--src-pod", &ends[0], "--dst-pod", &ends[1]];
    let mut tracer = Tracer::follow(&lab, args)?;
    tracer.wait_started(LIMIT)?;
    assert!(arp_nd(&lab, &Flow::new(from, other))?.is_complete());
    let is_arp = |value: &Value| value["packet"]["proto"] == "arp";
    tracer.wait_for(is_arp, LIMIT)?;
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
    let line = format!(
        "tracer: {} sent 1 packet to {} (icmp), which does not belong to this follow\n",
        full_name(from),
        full_name(other)
    );
    assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    Ok(())
}

#[test]
fn no_traffic_at_all_is_said_so() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    // Without carriers and without IPv6, few packets can come by chance.
    for (pod, node) in lab.pods.iter().zip(&lab.nodes) {
        node.netns.sysctl(&[("ipv6/conf/all/disable_ipv6", "1")])?;
        for name in [&node.uplink, &pod.veth] {
            node.netns.run(&format!("ip link set dev {name} down"))?;
        }
    }
    let [from, to] = [0, 1].map(|pod| lab.pods[pod].v4.to_string());
    // Hosts leave multicast groups now, and some do so late.
    for _ in 0..20 {
        let mut tracer = Tracer::follow(&lab, ["--src-ip", &from, "--dst-ip", &to])?;
        let started = tracer.wait_started(LIMIT)?;
        let warnings = started["warnings"].as_array().expect("a list");
        let ended = tracer.stop()?;
        assert_nothing_matched(&ended);
        let mut seen = 0;
        for (pod, node) in lab.pods.iter().zip(&lab.nodes) {
            let down = format!(
                "{}: {} is down or has no carrier: packets end there",
                node.name, pod.veth
            );
            assert!(warnings.contains(&down.into()), "{warnings:?}");
            for point in [&pod.veth, &node.bridge, &node.overlay] {
                for way in ["in", "out"] {
                    seen += seen_at(&ended.stderr, &node.name, &format!("{point} {way} "))?;
                }
            }
        }
        let hint = "tracer: no packet at all passed these points: send a packet, and check on \
                    which nodes its ends are\n";
        let is_said = ended.stderr.ends_with(hint);
        assert_eq!(seen == 0, is_said, "{}", ended.stderr);
        if is_said {
            return Ok(());
        }
    }
    bail!("the network is never silent")
}

/// After five seconds, tracer says why nothing has matched yet. It continues, and follows later
/// packets as usual.
#[test]
fn while_nothing_matches_it_says_why_and_waits() -> Result<()> {
    let lab = lab_of_four_pods()?;
    let [from, _, to, other] = &lab.pods[..] else {
        panic!("four pods were asked for")
    };
    let mut tracer = follow(&lab, from, to)?;
    assert!(
        Flow::new(from, other)
            .port(5353)
            .udp_send(37, 10)?
            .is_complete()
    );
    let reason = format!("sent 37 packets to {}:5353 (udp)", full_name(other));
    tracer.wait_for_stderr(|said| said.contains(&reason), LIMIT)?;
    tracer.wait_for_stderr(
        |said| said.starts_with("tracer: nothing matched yet; still waiting\n"),
        Duration::ZERO,
    )?;
    assert!(Flow::new(from, to).udp_send(3, 10)?.is_complete());
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.summary["journeys"]["delivered"], 3);
    assert_eq!(ended.stderr.matches("nothing matched").count(), 1);
    Ok(())
}
