//! Faults between two machines, each with its own kernel: the verdicts are the same as on one
//! kernel. `cargo xtask machines` starts the machines.
//!
//! One follow sees all faults, one after the other, because agents start slowly where old kernels'
//! verifiers are emulated. The port tells which fault a packet has met.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    Machines, Tracer, Tunnel,
    faults::{Fault, Stage, Table, group},
    program::LIMIT,
    traffic::{Flow, apart::send_datagrams},
};

use crate::{
    cases::Case,
    journeys::{follow, judge, take},
};

/// The number of datagrams for each fault.
const COUNT: usize = 10;
/// The first destination port. Each fault has the next one.
const PORT: u16 = 7000;

/// The groups and names of the faults.
const EACH: [(&str, &str); 8] = [
    ("routes", "blackhole-route"),
    ("filters", "nft-forward-near-drop"),
    ("filters", "nft-forward-far-drop"),
    ("filters", "nft-input-b-drop"),
    ("filters", "nft-outer-ingress-far-drop"),
    ("neighbours", "no-fdb-entry"),
    ("sockets", "udp-no-listener"),
    ("middle", "middle-loses-one-direction"),
];

/// Faults that cannot be undone; the first is over VXLAN, and the second over IP-in-IP.
const AT_LAST: [(&str, &str); 2] = [("neighbours", "wrong-vni"), ("devices", "pod-gone")];

fn fault(group_name: &str, name: &str) -> Result<Fault> {
    let found = group(group_name).into_iter().find(|one| one.name == name);
    found.with_context(|| format!("there is no fault {name}"))
}

/// Compares the journeys with the table of the kernel that the fault affects.
fn check(stage: &Stage, group: &str, fault: &Fault, journeys: &[Value]) -> Result<()> {
    let wiring = stage.lab.wiring;
    let of = |node: usize| -> Result<_> {
        let machine = stage.lab.nodes[node].netns.machine.as_ref();
        let table = Table::of(machine.context("a machine")?.release())?;
        table.expect(&fault.name, false, wiring)
    };
    let node = of(0)?.drop.map_or(1, |place| place.node);
    let case = Case {
        group,
        fault,
        expected: &of(node)?,
        stage,
    };
    // An interrupt during the program on `kfree_skb` makes the kernel skip the program, which is
    // frequent on an emulated processor. Then the verdict is unknown, and says so.
    let missed = |journey: &&Value| journey["verdict"]["cause"] == "events-lost";
    let told: Vec<&Value> = journeys.iter().filter(|one| !missed(one)).collect();
    ensure!(!told.is_empty(), "events of all of them were missed");
    told.iter().try_for_each(|journey| judge(&case, journey))?;
    let first = &case.expected.verdicts[0];
    let is_first = |journey: &&Value| journey["verdict"]["kind"] == **first;
    ensure!(
        case.expected.may_be_unknown || told.iter().any(is_first),
        "none is {first}"
    );
    Ok(())
}

/// Waits until traffic is complete after a fault was undone.
fn until_whole(flow: &Flow) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !flow.ping(1, Duration::from_millis(100))?.is_complete() {
        ensure!(Instant::now() < deadline, "it is not mended");
    }
    Ok(())
}

/// Makes a fault, and returns the journeys of the packets that meet it.
fn meet(
    machines: &Machines,
    stage: &Stage,
    fault: &Fault,
    tracer: &mut Tracer,
    port: u16,
) -> Result<Vec<Value>> {
    let is_wire = fault.name.starts_with("middle-");
    if is_wire {
        machines.near().swallow(true)?;
    } else {
        fault.make(stage)?;
    }
    let sent = send_datagrams(stage.a(), (stage.b(), port), COUNT as u64, 100)?;
    if is_wire {
        // Packets from the far node show that its uplink is observed.
        send_datagrams(stage.b2(), (stage.a2(), port), COUNT as u64, 100)?;
    }
    // A sender that a rule or an ICMP error informs sends fewer packets.
    let sent = usize::try_from(sent)?;
    ensure!(sent > 0, "nothing was sent");
    let journeys = take(tracer, sent, |packet| packet["dst_port"] == port)?;
    if is_wire {
        machines.near().swallow(false)?;
    } else {
        fault.mend(stage)?;
    }
    Ok(journeys)
}

#[test]
fn each_fault_is_told_as_on_one_kernel() -> Result<()> {
    let machines = Machines::up()?;
    let stage = Stage::on(machines.lab()?, false);
    let flow = Flow::new(stage.a(), stage.b());
    until_whole(&flow)?;
    let more = ["--explain", "--hold", "2s"];
    let mut tracer = follow(&stage.lab, [stage.a(), stage.b()], &more)?;
    let mut wrong = Vec::new();
    for (number, (group, name)) in (0..).zip(EACH) {
        let fault = fault(group, name)?;
        if !fault.fits(stage.lab.wiring, false) {
            continue;
        }
        let begun = Instant::now();
        let journeys = meet(&machines, &stage, &fault, &mut tracer, PORT + number)
            .with_context(|| name.to_owned())?;
        if let Err(error) = check(&stage, group, &fault, &journeys) {
            wrong.push(format!("{name}: {error:#}"));
        }
        until_whole(&flow).with_context(|| format!("after {name}"))?;
        eprintln!("{name}: {:?}", begun.elapsed());
    }
    let ended = tracer.stop()?;
    ensure!(ended.status.code() == Some(0), "{}", ended.stderr);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The name of this test makes it the last one, because it changes pods and devices for good.
#[test]
fn what_is_made_anew_or_gone_is_told_as_on_one_kernel() -> Result<()> {
    let machines = Machines::up()?;
    let stage = Stage::on(machines.lab()?, false);
    let flow = Flow::new(stage.a(), stage.b());
    for (number, (group, name)) in (0..).zip(AT_LAST) {
        let fault = fault(group, name)?;
        let over_vxlan = stage.lab.wiring.tunnel() == Some(Tunnel::Vxlan);
        if over_vxlan != (name == "wrong-vni") {
            continue;
        }
        until_whole(&flow).with_context(|| format!("before {name}"))?;
        // A fault that replaces a device comes before the follow.
        let before = name == "wrong-vni";
        if before {
            fault.make(&stage)?;
        }
        let hold = format!("{}ms", fault.hold.as_millis());
        let more = ["--explain", "--hold", &hold];
        let mut tracer = follow(&stage.lab, [stage.a(), stage.b()], &more)?;
        if !before {
            fault.make(&stage)?;
        }
        let port = PORT + 100 + number;
        let sent = send_datagrams(stage.a(), (stage.b(), port), COUNT as u64, 100)?;
        let sent = usize::try_from(sent)?;
        let journeys = take(&mut tracer, sent, |packet| packet["dst_port"] == port)?;
        check(&stage, group, &fault, &journeys).with_context(|| name.to_owned())?;
        tracer.stop()?;
        fault.mend(&stage)?;
    }
    Ok(())
}
