//! Faults that come and go, missing agents, and lost events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::Wiring;
use tracer_tests::faults::{Fault, Sender, Stage, Traffic, all};
use tracer_tests::program::{LIMIT, Tracer, is, tracer};
use tracer_tests::traffic::Flow;

use crate::cases::chosen;
use crate::journeys::{follow, take};
use crate::watch::name;

fn fault(name: &str) -> Result<Fault> {
    let found = all().into_iter().find(|fault| fault.name == name);
    found.with_context(|| format!("there is no fault {name}"))
}

/// Sends ten datagrams from *a* to *b*, and returns their journeys.
fn ten(stage: &Stage, tracer: &mut Tracer) -> Result<Vec<Value>> {
    let mut sender = Sender::new(stage, Traffic::datagrams())?;
    let sent = sender.send()?.packets;
    take(tracer, sent, |packet| packet["dst_port"] == sender.port())
}

/// Waits until packets get from *a* to *b* again. A child of another thread may have inherited the
/// descriptor that keeps a program attached, until the child executes its own program.
fn let_through(stage: &Stage) -> Result<()> {
    let flow = Flow::new(stage.a(), stage.b()).v6(stage.v6);
    let deadline = Instant::now() + LIMIT;
    while !flow.ping(1, Duration::ZERO)?.is_complete() {
        ensure!(
            Instant::now() < deadline,
            "it is mended, but nothing arrives"
        );
    }
    Ok(())
}

fn assert_all(journeys: &[Value], kind: &str) {
    for journey in journeys {
        assert_eq!(journey["verdict"]["kind"], kind, "{journey:#}");
    }
}

#[test]
fn faults_that_come_and_go() -> Result<()> {
    let all = Wiring::all_here()?;
    let cases = [
        ("blackhole-route", "dropped"),
        ("no-fdb-entry", "dropped"),
        ("nft-forward-far-drop", "dropped"),
        ("bridge-port-blocked-far", "dropped"),
        ("tcx-ingress-near", "dropped"),
        ("middle-loses-all", "lost"),
        ("nft-input-b-drop", "dropped"),
    ];
    for (number, (name, kind)) in cases.into_iter().enumerate() {
        let fault = fault(name)?;
        let mut made = Vec::new();
        for v6 in [false, true] {
            let wirings = chosen(number, &fault, v6, &all)?;
            made.extend(wirings.into_iter().map(|wiring| (wiring, v6)));
        }
        for (wiring, v6) in made {
            let stage = fault.stage(wiring, v6)?;
            let mut tracer = follow(&stage.lab, [stage.a(), stage.b()], &["--hold", "1s"])?;
            assert_all(&ten(&stage, &mut tracer)?, "delivered");
            fault.make(&stage)?;
            assert_all(&ten(&stage, &mut tracer)?, kind);
            assert!(fault.mend(&stage)?, "{name} can be mended");
            let_through(&stage)?;
            assert_all(&ten(&stage, &mut tracer)?, "delivered");
        }
    }
    Ok(())
}

#[test]
fn without_an_agent_on_the_receiving_node_it_only_left() -> Result<()> {
    let fault = fault("nft-forward-far-drop")?;
    let stage = fault.stage(Wiring::Flannel, false)?;
    let mut command = tracer(["follow", "-o", "json", "--hold", "1s"])?;
    // The arguments are the inventory and the first node's agent.
    command.args(stage.lab.agent_args()?.into_iter().take(4));
    command.args(["--src-pod", &name(stage.a()), "--dst-pod", &name(stage.b())]);
    let mut tracer = Tracer::start(&mut command)?;
    tracer.wait_started(LIMIT)?;
    fault.make(&stage)?;
    assert_all(&ten(&stage, &mut tracer)?, "left");
    Ok(())
}

