//! Pods that restart, devices that are replaced, and unrelated interfaces that come and go, during
//! a follow.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Wiring,
    program::{LIMIT, Tracer, is},
    traffic::{Flow, Tally},
};

use crate::expected::{check_balance, check_clean, is_neighbour, pod, seen};

/// The time within which a new interface must be observed, on a machine that is busy with other
/// tests. An idle machine takes a tenth of a second.
const SOON: Duration = Duration::from_secs(5);

/// One wiring with a bridge, and one without.
const WIRINGS: [Wiring; 2] = [Wiring::Flannel, Wiring::CalicoVxlan];

pub(crate) fn lab(wiring: Wiring) -> Result<Lab> {
    Lab::new(&LabSpec {
        wiring,
        ..LabSpec::default()
    })
}

pub(crate) fn follow(lab: &Lab, more: &[&str]) -> Result<Tracer> {
    let [a, b] = [0, 1].map(|index| pod(&lab.pods[index]));
    let args = ["--src-pod", &a, "--dst-pod", &b, "--hold", "500ms"];
    let mut tracer = Tracer::follow(lab, args.iter().chain(more))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// Waits until tracer reports that an interface of a node is observed or, if `gone`, is no longer
/// observed.
fn wait_told(tracer: &mut Tracer, gone: bool, interface: &str) -> Result<()> {
    let key = if gone { "gone" } else { "points" };
    let among = |value: &Value| {
        let points = value[key].as_array();
        let mut points = points.into_iter().flatten();
        is(value, "tracer.points/1")
            && points.any(|point| point["interface"] == *interface && point["netns"] == "host")
    };
    tracer.wait_for(among, SOON).map(drop)
}

/// Waits until a packet was delivered over a pod's interface.
fn wait_delivered(tracer: &mut Tracer, to: &Pod) -> Result<()> {
    let arrived = |value: &Value| {
        is(value, "tracer.journey/2")
            && value["packet"]["dst"] == to.v4.to_string()
            && value["verdict"]["kind"] == "delivered"
            && seen(value)
                .iter()
                .any(|(_, interface, _)| *interface == to.veth)
    };
    tracer.wait_for(arrived, SOON).map(drop)
}

/// Waits until drops are watched where a flow's packets arrive. tracer may find a pod's interface
/// by its MAC address before the pod has its address, by which tracer finds the pod's namespace.
fn wait_watched(tracer: &mut Tracer, flow: &Flow) -> Result<()> {
    let end = Instant::now() + SOON;
    let mut last = 0;
    loop {
        assert!(flow.udp_send(1, 111)?.is_complete());
        let arrived =
            |value: &Value| value["packet"]["len"] == 111 + 28 && value["id"].as_u64() > Some(last);
        let journey = tracer.wait_for(arrived, LIMIT)?;
        let text = journey["verdict"]["text"].as_str().expect("text");
        if !text.contains("does not see drops") {
            return Ok(());
        }
        last = journey["id"].as_u64().unwrap_or(last);
        ensure!(Instant::now() < end, "its drops are: {journey:#}");
    }
}

/// Checks the verdicts on packets while a pod restarts or a device is replaced. No verdict may rest
/// on unseen packets, with one exception: a ping may have reached its pod without an answer,
/// because a pod may get packets before it has a route. As many of these verdicts are right as
/// `pings` got no answer.
fn check_honest(journeys: &[Value], pings: Tally) {
    let mut unanswered = HashSet::new();
    for journey in journeys {
        check_one_honest(journey);
        if journey["verdict"]["kind"] == "unanswered" {
            let hops = seen(journey);
            let (_, _, direction) = hops.last().expect("a hop");
            let is_request = [8, 128]
                .iter()
                .any(|kind| journey["packet"]["icmp"]["type"] == *kind);
            assert!(is_request && *direction == "egress", "{journey:#}");
            unanswered.insert(journey["id"].as_u64().expect("a number"));
        }
    }
    // An answer after the hold time is not a missing answer.
    for journey in journeys {
        if let Some(question) = journey["answers"].as_u64() {
            unanswered.remove(&question);
        }
    }
    let missing = pings.sent - pings.received;
    assert!(
        unanswered.len() as u64 <= missing,
        "{pings:?}, but these are called unanswered: {unanswered:?}"
    );
}

fn check_one_honest(journey: &Value) {
    let verdict = &journey["verdict"];
    let kinds = ["delivered", "dropped", "refused", "unanswered", "unknown"];
    assert!(
        kinds.iter().any(|kind| verdict["kind"] == *kind),
        "{journey:#}"
    );
    // An answered packet has arrived, wherever it was seen last.
    let answered = journey["answered_by"].is_u64();
    if verdict["kind"] == "delivered" && !answered && !is_neighbour(journey) {
        let hops = seen(journey);
        let (_, _, direction) = hops.last().expect("a hop");
        assert_eq!(*direction, "egress", "{journey:#}");
    }
}

/// One of the two pods restarts while the other one pings it.
fn restarts(wiring: Wiring, restarted: usize, renamed: bool) -> Result<()> {
    let mut lab = lab(wiring)?;
    let mut tracer = follow(&lab, &[])?;
    let pings = Flow::new(&lab.pods[1 - restarted], &lab.pods[restarted]);
    let pinging = pings.keep_pinging();
    let old = lab.pods[restarted].clone();
    wait_delivered(&mut tracer, &old)?;
    lab.end_pod(restarted)?;
    wait_told(&mut tracer, true, &old.veth)?;
    let before = tracer.take_journeys();
    if renamed {
        lab.rename_pod(restarted);
    }
    let begun = Instant::now();
    lab.begin_pod(restarted)?;
    let made = begun.elapsed();
    let new = lab.pods[restarted].clone();
    wait_told(&mut tracer, false, &new.veth)?;
    let observed = begun.elapsed();
    wait_delivered(&mut tracer, &new)?;
    eprintln!(
        "{wiring:?}: made in {made:?}, observed after {observed:?}, delivered after {:?}",
        begun.elapsed()
    );
    let tally = pinging.stop()?;
    assert!(
        !tally.is_complete(),
        "{tally:?}: there was nobody meanwhile"
    );
    // From here on, the network has no fault.
    lab.ready()?;
    wait_watched(&mut tracer, &pings)?;
    let between = tracer.take_journeys();
    let clean = pings.udp_send(50, 333)?;
    assert!(clean.is_complete(), "{clean:?}");
    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);

    let all = [before, between, finished.journeys.clone()].concat();
    check_honest(&all, tally);
    let after: Vec<&Value> = finished
        .journeys
        .iter()
        .filter(|journey| journey["packet"]["len"] == 361)
        .collect();
    assert_eq!(after.len(), 50, "all datagrams");
    for journey in after {
        let pods = [0, 1].map(|index| &lab.pods[index]);
        check_clean(&lab, pods, journey);
        let text = journey["verdict"]["text"].as_str().expect("text");
        assert!(
            !text.contains("does not see drops"),
            "its drops are: {journey:#}"
        );
    }
    check_accounting(&finished.summary);
    Ok(())
}

