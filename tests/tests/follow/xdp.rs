//! Packets at XDP of the uplinks, before there is an sk_buff, and their fate between XDP and tc.

use std::{
    slice,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tracer_tests::{
    Lab, LabSpec, Node, Pod,
    bpf::{Attached, Fate, Hook, NAME, Program},
    program::{Finished, LIMIT, Tracer, evidence, is, run},
    traffic::{Flow, Tally},
};

use crate::{
    clean::{ROOM, settled},
    expected::{check_balance, check_clean, is_before_start, is_neighbour, pod},
};

/// The kernel's description of the program at XDP of a node's uplink.
pub(crate) fn xdp_of(node: &Node) -> Result<Option<String>> {
    let link = node
        .netns
        .run(&format!("ip -d link show dev {}", node.uplink))?;
    let program = link.lines().find(|line| line.contains("prog/xdp"));
    Ok(program.map(|line| line.trim().to_owned()))
}

/// Waits until nothing is attached to XDP of the uplinks: the kernel cleans up after the end of a
/// process, not before.
pub(crate) fn wait_until_detached(lab: &Lab) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    for node in &lab.nodes {
        while let Some(program) = xdp_of(node)? {
            ensure!(Instant::now() < deadline, "{program} on {}", node.name);
            std::thread::yield_now();
        }
    }
    Ok(())
}

/// A follow of all packets between two pods, at XDP as `xdp` says.
pub(crate) fn follow(
    lab: &Lab,
    [a, b]: [&Pod; 2],
    xdp: &str,
    more: &[&str],
) -> Result<(Tracer, Value)> {
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b), xdp];
    let mut tracer = Tracer::follow(lab, ends.iter().chain(&ROOM).chain(more))?;
    let started = tracer.wait_started(LIMIT)?;
    Ok((tracer, started))
}

fn is_at_xdp(hop: &Value) -> bool {
    hop["hook"] == "xdp"
}

/// Takes the hops at XDP out of a journey.
fn take_xdp(journey: &mut Value) -> Result<Vec<Value>> {
    let hops = journey["hops"].as_array_mut().context("hops")?;
    let (xdp, others) = std::mem::take(hops).into_iter().partition(is_at_xdp);
    *hops = others;
    Ok(xdp)
}

/// A program for an address that no device has.
pub(crate) fn idle(hook: Hook) -> Program {
    Program {
        hook,
        to: [203, 0, 113, 9].into(),
        shift: 0,
        fate: Fate::Dropped,
        first: false,
    }
}

/// Drops packets for `to` inside VXLAN that come in from a node's uplink, before any existing
/// program.
fn drop_at(lab: &Lab, to: &Pod, hook: Hook) -> Result<Attached> {
    let node = lab.node_of(to);
    let program = Program {
        hook,
        to: to.v4.into(),
        shift: i16::try_from(lab.wiring.overhead(false))?,
        fate: Fate::Dropped,
        first: true,
    };
    program.attach(&node.netns, &node.uplink)
}

/// Checks delivered journeys: each packet was seen at XDP of its incoming uplink, directly before
/// the uplink's tc.
fn check(lab: &Lab, pods: [&Pod; 2], journeys: &[Value]) -> Result<()> {
    for journey in journeys {
        let mut rest = journey.clone();
        let xdp = take_xdp(&mut rest)?;
        check_clean(lab, pods, &rest);
        if is_before_start(journey) {
            continue;
        }
        let hops = journey["hops"].as_array().context("hops")?;
        let is_way_in = |hop: &&Value| {
            let mut nodes = lab.nodes.iter();
            let is_uplink =
                nodes.any(|node| hop["node"] == *node.name && hop["interface"] == *node.uplink);
            is_uplink && hop["direction"] == "ingress" && !is_at_xdp(hop)
        };
        let ways_in: Vec<&Value> = hops.iter().filter(is_way_in).collect();
        ensure!(xdp.len() == ways_in.len(), "{journey:#}");
        for (xdp, way_in) in xdp.iter().zip(ways_in) {
            for key in ["node", "interface", "direction", "seen", "encap"] {
                ensure!(xdp[key] == way_in[key], "{key}: {journey:#}");
            }
            let at = hops.iter().position(|hop| hop == xdp);
            ensure!(at.map(|at| &hops[at + 1]) == Some(way_in), "{journey:#}");
        }
    }
    Ok(())
}