#[test]
fn while_events_are_lost_only_what_was_seen_is_said() -> Result<()> {
    // A loss on the wire stays unseen. Of a kernel's drops, the event may be seen.
    for (name, honest) in [
        ("middle-loses-all", &["unknown"][..]),
        ("nft-forward-far-drop", &["unknown", "dropped"]),
    ] {
        let fault = fault(name)?;
        let stage = fault.stage(Wiring::Flannel, false)?;
        let small = ["--hold", "1s", "--ring-size", "4KiB"];
        let mut tracer = follow(&stage.lab, [stage.a(), stage.b()], &small)?;
        fault.make(&stage)?;
        let mut flood = Sender::new(&stage, Traffic::flood())?;
        flood.send()?;
        let lost = |value: &Value| {
            is(value, "tracer.journey/2") && value["verdict"]["cause"] == "events-lost"
        };
        tracer.wait_for(lost, LIMIT)?;
        let finished = tracer.stop()?;
        let lost = finished.summary["accounting"]["lost"].as_u64();
        assert!(lost > Some(0), "{:#}", finished.summary);
        let flooded = |journey: &&Value| journey["packet"]["dst_port"] == flood.port();
        let flooded: Vec<&Value> = finished.journeys.iter().filter(flooded).collect();
        assert!(!flooded.is_empty(), "{name}: none of the flood is told of");
        for journey in flooded {
            let kind = journey["verdict"]["kind"].as_str();
            let kind = kind.with_context(|| format!("{journey:#}"))?;
            assert!(honest.contains(&kind), "{name}: {journey:#}");
        }
    }
    Ok(())
}

/// Packets that the beginning or the end of the follow cuts off get no guessed verdict. All others
/// get the right one.
#[test]
fn begun_and_ended_in_the_middle_of_a_fault() -> Result<()> {
    for (name, kind) in [
        ("middle-loses-all", "lost"),
        ("nft-forward-far-drop", "dropped"),
        // The drop is after the last point, so only its event shows it.
        ("nft-input-b-drop", "dropped"),
    ] {
        let fault = fault(name)?;
        let stage = fault.stage(Wiring::Flannel, false)?;
        fault.make(&stage)?;
        // The other packets prove that the far node's programs work.
        let flows = [
            Flow::new(stage.a(), stage.b()),
            Flow::new(stage.a2(), stage.b2()),
        ];
        let pinging = flows.map(|flow| flow.keep_pinging());
        let mut tracer = follow(&stage.lab, [stage.a(), stage.b()], &["--hold", "300ms"])?;
        let is_ping = |journey: &Value| journey["packet"]["proto"] == "icmp";
        let told = |value: &Value| is_ping(value) && value["verdict"]["kind"] == kind;
        tracer.wait_for(told, LIMIT)?;
        let journeys = tracer.stop()?.journeys;
        for pings in pinging {
            pings.stop()?;
        }
        for journey in journeys.iter().filter(|journey| is_ping(journey)) {
            let verdict = &journey["verdict"];
            let honest = verdict["kind"] == kind
                || verdict["cause"] == "before-start"
                || verdict["cause"] == "still-open";
            assert!(honest, "{name}: {journey:#}");
        }
    }
    Ok(())
}

#[test]
fn what_is_expected_decides_the_exit_code() -> Result<()> {
    let fault = fault("nft-forward-far-drop")?;
    let stage = fault.stage(Wiring::Flannel, false)?;
    let expect = ["--hold", "1s", "--count", "10", "--expect", "delivered"];
    for (broken, code) in [(false, 0), (true, 3)] {
        if broken {
            fault.make(&stage)?;
        }
        let tracer = follow(&stage.lab, [stage.a(), stage.b()], &expect)?;
        Sender::new(&stage, Traffic::datagrams())?.send()?;
        let finished = tracer.finish(LIMIT)?;
        assert_eq!(finished.status.code(), Some(code), "{}", finished.stderr);
        let told = finished
            .stderr
            .contains("expected delivered, but: 10 dropped");
        assert_eq!(told, broken, "{}", finished.stderr);
    }
    Ok(())
}