/// Checks that nothing was lost. Packets that a node held while it asked for the pod may come after
/// the hold time.
pub(crate) fn check_accounting(summary: &Value) {
    let accounting = &summary["accounting"];
    assert_eq!(accounting["balances"], true, "{accounting}");
    assert_eq!(accounting["lost"], 0, "{accounting}");
}

#[test]
fn the_destination_restarts() -> Result<()> {
    WIRINGS
        .into_iter()
        .try_for_each(|wiring| restarts(wiring, 1, true))
}

#[test]
fn the_source_restarts() -> Result<()> {
    WIRINGS
        .into_iter()
        .try_for_each(|wiring| restarts(wiring, 0, true))
}

#[test]
fn under_the_same_names_again() -> Result<()> {
    WIRINGS
        .into_iter()
        .try_for_each(|wiring| restarts(wiring, 1, false))
}

/// A daemon that starts with another setting replaces its tunnel device.
#[test]
fn the_tunnel_is_made_anew() -> Result<()> {
    for wiring in WIRINGS {
        let lab = lab(wiring)?;
        let mut tracer = follow(&lab, &[])?;
        let pods = [&lab.pods[0], &lab.pods[1]];
        let flow = Flow::new(pods[0], pods[1]);
        let pinging = flow.keep_pinging();
        wait_delivered(&mut tracer, pods[1])?;
        let overlay = &lab.nodes[1].overlay;
        lab.end_overlay(1)?;
        wait_told(&mut tracer, true, overlay)?;
        lab.begin_overlay(1)?;
        wait_told(&mut tracer, false, overlay)?;
        let tally = pinging.stop()?;
        lab.ready()?;
        let before = tracer.take_journeys();
        let clean = flow.udp_send(50, 333)?;
        assert!(clean.is_complete(), "{clean:?}");
        let finished = tracer.stop()?;
        let all = [before, finished.journeys.clone()].concat();
        check_honest(&all, tally);
        let after = finished.journeys.iter();
        let after: Vec<&Value> = after
            .filter(|journey| journey["packet"]["len"] == 361)
            .collect();
        assert_eq!(after.len(), 50, "all datagrams");
        for journey in after {
            check_clean(&lab, pods, journey);
        }
        check_accounting(&finished.summary);
    }
    Ok(())
}

