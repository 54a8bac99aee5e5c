//! Nodes that are joined to the others by more than one cable with one address: by two cables, by a
//! VLAN, or inside another network's tunnel.

use std::{net::UdpSocket, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Names, Node, Pod, Uplinks, Wiring,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::{
    expected::{pod, seen},
    recordings::{self, keep_clean},
    wirings::{check_flows, plan_of},
};

/// Options of a follow that must show a loss soon.
const HOLD: [&str; 2] = ["--hold", "1s"];

fn spec(uplinks: Uplinks, wiring: Wiring, names: Names) -> LabSpec {
    LabSpec {
        pods_per_node: 2,
        wiring,
        uplinks,
        names,
        ..LabSpec::default()
    }
}

/// Checks clean traffic, with the usual device names and with others, in a tunnel and without.
fn check(uplinks: Uplinks) -> Result<()> {
    if uplinks.is_for_another_kernel()? {
        return Ok(());
    }
    for (wiring, names) in [
        (Wiring::Flannel, Names::Realistic),
        (Wiring::FlannelHostGw, Names::Odd),
        (Wiring::CalicoVxlan, Names::Realistic),
    ] {
        let lab = Lab::new(&spec(uplinks, wiring, names))?;
        let ends = [&lab.pods[0], &lab.pods[2]];
        check_flows(&lab, ends)?;
        if wiring == Wiring::Flannel {
            keep_clean(&lab, ends, &format!("uplinks-{uplinks:?}").to_lowercase())?;
        }
    }
    Ok(())
}

#[test]
fn two_uplinks_that_share_the_flows() -> Result<()> {
    check(Uplinks::Two)
}

#[test]
fn a_vlan_on_the_uplink() -> Result<()> {
    check(Uplinks::Vlan)
}

#[test]
fn an_uplink_that_is_a_vxlan_itself() -> Result<()> {
    check(Uplinks::InVxlan)
}

#[test]
fn a_bond_of_two_uplinks() -> Result<()> {
    check(Uplinks::Bond)
}

#[test]
fn a_team_of_two_uplinks() -> Result<()> {
    check(Uplinks::Team)
}

/// The active cable loses packets, and nobody knows on which cable the receivers expected them.
/// Then the cable is dead, and later packets take the other cable.
fn check_failover(uplinks: Uplinks, name: &str) -> Result<()> {
    if uplinks.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&spec(uplinks, Wiring::Flannel, Names::Realistic))?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let plan = plan_of(&lab, [a, b])?;
    let why = format!("{} sends out of it", near.way);
    assert_eq!(plan.matches(&why).count(), 4, "{plan}");
    for cable in [&near.uplink, &near.second_uplink] {
        assert!(plan.contains(cable.as_str()), "{plan}");
    }
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &HOLD, name)?;
    let flow = Flow::new(a, b);
    let sent = |len: u64| move |value: &Value| value["packet"]["len"] == len + 28;

    assert!(flow.udp_send(1, 64)?.is_complete());
    let journey = tracer.wait_for(sent(64), LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    assert!(took(&journey, near, &near.uplink), "{journey:#}");

    let rule = format!(
        "table bridge fault {{ chain fault {{ type filter hook forward priority 0; \
         iifname \"{}\" ip length > 200 drop; }}; }}",
        near.middle_port
    );
    lab.middle.batch("nft -f -", &rule)?;
    assert_eq!(flow.udp_send(1, 300)?.received, 0);
    let journey = tracer.wait_for(sent(300), LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "lost", "{journey:#}");
    let between = format!(
        "lost: between {} on {} and {}, {} or {} on {}",
        near.uplink, near.name, far.uplink, far.second_uplink, far.way, far.name
    );
    let text = journey["verdict"]["text"].as_str().context("a text")?;
    assert!(text.starts_with(&between), "{text}");

    lab.middle
        .run(&format!("ip link set dev {} down", near.middle_port))?;
    if uplinks == Uplinks::Team {
        near.send_by(&near.second_uplink)?;
    }
    // The kernel needs some time to see that the cable is dead.
    let mut len = 400;
    while !flow.udp_send(1, len)?.is_complete() {
        len += 1;
    }
    let journey = tracer.wait_for(sent(len as u64), LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    assert!(took(&journey, near, &near.second_uplink), "{journey:#}");
    assert!(!took(&journey, near, &near.uplink), "{journey:#}");
    assert!(took(&journey, far, &far.uplink), "{journey:#}");
    tracer.stop()?;
    Ok(())
}

/// Waiting uplinks get broadcasts, too, but the bond takes them from the other uplink.
#[test]
fn what_is_for_everybody_comes_in_by_both_uplinks_of_a_bond() -> Result<()> {
    if Uplinks::Bond.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&spec(
        Uplinks::Bond,
        Wiring::FlannelHostGw,
        Names::Realistic,
    ))?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let mut tracer = Tracer::follow(&lab, ends)?;
    tracer.wait_started(LIMIT)?;
    near.netns
        .run(&format!("ip -4 neighbour flush dev {}", near.way))?;
    let pings = Flow::new(a, b).ping(1, Duration::from_millis(2))?;
    assert!(pings.is_complete());
    let asks = |value: &Value| {
        let packet = &value["packet"];
        packet["arp"]["operation"] == 1 && packet["dst"] == far.underlay.to_string()
    };
    let journey = tracer.wait_for(asks, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    for (node, interface) in [
        (near, &near.way),
        (near, &near.uplink),
        // The broadcast comes back to the sender's own waiting uplink.
        (near, &near.second_uplink),
        (far, &far.uplink),
        (far, &far.second_uplink),
        (far, &far.way),
    ] {
        assert!(took(&journey, node, interface), "{journey:#}");
    }
    tracer.stop()?;
    Ok(())
}

#[test]
fn a_bond_whose_active_uplink_dies() -> Result<()> {
    check_failover(Uplinks::Bond, "bond-failover")
}

#[test]
fn a_team_whose_active_uplink_dies() -> Result<()> {
    check_failover(Uplinks::Team, "team-failover")
}

/// Flows take either uplink. One of the wires dies: packets on it are lost, and packets on the
/// other arrive.
fn check_dead_wire(v6: bool, name: &str) -> Result<()> {
    let lab = Lab::new(&spec(Uplinks::Two, Wiring::FlannelHostGw, Names::Realistic))?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &HOLD, name)?;
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    // The test needs a flow for each way. The ports decide, and the test tries several.
    let bound = |pod: &Pod| pod.netns.enter(|| UdpSocket::bind((pod.address(v6), 0)));
    let to = bound(b)?;
    let mut flows = [None, None];
    while flows.iter().any(Option::is_none) {
        let from = bound(a)?;
        from.connect(to.local_addr()?)?;
        from.send(&[0; 64])?;
        let port = from.local_addr()?.port();
        let is_it = |value: &Value| value["packet"]["src_port"] == port;
        let journey = tracer.wait_for(is_it, LIMIT)?;
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        let second = took(&journey, near, &near.second_uplink);
        assert_ne!(second, took(&journey, near, &near.uplink), "{journey:#}");
        flows[usize::from(second)] = Some(from);
    }
    let [Some(first), Some(second)] = flows else {
        unreachable!("each has been found");
    };
    let rule = "table bridge fault { chain fault { type filter hook forward priority 0; \
                iifname \"2*\" drop; }; }";
    lab.middle.batch("nft -f -", rule)?;
    first.send(&[0; 65])?;
    second.send(&[0; 66])?;
    let headers = if v6 { 48 } else { 28 };
    for (len, kind) in [(65, "delivered"), (66, "lost")] {
        let is_it = |value: &Value| value["packet"]["len"] == len + headers;
        let journey = tracer.wait_for(is_it, LIMIT)?;
        assert_eq!(journey["verdict"]["kind"], kind, "{journey:#}");
        if kind == "lost" {
            let text = journey["verdict"]["text"].as_str().context("a text")?;
            let between = format!(
                "lost: between {} on {} and {} or {} on {}",
                near.second_uplink, near.name, far.uplink, far.second_uplink, far.name
            );
            assert!(text.starts_with(&between), "{text}");
            assert_eq!(journey["verdict"]["confidence"], "high", "{journey:#}");
        }
    }
    tracer.stop()?;
    Ok(())
}