#[test]
fn what_comes_in_is_seen_before_tc_and_is_the_same_journey() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let recording = lab.directory()?.join("xdp.arrows");
    let recording = recording.to_str().context("a path of text")?;
    let (mut tracer, started) = follow(&lab, pods, "--xdp", &["-w", recording])?;
    let points = started["points"].as_array().context("points")?;
    let at_xdp = points.iter().filter(|point| point["hook"] == "xdp");
    let at_xdp: Vec<Value> = at_xdp
        .map(|point| json!([point["node"], point["interface"], point["role"]]))
        .collect();
    let uplinks = lab.nodes.iter();
    let uplinks: Vec<Value> = uplinks
        .map(|node| json!([node.name, node.uplink, "uplink"]))
        .collect();
    assert_eq!(at_xdp, uplinks, "{started:#}");
    // The program is in the driver, and a warning says what that changes.
    for node in &lab.nodes {
        let program = xdp_of(node)?.context("a program at XDP")?;
        assert!(program.starts_with("prog/xdp "), "{program}");
        assert!(program.contains("tracer_xdp"), "{program}");
        let warnings = started["warnings"].to_string();
        assert!(warnings.contains("turns off TSO"), "{warnings}");
    }

    let mut seen_at_xdp = 0;
    for v6 in [false, true] {
        let flow = Flow::new(pods[0], pods[1]).v6(v6);
        let tallies = [
            flow.ping(100, Duration::from_millis(2))?,
            flow.udp_exchange(500, 64)?,
            flow.udp_exchange(3, 20_000)?,
            flow.tcp_connects(20)?,
            flow.tcp_bulk(20_000_000)?,
        ];
        assert!(tallies.iter().all(Tally::is_complete), "{tallies:?}");
        let journeys = settled(&mut tracer, &flow, 1201)?;
        assert!(journeys.len() > 1000, "{}", journeys.len());
        check(&lab, pods, &journeys)?;
        let hops = journeys
            .iter()
            .filter_map(|journey| journey["hops"].as_array());
        seen_at_xdp += hops.flatten().filter(|hop| is_at_xdp(hop)).count();
        // Super-packets left the sender, and segments arrived at XDP.
        let is_super = |journey: &&Value| {
            let hops = journey["hops"].as_array().expect("hops");
            let is_cut = |hop: &Value| is_at_xdp(hop) && hop["segments"].as_u64() > Some(1);
            hops[0]["segments"].as_u64() > Some(1) && hops.iter().any(is_cut)
        };
        assert!(journeys.iter().filter(is_super).count() > 10);
    }
    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    check(&lab, pods, &finished.journeys)?;
    check_balance(&finished.summary);
    wait_until_detached(&lab)?;
    // A replay shows the same.
    let replayed = run(["replay", recording, "-o", "json"])?;
    let mut replayed_at_xdp = 0;
    for line in replayed.stdout.lines() {
        let value: Value = serde_json::from_str(line)?;
        if is(&value, "tracer.journey/2") {
            check(&lab, pods, slice::from_ref(&value))?;
            let hops = value["hops"].as_array().context("hops")?;
            replayed_at_xdp += hops.iter().filter(|hop| is_at_xdp(hop)).count();
        }
    }
    assert!(seen_at_xdp > 2000, "{seen_at_xdp}");
    assert!(replayed_at_xdp >= seen_at_xdp, "{replayed_at_xdp}");
    Ok(())
}

/// The journeys of echo requests that do not arrive. `fault` is made once the follow has started.
fn dropped<T>(lab: &Lab, fault: impl FnOnce() -> Result<T>) -> Result<Vec<Value>> {
    const COUNT: u64 = 20;

    let pods = [&lab.pods[0], &lab.pods[1]];
    let (mut tracer, _) = follow(lab, pods, "--xdp", &["--explain", "--hold", "1s"])?;
    let _fault = fault()?;
    let flow = Flow::new(pods[0], pods[1]);
    assert_eq!(flow.ping(COUNT, Duration::from_millis(2))?.received, 0);
    let is_echo = |value: &Value| !value["packet"]["icmp"]["id"].is_null();
    let mut left = COUNT;
    let last = |value: &Value| {
        left -= u64::from(is_echo(value));
        left == 0
    };
    tracer.wait_for(last, LIMIT)?;
    let mut finished = tracer.stop()?;
    check_balance(&finished.summary);
    finished.journeys.retain(is_echo);
    assert_eq!(finished.journeys.len() as u64, COUNT);
    Ok(finished.journeys)
}

