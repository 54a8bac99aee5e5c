use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::program::{LIMIT, binary, is};
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, LabSpec, Process, Tracer, process};

use crate::rights::follow_args;
use crate::{attached, full_name, has_tcx, wait_until_detached};

/// A started follow between the lab's first two pods.
pub(super) fn follow(lab: &Lab) -> Result<Tracer> {
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let args = ["--proto", "icmp", "--src-pod", &from, "--dst-pod", &to];
    let mut tracer = Tracer::follow(lab, args)?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

fn ping(lab: &Lab, count: u64) -> Result<()> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping(count, Duration::from_millis(2))?.is_complete());
    Ok(())
}

/// Waits until `count` more journeys have been delivered.
fn wait_delivered(tracer: &mut Tracer, count: u64) -> Result<()> {
    let mut left = count;
    let last_delivered = |value: &Value| {
        left -= u64::from(value["verdict"]["kind"] == "delivered");
        left == 0
    };
    tracer.wait_for(last_delivered, LIMIT)?;
    Ok(())
}

#[test]
fn every_polite_signal_ends_it_alike() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut tracer = follow(&lab)?;
        assert_ne!(attached(&lab)?, [""; 0]);
        ping(&lab, 3)?;
        wait_delivered(&mut tracer, 6)?;
        tracer.signal(signal)?;
        let ended = tracer.finish(LIMIT)?;
        assert_eq!(ended.status.code(), Some(0), "{signal}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{signal}");
        assert_eq!(ended.journeys.len(), 6, "{signal}");
        assert_eq!(ended.summary["journeys"]["delivered"], 6, "{signal}");
        assert_eq!(ended.summary["accounting"]["balances"], true, "{signal}");
        assert_eq!(attached(&lab)?, [""; 0], "{signal}");
    }
    Ok(())
}

#[test]
fn killed_it_leaves_nothing_attached() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let tracer = follow(&lab)?;
    // Two directions of four interfaces on two nodes.
    assert_eq!(attached(&lab)?.len(), 16);
    tracer.signal(Signal::SIGKILL)?;
    let ended = tracer.finish(LIMIT)?;
    assert_eq!(ended.status.code(), None);
    if !has_tcx() {
        // On kernels without links, programs stay until the next tracer starts.
        follow(&lab)?.stop()?;
    }
    wait_until_detached(&lab)?;
    ping(&lab, 1)
}

/// This also holds for programs that were attached later.
#[test]
fn after_a_pod_has_restarted_nothing_stays_attached_either() -> Result<()> {
    let mut lab = Lab::new(&LabSpec::default())?;
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let mut tracer = follow(&lab)?;
        lab.end_pod(1)?;
        lab.rename_pod(1);
        lab.begin_pod(1)?;
        let veth = lab.pods[1].veth.clone();
        let observed = |value: &Value| {
            let points = value["points"].as_array().into_iter().flatten();
            is(value, "tracer.points/1")
                && points.into_iter().any(|point| point["interface"] == *veth)
        };
        tracer.wait_for(observed, LIMIT)?;
        assert_eq!(attached(&lab)?.len(), 16, "{signal}");
        tracer.signal(signal)?;
        tracer.finish(LIMIT)?;
        wait_until_detached(&lab)?;
    }
    lab.ready()?;
    ping(&lab, 1)
}

/// The signal comes while tracer searches for changes.
#[test]
fn in_the_middle_of_a_restart_it_ends_politely() -> Result<()> {
    let mut lab = Lab::new(&LabSpec::default())?;
    for _ in 0..5 {
        let tracer = follow(&lab)?;
        lab.end_pod(1)?;
        lab.rename_pod(1);
        lab.begin_pod(1)?;
        let ended = tracer.stop()?;
        // The pods have sent nothing but neighbour discovery.
        assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
        assert_eq!(attached(&lab)?, [""; 0]);
    }
    Ok(())
}

#[test]
fn two_follows_on_one_node_see_the_same() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let mut both = [follow(&lab)?, follow(&lab)?];
    assert_eq!(attached(&lab)?.len(), 32);
    ping(&lab, 20)?;
    for tracer in &mut both {
        wait_delivered(tracer, 40)?;
    }
    let [first, mut second] = both;
    let first = first.stop()?;
    assert_eq!(attached(&lab)?.len(), 16);
    // The other follow continues.
    ping(&lab, 20)?;
    wait_delivered(&mut second, 80)?;
    let second = second.stop()?;
    assert_eq!(attached(&lab)?, [""; 0]);
    // Both follows saw each request and each reply at the same points.
    let seen = |journeys: &[Value]| -> Vec<Value> {
        let ways = journeys.iter().take(40).map(|journey| {
            let hops = journey["hops"].as_array().expect("hops are a list");
            let interfaces = hops.iter().map(|hop| hop["interface"].clone()).collect();
            Value::Array(vec![
                journey["packet"]["icmp"]["seq"].clone(),
                journey["direction"].clone(),
                interfaces,
            ])
        });
        ways.collect()
    };
    assert_eq!(seen(&first.journeys), seen(&second.journeys));
    for (ended, delivered) in [(&first, 40), (&second, 80)] {
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(ended.summary["journeys"]["delivered"], delivered);
        assert_eq!(ended.summary["journeys"]["unknown"], 0);
        assert_eq!(ended.summary["accounting"]["balances"], true);
        assert_eq!(ended.summary["accounting"]["lost"], 0);
    }
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let program = binary()?.display().to_string();
    for format in ["json", "text"] {
        let mut shell = process::command("bash");
        shell.args(["-c", r#""$@" | head -n 1; echo "${PIPESTATUS[0]}""#, "bash"]);
        shell.arg(&program).args(follow_args(&lab)?);
        let follow = Process::start(shell.args(["-o", format]), "")?;
        // tracer notices the closed pipe when it writes the next line.
        let mut ping = lab.pods[0].netns.command("ping");
        ping.args(["-q", "-i", "0.1", &lab.pods[1].v4.to_string()]);
        let _traffic = Process::start(&mut ping, "")?;
        let ended = follow.finish(LIMIT)?;
        assert_eq!(ended.stderr, "");
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let [first, "0"] = lines[..] else {
            panic!("a line, then the exit code 0, were expected: {lines:?}")
        };
        if format == "json" {
            let first = serde_json::from_str(first).context("a line is an object")?;
            assert!(is(&first, "tracer.started/1"), "{first}");
        }
        assert_eq!(attached(&lab)?, [""; 0]);
    }
    Ok(())
}

#[test]
fn it_ends_by_itself_when_told_to() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let mut args = follow_args(&lab)?;
    args.remove(0);
    let ends = ["--proto", "icmp", "--count", "5"];
    let mut tracer = Tracer::follow(
        &lab,
        args[args.len() - 4..]
            .iter()
            .map(String::as_str)
            .chain(ends),
    )?;
    tracer.wait_started(LIMIT)?;
    ping(&lab, 10)?;
    let ended = tracer.finish(LIMIT)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!(ended.journeys.len(), 5);
    assert_eq!(ended.summary["journeys"]["delivered"], 5);
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}
