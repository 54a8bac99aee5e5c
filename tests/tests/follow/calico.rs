//! Pods with host routes, as Calico makes them: over each tunnel, across subnets only, with both IP
//! versions.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pairs, Wiring,
    bpf::{Fate, Hook, NAME, Program},
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::{
    expected::{check_balance, check_stopped, is_neighbour, pod},
    recordings::{self, keep_clean},
    wirings::{check, check_flows, plan_of},
};

#[test]
fn calico_over_ip_in_ip() -> Result<()> {
    check(Wiring::Calico)
}

#[test]
fn calico_over_vxlan() -> Result<()> {
    check(Wiring::CalicoVxlan)
}

/// Each IP version has a separate VXLAN device, over a separate underlay.
#[test]
fn calico_over_vxlan_of_both_versions() -> Result<()> {
    check(Wiring::CalicoDualStack)
}

/// The device of one version is down, and the other version still works.
#[test]
fn calico_over_vxlan_of_both_versions_without_one() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::CalicoDualStack,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let far = &lab.nodes[1];
    let hold = ["--hold", "1s"];
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &hold, "calico-v6-tunnel-down")?;
    far.netns
        .run(&format!("ip link set dev {} down", far.overlay_of_v6))?;
    let wait = Duration::from_millis(2);
    assert!(Flow::new(a, b).ping(1, wait)?.is_complete());
    assert_eq!(Flow::new(a, b).v6(true).ping(1, wait)?.received, 0);
    let told = |value: &Value| value["packet"]["icmp"]["type"] == 128;
    let journey = tracer.wait_for(told, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
    assert_eq!(journey["verdict"]["drop"]["node"], *far.name, "{journey:#}");
    tracer.stop()?;
    Ok(())
}

/// A lab of three nodes, of which the first and the last are in one subnet. `None` if the lab is
/// for another kernel.
fn of_two_subnets(wiring: Wiring) -> Result<Option<Lab>> {
    if wiring.is_for_another_kernel()? {
        return Ok(None);
    }
    let spec = LabSpec {
        nodes: 3,
        wiring,
        ..LabSpec::default()
    };
    Lab::new(&spec).map(Some)
}

/// Packets to nodes of the same subnet take a route, and packets to others take the tunnel. The far
/// node accepts packets of both ways.
fn check_across_subnets(wiring: Wiring, names: [&str; 2]) -> Result<()> {
    let Some(lab) = of_two_subnets(wiring)? else {
        return Ok(());
    };
    for (to, name) in [1, 2].into_iter().zip(names) {
        let ends = [&lab.pods[0], &lab.pods[to]];
        let plan = plan_of(&lab, ends)?;
        let overlay = &lab.nodes[0].overlay;
        assert_eq!(plan.contains(overlay.as_str()), to == 1, "{plan}");
        check_flows(&lab, ends)?;
        keep_clean(&lab, ends, name)?;
    }
    Ok(())
}

#[test]
fn calico_across_subnets_only() -> Result<()> {
    let names = ["calico-other-subnet", "calico-own-subnet"];
    check_across_subnets(Wiring::CalicoCrossSubnet, names)
}

#[test]
fn calico_over_ip_in_ip_across_subnets_only() -> Result<()> {
    let names = ["calico-ipip-other-subnet", "calico-ipip-own-subnet"];
    check_across_subnets(Wiring::CalicoIpipCrossSubnet, names)
}

/// The tunnel is down: no packet reaches the other subnet, and all reach the same subnet.
fn check_without_tunnel(wiring: Wiring, name: &str) -> Result<()> {
    let Some(lab) = of_two_subnets(wiring)? else {
        return Ok(());
    };
    let [a, b, c] = [&lab.pods[0], &lab.pods[1], &lab.pods[2]];
    let near = &lab.nodes[0];
    let (mut tracer, _) = recordings::follow(&lab, [a, b], &[], name)?;
    near.netns
        .run(&format!("ip link set dev {} down", near.overlay))?;
    let wait = Duration::from_millis(2);
    assert_eq!(Flow::new(a, b).ping(1, wait)?.received, 0);
    assert!(Flow::new(a, c).ping(1, wait)?.is_complete());
    // The tunnel's routes are gone with it, and the default route leads to a router that does not
    // exist.
    let told = |value: &Value| value["packet"]["icmp"]["type"] == 8;
    let journey = tracer.wait_for(told, LIMIT)?;
    check_stopped(&journey);
    assert_eq!(journey["verdict"]["cause"], "neighbour", "{journey:#}");
    assert_eq!(
        journey["verdict"]["drop"]["node"], *near.name,
        "{journey:#}"
    );
    tracer.stop()?;
    Ok(())
}

