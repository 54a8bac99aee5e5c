//! Clean traffic over every wiring besides the usual one. If this kernel has no IP-in-IP, `cargo
//! xtask kernels` runs those tests on a kernel that has.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Names, Pod, Wiring,
    program::{LIMIT, Tracer, run},
    traffic::Flow,
};

use crate::{
    expected::{
        by_protocol, check_balance, check_clean, check_stopped, is_neighbour, pod, point, seen,
    },
    recordings::{self, keep_clean},
};

/// Runs a check on labs and two of their pods: between two nodes with the usual device names and
/// with misleading ones, and on one node.
pub(crate) fn in_each_lab(
    wiring: Wiring,
    check: impl Fn(&Lab, [&Pod; 2], Names) -> Result<()>,
) -> Result<()> {
    if wiring.is_for_another_kernel()? {
        return Ok(());
    }
    for (names, to) in [
        (Names::Realistic, 2),
        (Names::Odd, 2),
        (Names::Realistic, 1),
    ] {
        let lab = Lab::new(&LabSpec {
            pods_per_node: 2,
            wiring,
            names,
            ..LabSpec::default()
        })?;
        check(&lab, [&lab.pods[0], &lab.pods[to]], names)?;
    }
    Ok(())
}

pub(crate) fn check(wiring: Wiring) -> Result<()> {
    in_each_lab(wiring, |lab, ends, names| {
        check_flows(lab, ends)?;
        if names == Names::Realistic && ends[0].node != ends[1].node {
            keep_clean(lab, ends, &format!("{wiring:?}").to_lowercase())?;
        }
        Ok(())
    })
}

/// The words of `--dry-run` for a follow of two pods. They must contain no warning, except that a
/// pod's packets pass the node's rules by.
pub(crate) fn plan_of(lab: &Lab, [a, b]: [&Pod; 2]) -> Result<String> {
    let mut args = vec!["follow".to_owned(), "--dry-run".to_owned()];
    args.extend(lab.agent_args()?);
    args.extend([
        "--src-pod".to_owned(),
        pod(a),
        "--dst-pod".to_owned(),
        pod(b),
    ]);
    let looked = run(args)?;
    assert_eq!(looked.status.code(), Some(0), "{}", looked.stderr);
    // Lines of text are folded.
    let words: Vec<&str> = looked.stdout.split_whitespace().collect();
    let plan = words.join(" ");
    let expected = plan.matches("passes the node's rules by").count();
    assert_eq!(plan.matches('!').count(), expected, "{plan}");
    Ok(plan)
}

/// Checks all kinds of traffic between two pods: each packet is delivered along its way.
pub(crate) fn check_flows(lab: &Lab, [a, b]: [&Pod; 2]) -> Result<()> {
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    // A megabyte at once may exceed the usual budget, which would sample it.
    let follow = ends.into_iter().chain(["--budget", "1000000"]);
    let mut tracer = Tracer::follow(lab, follow)?;
    tracer.wait_started(LIMIT)?;

    let flow = Flow::new(a, b);
    let mut pings = flow.ping(20, Duration::from_millis(2))?;
    if lab.wiring.carries_v6() {
        let flow = Flow::new(a, b).v6(true);
        let of_v6 = flow.ping(20, Duration::from_millis(2))?;
        assert!(flow.tcp_bulk(1_000_000)?.is_complete(), "over IPv6");
        assert!(flow.udp_exchange(3, 20_000)?.is_complete(), "over IPv6");
        pings.sent += of_v6.sent;
        pings.received += of_v6.received;
    }
    let datagrams = flow.udp_exchange(100, 64)?;
    assert!(flow.udp_exchange(3, 20_000)?.is_complete(), "in fragments");
    let connects = flow.tcp_connects(5)?;
    let bulk = flow.tcp_bulk(1_000_000)?;
    for tally in [pings, datagrams, connects, bulk] {
        assert!(tally.is_complete(), "{tally:?}");
    }

    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let between: Vec<Value> = finished
        .journeys
        .into_iter()
        .filter(|journey| !is_neighbour(journey))
        .collect();
    for journey in &between {
        check_clean(lab, [a, b], journey);
    }
    let seen = by_protocol(&between);
    let icmp = seen["icmp"] + seen.get("icmpv6").unwrap_or(&0);
    assert_eq!(icmp, pings.sent + pings.received);
    let sent = |journey: &&Value| {
        let packet = &journey["packet"];
        packet["proto"] == "udp" && packet["len"] == 64 + 28 && packet["fragment"].is_null()
    };
    let datagrams_seen = between.iter().filter(sent).count() as u64;
    assert_eq!(datagrams_seen, datagrams.sent + datagrams.received);
    let bytes: u64 = between
        .iter()
        .filter(|journey| journey["direction"] == "request" && journey["retransmits"].is_null())
        .filter_map(|journey| journey["packet"]["tcp"]["payload_len"].as_u64())
        .sum();
    assert!(bytes >= bulk.sent, "{bytes} of {}", bulk.sent);
    check_balance(&finished.summary);
    Ok(())
}

#[test]
fn flannel_over_ip_in_ip() -> Result<()> {
    check(Wiring::FlannelIpip)
}

#[test]
fn flannel_without_a_tunnel() -> Result<()> {
    check(Wiring::FlannelHostGw)
}

#[test]
fn flannel_over_vxlan_in_ipv6() -> Result<()> {
    check(Wiring::FlannelOverV6)
}

#[test]
fn pods_over_6in4() -> Result<()> {
    check(Wiring::SixInFour)
}

#[test]
fn pods_over_geneve() -> Result<()> {
    check(Wiring::Geneve)
}

#[test]
fn pods_over_gre() -> Result<()> {
    check(Wiring::Gre)
}