/// A foreign program at tc runs before tracer's: packets that it drops are never seen at tc.
#[test]
fn a_drop_by_a_program_between_xdp_and_tc_is_told() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let to = &lab.pods[1];
    // The last attached program is the first to run.
    for journey in dropped(&lab, || drop_at(&lab, to, Hook::TcxIngress))? {
        let verdict = &journey["verdict"];
        assert_eq!(verdict["kind"], "dropped", "{journey:#}");
        assert_eq!(verdict["cause"], "tc", "{journey:#}");
        let last = journey["hops"].as_array().and_then(|hops| hops.last());
        let last = last.context("a hop")?;
        assert!(is_at_xdp(last), "{journey:#}");
        assert_eq!(last["node"], lab.node_of(to).name, "{journey:#}");
        assert!(verdict.to_string().contains(NAME), "{journey:#}");
    }
    Ok(())
}

#[test]
fn a_drop_by_a_rule_at_the_uplink_is_told() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let far = lab.node_of(&lab.pods[1]);
    let rule = format!(
        "table netdev somebody {{ chain ingress {{ type filter hook ingress device {} priority 0; \
         udp dport {} drop\n}}\n}}\n",
        far.uplink, lab.port
    );
    for journey in dropped(&lab, || far.netns.batch("nft -f -", &rule))? {
        assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
        assert_eq!(journey["verdict"]["cause"], "netfilter", "{journey:#}");
        let hops = journey["hops"].as_array().context("hops")?;
        assert_eq!(hops.iter().filter(|hop| is_at_xdp(hop)).count(), 1);
        let last = hops.last().context("a hop")?;
        assert_eq!(last["interface"], far.uplink, "{journey:#}");
        assert!(!is_at_xdp(last), "{journey:#}");
    }
    Ok(())
}

/// tracer never replaces a foreign program, and names it.
#[test]
fn where_somebodys_program_is_attached_it_stays() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [0, 1].map(|pod| lab.node_of(&lab.pods[pod]));
    let _attached = idle(Hook::Xdp).attach(&far.netns, &far.uplink)?;
    let before = xdp_of(far)?;
    let (mut tracer, started) = follow(&lab, pods, "--xdp", &[])?;
    let warnings = started["warnings"].as_array().context("warnings")?;
    let named = warnings
        .iter()
        .filter_map(Value::as_str)
        .filter(|text| text.contains(NAME) && text.contains(&format!("XDP at {}", far.uplink)));
    assert_eq!(named.count(), 1, "{started:#}");
    assert_eq!(xdp_of(far)?, before);
    assert!(xdp_of(near)?.is_some_and(|program| program.contains("tracer_xdp")));
    let flow = Flow::new(pods[0], pods[1]);
    assert!(flow.ping(20, Duration::from_millis(2))?.is_complete());
    assert!(flow.tcp_bulk(1_000_000)?.is_complete());
    let journeys = settled(&mut tracer, &flow, 1201)?;
    for journey in &journeys {
        let mut rest = journey.clone();
        let xdp = take_xdp(&mut rest)?;
        check_clean(&lab, pods, &rest);
        let is_reply = journey["direction"] == "reply" || is_neighbour(journey);
        assert!(xdp.is_empty() || is_reply, "{journey:#}");
        assert!(xdp.iter().all(|hop| hop["node"] == near.name));
    }
    tracer.stop()?;
    assert_eq!(xdp_of(far)?, before);
    assert_eq!(xdp_of(near)?, None);
    Ok(())
}

#[test]
fn killed_it_leaves_nothing_at_xdp() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let (tracer, _) = follow(&lab, pods, "--xdp", &[])?;
        for node in &lab.nodes {
            assert!(xdp_of(node)?.is_some(), "{signal}");
        }
        tracer.signal(signal)?;
        tracer.finish(LIMIT)?;
        wait_until_detached(&lab)?;
    }
    let flow = Flow::new(pods[0], pods[1]);
    assert!(flow.ping(1, Duration::from_millis(2))?.is_complete());
    Ok(())
}