#[test]
fn one_of_two_wires_is_dead() -> Result<()> {
    check_dead_wire(false, "one-of-two-wires-dead")
}

#[test]
fn one_of_two_wires_is_dead_over_ipv6() -> Result<()> {
    check_dead_wire(true, "one-of-two-wires-dead-v6")
}

fn took(journey: &Value, node: &Node, interface: &str) -> bool {
    let mut points = seen(journey).into_iter();
    points.any(|(at, name, _)| at == node.name && name == interface)
}

/// The wire of a cloud's network dies under two tunnels.
#[test]
fn what_is_lost_in_a_cloud_is_lost_between_the_uplinks() -> Result<()> {
    let lab = Lab::new(&spec(Uplinks::InVxlan, Wiring::Flannel, Names::Realistic))?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &HOLD, "cloud-loses")?;
    let flow = Flow::new(a, b);
    assert!(flow.udp_send(1, 64)?.is_complete());
    let rule = "table bridge fault { chain fault { type filter hook forward priority 0; \
                ip length > 200 drop; }; }";
    lab.middle.batch("nft -f -", rule)?;
    assert_eq!(flow.udp_send(1, 300)?.received, 0);
    let journey = tracer.wait_for(|value| value["packet"]["len"] == 328, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "lost", "{journey:#}");
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let between = format!(
        "lost: between {} on {} and {} on {}",
        near.uplink, near.name, far.uplink, far.name
    );
    let text = journey["verdict"]["text"].as_str().context("a text")?;
    assert!(text.starts_with(&between), "{text}");
    let hops = journey["hops"].as_array().context("hops")?;
    let last = hops.last().context("a hop")?;
    assert_eq!(last["encap"]["levels"], 2, "{journey:#}");
    tracer.stop()?;
    Ok(())
}

/// The default route uses another device than the routes to the nodes.
#[test]
fn the_default_route_is_another_ones() -> Result<()> {
    let lab = Lab::new(&spec(Uplinks::One, Wiring::Flannel, Names::Realistic))?;
    for node in &lab.nodes {
        // The other device is a pair, both ends of which belong to the node.
        node.netns.batch(
            "ip -batch -",
            "link add name wan0 type veth peer name isp0
             link set dev wan0 up
             link set dev isp0 up
             address add 203.0.113.2/24 dev wan0
             route add default via 203.0.113.1 dev wan0\n",
        )?;
    }
    let plan = plan_of(&lab, [&lab.pods[0], &lab.pods[2]])?;
    assert!(plan.contains(&lab.nodes[0].uplink), "{plan}");
    assert!(!plan.contains("wan0"), "{plan}");
    check_flows(&lab, [&lab.pods[0], &lab.pods[2]])?;
    Ok(())
}
