//! A follow between two machines, each with its own kernel and clock, and with its agent behind a
//! serial line. `cargo xtask machines` starts the machines.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Machines, Tracer,
    program::{LIMIT, is},
    traffic::{Flow, packets_from_environment},
};

use crate::{
    expected::{check_balance, check_clean, is_before_start, is_neighbour, pod},
    many::many_packets,
};

/// The least number of packets, unless `TRACER_PACKETS` is set.
const FEW: u64 = 2_000;

/// The first test sends one packet of each kind, so problems of the machines show here.
#[test]
fn a_few_packets_are_followed_over_two_kernels() -> Result<()> {
    let lab = Machines::up()?.lab()?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let follow = ["--hold", "1s", "--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let begun = Instant::now();
    let mut tracer = Tracer::follow(&lab, follow)?;
    tracer.wait_started(LIMIT)?;
    eprintln!("started after {:?}", begun.elapsed());
    let flow = Flow::new(a, b);
    assert!(flow.ping(10, Duration::from_millis(50))?.is_complete());
    assert!(flow.udp_exchange(10, 300)?.is_complete());
    assert!(flow.tcp_connects(5)?.is_complete());
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for journey in &ended.journeys {
        check_clean(&lab, [a, b], journey);
    }
    let of = |proto: &str| {
        let is = |journey: &&Value| journey["packet"]["proto"] == proto;
        ended.journeys.iter().filter(is).count()
    };
    assert_eq!(of("icmp"), 20, "{}", ended.stderr);
    assert_eq!(of("udp"), 20, "{}", ended.stderr);
    check_balance(&ended.summary);
    // The legs between the two kernels are marked.
    let legs = ended.summary["latency"].as_array().context("legs")?;
    let crossing = |leg: &&Value| leg["from"]["node"] != leg["to"]["node"];
    assert!(legs.iter().any(|leg| crossing(&leg)), "{legs:#?}");
    for leg in legs {
        assert_eq!(leg["one_clock"], !crossing(&leg), "{leg:#}");
    }
    Ok(())
}

#[test]
fn many_packets_all_arrive() -> Result<()> {
    let lab = Machines::up()?.lab()?;
    let enough = packets_from_environment()?.map_or(FEW, u64::from);
    many_packets(&lab, [&lab.pods[0], &lab.pods[2]], enough)
}

/// The machine's clock has stood still, so the follow's estimate is no longer true.
#[test]
fn a_machine_that_stood_still_is_noticed() -> Result<()> {
    /// A pause that is longer than any clock bound, and shorter than any time limit.
    const PAUSE: Duration = Duration::from_secs(4);

    let machines = Machines::up()?;
    let lab = machines.lab()?;
    let [a, b] = [&lab.pods[0], &lab.pods[2]];
    let follow = ["--hold", "1s", "--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let mut tracer = Tracer::follow(&lab, follow)?;
    tracer.wait_started(LIMIT)?;
    let flow = Flow::new(a, b);
    let interval = Duration::from_millis(200);
    assert!(flow.ping(5, interval)?.is_complete());
    let far = machines.far();
    let meanwhile = flow.clone();
    thread::scope(|scope| -> Result<()> {
        let pings = scope.spawn(move || meanwhile.ping(10, interval));
        far.pause()?;
        thread::sleep(PAUSE);
        far.resume()?;
        pings.join().expect("no panic").map(drop)
    })?;
    let node = &lab.nodes[1].name;
    let gone = format!("lost the agent of {node};");
    tracer.wait_for_stderr(|said| said.contains(&gone), LIMIT)?;
    tracer.wait_for_stderr(|said| said.contains("was it suspended?"), LIMIT)?;
    let again = format!("{node} is watched again");
    tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    let before = tracer.take_journeys();
    assert!(flow.ping(5, interval)?.is_complete());
    let delivered = |value: &Value| {
        is(value, "tracer.journey/2")
            && !is_neighbour(value)
            && value["verdict"]["kind"] == "delivered"
    };
    tracer.wait_for(delivered, LIMIT)?;
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches(&gone).count(), 1, "{}", ended.stderr);
    // All packets have arrived, so each is delivered or unknown.
    for journey in before.iter().chain(&ended.journeys) {
        let kind = &journey["verdict"]["kind"];
        assert!(kind == "delivered" || kind == "unknown", "{journey:#}");
    }
    let settled = |journey: &&Value| !is_before_start(journey);
    assert!(before.iter().filter(settled).count() > 0);
    Ok(())
}