/// Names of interfaces: one on the way, another one of the node, and one that does not exist.
#[test]
fn an_interface_that_is_not_there_is_a_sentence() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [0, 1].map(|pod| lab.node_of(&lab.pods[pod]));
    let xdp = format!("--xdp={},lo,nobody9", near.uplink);
    let (tracer, started) = follow(&lab, pods, &xdp, &[])?;
    let warnings = started["warnings"].to_string();
    for sentence in [
        "XDP at nobody9 is not observed: there is no such interface",
        "XDP at lo is not observed: the follow does not observe that interface",
    ] {
        assert!(warnings.contains(sentence), "{warnings}");
    }
    assert!(xdp_of(near)?.is_some());
    assert_eq!(xdp_of(far)?.is_some(), far.uplink == near.uplink);
    tracer.stop()?;
    // The driver of this device has no XDP, and the message names the mode that works.
    let xdp = format!("--xdp={}", far.overlay);
    let (tracer, started) = follow(&lab, pods, &xdp, &[])?;
    let warnings = started["warnings"].to_string();
    assert!(warnings.contains("--xdp-mode generic"), "{warnings}");
    tracer.stop()?;
    let (mut tracer, started) = follow(&lab, pods, &xdp, &["--xdp-mode", "generic"])?;
    let points = started["points"].as_array().context("points")?;
    let generic = points.iter().filter(|point| point["hook"] == "xdp-generic");
    assert!(generic.count() > 0, "{started:#}");
    let flow = Flow::new(pods[0], pods[1]);
    assert!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    let journeys = settled(&mut tracer, &flow, 1201)?;
    let at_overlay = journeys.iter().filter(|journey| {
        let hops = journey["hops"].as_array().into_iter().flatten();
        hops.into_iter().any(|hop| hop["hook"] == "xdp-generic")
    });
    assert!(at_overlay.count() >= 5);
    let finished: Finished = tracer.stop()?;
    check_balance(&finished.summary);
    Ok(())
}

/// A packet that the wire loses is lost before XDP if that is observed, and otherwise before tc.
/// Earlier packets have arrived on both nodes.
#[test]
fn what_the_wire_loses_is_lost_up_to_xdp() -> Result<()> {
    const COUNT: u64 = 20;

    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = pods.map(|pod| lab.node_of(pod));
    // A foreign program keeps tracer's from the near node's XDP.
    let _attached = idle(Hook::Xdp).attach(&near.netns, &near.uplink)?;
    let more = ["--hold", "1s", "--proto", "icmp"];
    let (mut tracer, _) = follow(&lab, pods, "--xdp", &more)?;
    let [there, back] = [[0, 1], [1, 0]].map(|[from, to]| Flow::new(pods[from], pods[to]));
    for flow in [&there, &back] {
        assert!(flow.ping(COUNT, Duration::from_millis(2))?.is_complete());
    }
    // The rule drops only tunnel packets: a failing ARP would be another cause.
    let nothing = format!(
        "table bridge somebody {{ chain forward {{ type filter hook forward priority 0; \
         udp dport {} drop\n}}\n}}\n",
        lab.port
    );
    lab.middle.batch("nft -f -", &nothing)?;
    for flow in [&there, &back] {
        assert_eq!(flow.ping(COUNT, Duration::from_millis(2))?.received, 0);
    }
    let is_lost = |value: &Value| value["verdict"]["kind"] == "lost";
    let mut left = 2 * COUNT;
    let last = |value: &Value| {
        left -= u64::from(is_lost(value));
        left == 0
    };
    tracer.wait_for(last, LIMIT)?;
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    let journeys = &finished.summary["journeys"];
    assert_eq!(journeys["delivered"], 4 * COUNT, "{journeys}");
    assert_eq!(journeys["lost"], 2 * COUNT, "{journeys}");
    for journey in finished.journeys.iter().filter(|one| is_lost(one)) {
        let missing = evidence(journey, "missing").next().context("missing")?;
        assert_eq!(missing["leg"], "wire", "{journey:#}");
        let to = missing["to"].as_array().context("points")?;
        assert_eq!(to.len(), 1, "{journey:#}");
        let from_near = missing["from"]["node"] == *near.name;
        let node = if from_near { far } else { near };
        assert_eq!(to[0]["node"], *node.name, "{journey:#}");
        assert_eq!(is_at_xdp(&to[0]), from_near, "{journey:#}");
    }
    Ok(())
}