#[test]
fn calico_across_subnets_without_its_tunnel() -> Result<()> {
    check_without_tunnel(Wiring::CalicoCrossSubnet, "calico-tunnel-down")
}

#[test]
fn calico_over_ip_in_ip_across_subnets_without_its_tunnel() -> Result<()> {
    check_without_tunnel(Wiring::CalicoIpipCrossSubnet, "calico-ipip-tunnel-down")
}

/// Pods with netkit pairs, on a kernel that supports them (Linux 6.7).
#[test]
fn calico_with_netkit() -> Result<()> {
    if Pairs::Netkit.is_for_another_kernel()? {
        return Ok(());
    }
    let cases = [(Pairs::Netkit, 1), (Pairs::Netkit, 2), (Pairs::NetkitL3, 2)];
    for (pairs, to) in cases {
        let lab = Lab::new(&LabSpec {
            pods_per_node: 2,
            wiring: Wiring::CalicoVxlan,
            pairs,
            ..LabSpec::default()
        })?;
        let ends = [&lab.pods[0], &lab.pods[to]];
        let plan = plan_of(&lab, ends)?;
        assert!(plan.contains("netkit"), "{plan}");
        check_flows(&lab, ends)?;
        keep_clean(&lab, ends, &recordings::name(pairs, ends))?;
    }
    Ok(())
}

/// Foreign programs run at hooks of the pair itself.
#[test]
fn calico_with_netkit_and_programs_of_others() -> Result<()> {
    if Pairs::Netkit.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::CalicoVxlan,
        pairs: Pairs::Netkit,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let near = lab.node_of(a);
    let mut attached = Vec::new();
    for hook in [Hook::NetkitPrimary, Hook::NetkitPeer] {
        let somebodys = Program {
            hook,
            // No device has this address.
            to: [203, 0, 113, 9].into(),
            shift: 0,
            fate: Fate::Dropped,
            first: false,
        };
        attached.push(somebodys.attach(&near.netns, &a.veth)?);
    }
    let mut tracer = Tracer::follow(&lab, ["--src-pod", &pod(a), "--dst-pod", &pod(b)])?;
    let started = tracer.wait_started(LIMIT)?;
    for point in started["points"].as_array().expect("points") {
        let has_others = point["node"] == *near.name && point["interface"] == *a.veth;
        let others = point["foreign"].as_array().map(Vec::len);
        assert_eq!(others, Some(usize::from(has_others)), "{point:#}");
    }
    let warnings = started["warnings"].to_string();
    for direction in ["ingress", "egress"] {
        let told = format!("tc at {} {direction}: {NAME} (program ", a.veth);
        assert!(warnings.contains(&told), "{warnings}");
    }
    let pings = Flow::new(a, b).ping(10, Duration::from_millis(2))?;
    assert!(pings.is_complete(), "{pings:?}");
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    Ok(())
}

/// A kernel with IP-in-IP gives every namespace a `tunl0`, also a pod's, where no route uses it.
#[test]
fn the_pods_own_tunl0_over_ip_in_ip_is_no_point() -> Result<()> {
    if Wiring::Calico.is_for_another_kernel()? {
        return Ok(());
    }
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::Calico,
        ..LabSpec::default()
    })?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    for pod in [a, b] {
        let links = pod.netns.run("ip -o link show")?;
        assert!(links.contains("tunl0"), "{links}");
        pod.netns.run("ip link set dev tunl0 up")?;
    }
    let own = "--pod-interfaces";
    let mut tracer = Tracer::follow(&lab, ["--src-pod", &pod(a), "--dst-pod", &pod(b), own])?;
    let started = tracer.wait_started(LIMIT)?;
    let points = started["points"].as_array().expect("points");
    for end in [a, b] {
        let is_own = |point: &&Value| point["netns"] == *pod(end);
        let own: Vec<&Value> = points.iter().filter(is_own).collect();
        assert_eq!(own.len(), 2, "{started:#}");
        assert!(own.iter().all(|point| point["interface"] == *end.interface));
    }
    let pings = Flow::new(a, b).ping(10, Duration::from_millis(2))?;
    assert!(pings.is_complete(), "{pings:?}");
    let finished = tracer.stop()?;
    let journeys = finished.journeys.iter();
    let journeys: Vec<&Value> = journeys.filter(|journey| !is_neighbour(journey)).collect();
    assert_eq!(journeys.len(), 20, "questions and answers");
    for journey in journeys {
        assert_eq!(journey["verdict"]["confidence"], "confirmed", "{journey:#}");
        assert_eq!(
            journey["hops"].as_array().map(Vec::len),
            Some(8),
            "{journey:#}"
        );
    }
    check_balance(&finished.summary);
    Ok(())
}