/// The programs know only the ports from the start.
#[test]
fn a_tunnel_with_another_port_is_said() -> Result<()> {
    let lab = lab(Wiring::Flannel)?;
    let mut tracer = follow(&lab, &[])?;
    let device = "ip link add name other type vxlan id 7 dstport 4000";
    lab.nodes[1].netns.run(device)?;
    let said = |value: &Value| {
        is(value, "tracer.points/1") && value["warnings"].to_string().contains("port 4000")
    };
    let said = tracer.wait_for(said, SOON)?;
    assert_eq!(said["points"], Value::Array(Vec::new()), "{said:#}");
    Ok(())
}

/// The pod's own interface is observed again, and so are the pod's drops.
#[test]
fn inside_a_pod_that_restarts() -> Result<()> {
    let mut lab = lab(Wiring::Flannel)?;
    let mut tracer = follow(&lab, &["--pod-interfaces"])?;
    let old = lab.pods[1].clone();
    let flow = Flow::new(&lab.pods[0], &old);
    assert!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    lab.end_pod(1)?;
    wait_told(&mut tracer, true, &old.veth)?;
    lab.rename_pod(1);
    lab.begin_pod(1)?;
    let name = pod(&old);
    let inside = |value: &Value| {
        let points = value["points"].as_array().into_iter().flatten();
        is(value, "tracer.points/1") && points.into_iter().any(|point| point["netns"] == *name)
    };
    tracer.wait_for(inside, SOON)?;
    lab.ready()?;
    tracer.take_journeys();
    assert!(flow.udp_send(20, 333)?.is_complete());
    let nobody = format!("echo > /dev/udp/{}/9", old.v4);
    lab.pods[0].netns.batch("bash", &nobody)?;
    let refused = |value: &Value| value["verdict"]["drop"].is_object();
    let refused = tracer.wait_for(refused, LIMIT)?;
    assert_eq!(refused["verdict"]["drop"]["netns"], *name, "{refused:#}");
    assert_eq!(refused["verdict"]["kind"], "refused", "{refused:#}");
    let finished = tracer.stop()?;
    let marked = finished.journeys.iter();
    let marked: Vec<&Value> = marked
        .filter(|journey| journey["packet"]["len"] == 361)
        .collect();
    assert_eq!(marked.len(), 20);
    for journey in marked {
        let verdict = &journey["verdict"];
        assert_eq!(verdict["confidence"], "confirmed", "{journey:#}");
        let hops = journey["hops"].as_array().expect("hops");
        assert_eq!(hops.len(), 10, "{journey:#}");
        assert_eq!(hops[9]["netns"], *name, "{journey:#}");
    }
    check_balance(&finished.summary);
    Ok(())
}

/// A busy node: unrelated interfaces come and go beside the followed flow.
#[test]
fn a_hundred_strangers_come_and_go() -> Result<()> {
    let lab = lab(Wiring::Flannel)?;
    let mut tracer = follow(&lab, &[])?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let pinging = Flow::new(pods[0], pods[1]).keep_pinging();
    wait_delivered(&mut tracer, pods[1])?;
    lab.strangers(1, 100)?;
    assert!(pinging.stop()?.is_complete());
    let finished = tracer.stop()?;
    for journey in &finished.journeys {
        let open = journey["verdict"]["cause"] == "still-open";
        if !open && !is_neighbour(journey) {
            check_clean(&lab, pods, journey);
        }
    }
    check_balance(&finished.summary);
    Ok(())
}

/// The pod that the owner starts instead may be anywhere. Only new cluster objects would tell.
#[test]
fn a_pod_that_stays_away_is_said_to_be_gone() -> Result<()> {
    let lab = lab(Wiring::Flannel)?;
    let mut tracer = follow(&lab, &[])?;
    let (gone, node) = (&lab.pods[1], &lab.nodes[1]);
    lab.end_pod(1)?;
    let beginning = format!("pod {} ({}", pod(gone), gone.v4);
    let rest = format!(
        ") is gone from {}: a pod that its owner starts instead has another address and is not \
         followed; start again with new cluster objects to follow that one",
        node.name
    );
    let is_told = |value: &Value| {
        let warnings = value["warnings"].as_array().into_iter().flatten();
        let mut warnings = warnings.filter_map(Value::as_str);
        is(value, "tracer.points/1")
            && warnings.any(|one| one.starts_with(&beginning) && one.ends_with(&rest))
    };
    tracer.wait_for(is_told, LIMIT)?;
    lab.begin_pod(1)?;
    wait_told(&mut tracer, false, &gone.veth)?;
    ensure!(tracer.stop()?.status.code() == Some(4), "nothing was sent");
    Ok(())
}
