//! Foreign programs that are attached to tc during a follow.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tracer_tests::{
    Node, Wiring,
    bpf::{Fate, Hook, NAME, Program},
    program::{LIMIT, Tracer, binary, is},
    rights::{CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYSLOG, with_only},
    traffic::Flow,
};

use crate::{
    expected::{is_neighbour, pod},
    restarts::{check_accounting, follow, lab},
};

/// A program for an address that no device has. It is the first program at the egress.
const SOMEBODYS: Program = Program {
    hook: Hook::TcxEgress,
    to: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
    shift: 0,
    fate: Fate::Dropped,
    first: true,
};

/// Waits until tracer reports this number of foreign programs at the egress of a node's uplink, and
/// no other difference.
fn wait_for_others(tracer: &mut Tracer, node: &Node, others: usize) -> Result<Value> {
    let is_place = |point: &Value| {
        point["node"] == *node.name
            && point["interface"] == *node.uplink
            && point["direction"] == "egress"
    };
    let of_place = |value: &Value| {
        let mut points = value["points"].as_array().into_iter().flatten();
        is(value, "tracer.points/1")
            && points.any(|point| {
                let there = point["foreign"].as_array().map(Vec::len);
                is_place(point) && there == Some(others)
            })
    };
    let changed = tracer.wait_for(of_place, LIMIT)?;
    assert_eq!(changed["points"].as_array().map(Vec::len), Some(1));
    let gone = changed["gone"].as_array().expect("a list");
    assert!(gone.len() == 1 && is_place(&gone[0]), "{changed:#}");
    Ok(changed)
}

/// The kernel tells nobody that a program was attached. tracer asks some seconds after a change of
/// the network.
#[test]
fn programs_of_others_that_come_and_go_are_told() -> Result<()> {
    let lab = lab(Wiring::Flannel)?;
    let near = &lab.nodes[0];
    let mut tracer = follow(&lab, &[])?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping(10, Duration::from_millis(2))?.is_complete());
    let attached = SOMEBODYS.attach(&near.netns, &near.uplink)?;
    lab.strangers(0, 1)?;
    let changed = wait_for_others(&mut tracer, near, 1)?;
    let warning = format!("tc at {} egress: {NAME} (program ", near.uplink);
    let warnings = changed["warnings"].as_array().expect("a list");
    assert!(
        warnings.len() == 1
            && warnings[0]
                .as_str()
                .is_some_and(|one| one.starts_with(&warning)),
        "{changed:#}"
    );
    assert!(flow.ping(10, Duration::from_millis(2))?.is_complete());

    drop(attached);
    lab.strangers(0, 1)?;
    let changed = wait_for_others(&mut tracer, near, 0)?;
    let warning = format!(
        "tc at {} egress: no other program is there any more",
        near.uplink
    );
    assert_eq!(changed["warnings"], json!([warning]));
    assert!(flow.ping(10, Duration::from_millis(2))?.is_complete());
    let finished = tracer.stop()?;
    check_accounting(&finished.summary);
    let journeys = finished.journeys.iter().filter(|one| !is_neighbour(one));
    let mut count = 0;
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        count += 1;
    }
    assert_eq!(count, 60, "questions and answers");
    Ok(())
}

/// Without CAP_SYS_ADMIN, the kernel tells no names, by which tracer knows its own programs.
#[test]
fn without_names_its_own_programs_are_no_others() -> Result<()> {
    let lab = lab(Wiring::Flannel)?;
    let near = &lab.nodes[0];
    let program = binary()?;
    let mut command = near
        .netns
        .command(program.to_str().context("its path is text")?);
    command.args(["follow", "-o", "json", "--inventory"]);
    command.arg(lab.write_objects()?);
    command.args(["--agent", &format!("{}=local", near.name)]);
    let [a, b] = [0, 1].map(|index| pod(&lab.pods[index]));
    command.args(["--src-pod", &a, "--dst-pod", &b]);
    let rights = [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYSLOG];
    let mut tracer = Tracer::start(with_only(&mut command, &rights))?;
    tracer.wait_started(LIMIT)?;
    let _attached = SOMEBODYS.attach(&near.netns, &near.uplink)?;
    lab.strangers(0, 1)?;
    let changed = wait_for_others(&mut tracer, near, 1)?;
    let told = changed["warnings"][0].as_str().context("a warning")?;
    assert!(!told.contains(NAME), "{told}");
    tracer.stop()?;
    Ok(())
}