#[test]
fn pods_over_gre_with_frames() -> Result<()> {
    check(Wiring::GreFrames)
}

#[test]
fn pods_over_gre_in_ipv6() -> Result<()> {
    check(Wiring::GreInV6)
}

#[test]
fn pods_over_ip_in_ipv6() -> Result<()> {
    check(Wiring::IpInV6)
}

#[test]
fn pods_over_wireguard() -> Result<()> {
    check(Wiring::WireGuard)
}

#[test]
fn pods_over_ipsec_with_a_device() -> Result<()> {
    check(Wiring::IpSec)
}

/// The far node's tunnel device is down, and the node drops the packets that reach it.
fn check_far_end_down(wiring: Wiring) -> Result<()> {
    if wiring.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&LabSpec {
        wiring,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let far = &lab.nodes[1];
    let name = format!("{wiring:?}-far-end-down").to_lowercase();
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &[], &name)?;
    far.netns
        .run(&format!("ip link set dev {} down", far.overlay))?;
    for v6 in [false, true] {
        if v6 && !wiring.carries_v6() {
            continue;
        }
        let pings = Flow::new(a, b).v6(v6).ping(1, Duration::from_millis(2))?;
        assert_eq!(pings.received, 0);
        let echo_request = if v6 { 128 } else { 8 };
        let is_it = |value: &Value| value["packet"]["icmp"]["type"] == echo_request;
        let journey = tracer.wait_for(is_it, LIMIT)?;
        let verdict = &journey["verdict"];
        // With some wirings, the sender's node forwards an ICMP error.
        check_stopped(&journey);
        // With IPsec in the kernel, its policies may drop the packet, too.
        let causes = ["no-tunnel", "xfrm"];
        assert!(
            causes.iter().any(|cause| verdict["cause"] == *cause),
            "{journey:#}"
        );
        assert_eq!(verdict["drop"]["node"], *far.name, "{journey:#}");
        let arrived = point(far, &far.uplink, "ingress");
        assert_eq!(seen(&journey).last(), Some(&arrived), "{journey:#}");
    }
    tracer.stop()?;
    Ok(())
}

#[test]
fn the_far_end_is_down_over_ip_in_ip() -> Result<()> {
    check_far_end_down(Wiring::FlannelIpip)
}

#[test]
fn the_far_end_is_down_over_6in4() -> Result<()> {
    check_far_end_down(Wiring::SixInFour)
}

#[test]
fn the_far_end_is_down_over_gre() -> Result<()> {
    check_far_end_down(Wiring::Gre)
}

#[test]
fn the_far_end_is_down_over_gre_with_frames() -> Result<()> {
    check_far_end_down(Wiring::GreFrames)
}

#[test]
fn the_far_end_is_down_over_gre_in_ipv6() -> Result<()> {
    check_far_end_down(Wiring::GreInV6)
}

#[test]
fn the_far_end_is_down_over_ip_in_ipv6() -> Result<()> {
    check_far_end_down(Wiring::IpInV6)
}

/// Encrypted packets cannot be followed in the tunnel. tracer says so at the start. A loss there is
/// between the tunnel's ends, not between uplinks.
fn check_lost_encrypted(wiring: Wiring, kind: &str) -> Result<()> {
    if wiring.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&LabSpec {
        wiring,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let (mut tracer, started) = recordings::follow(&lab, [a, b], &[], &format!("{kind}-loses"))?;
    for node in [near, far] {
        let note = format!("cannot decode the tunnel {} ({kind})", node.overlay);
        assert!(
            started["warnings"].to_string().contains(&note),
            "{started:#}"
        );
    }
    let flow = Flow::new(a, b);
    assert!(flow.ping(3, Duration::from_millis(2))?.is_complete());
    let cut = format!("bridge link set dev {} state 0", far.middle_port);
    lab.middle.run(&cut)?;
    assert_eq!(flow.ping(1, Duration::from_millis(2))?.received, 0);
    let lost = tracer.wait_for(|value| value["verdict"]["kind"] == "lost", LIMIT)?;
    let text = lost["verdict"]["text"].as_str().expect("a text");
    let between = format!(
        "lost: between {} on {} and {} on {}",
        near.overlay, near.name, far.overlay, far.name
    );
    assert!(text.starts_with(&between), "{lost:#}");
    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    Ok(())
}

#[test]
fn lost_over_wireguard() -> Result<()> {
    check_lost_encrypted(Wiring::WireGuard, "wireguard")
}

#[test]
fn lost_over_ipsec_with_a_device() -> Result<()> {
    check_lost_encrypted(Wiring::IpSec, "xfrm")
}

/// The daemon that makes the routes has lost one.
#[test]
fn without_a_tunnel_the_route_to_the_other_node_is_gone() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::FlannelHostGw,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    for (v6, cidr) in [(false, &far.pod_cidr_v4), (true, &far.pod_cidr_v6)] {
        let follow = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
        let mut tracer = Tracer::follow(&lab, follow)?;
        tracer.wait_started(LIMIT)?;
        near.netns.run(&format!("ip route del {cidr}"))?;
        let pings = Flow::new(a, b).v6(v6).ping(1, Duration::from_millis(2))?;
        assert_eq!(pings.received, 0);
        let told = |value: &Value| value["verdict"]["cause"] == "no-route";
        let journey = tracer.wait_for(told, LIMIT)?;
        let verdict = &journey["verdict"];
        check_stopped(&journey);
        assert_eq!(verdict["drop"]["node"], *near.name);
        if !v6 {
            assert_eq!(verdict["drop"]["reason"], "IP_INNOROUTES");
        }
        tracer.stop()?;
    }
    Ok(())
}
