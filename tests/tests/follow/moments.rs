//! Follows that begin before, during and after their traffic.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::expected::check_balance;

fn follow(lab: &Lab, more: &[&str]) -> Result<Tracer> {
    let ends = [lab.pods[0].v4.to_string(), lab.pods[1].v4.to_string()];
    let args = ["--src-ip", &ends[0], "--dst-ip", &ends[1]];
    let mut tracer = Tracer::follow(lab, args.iter().chain(more))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

#[test]
fn in_the_middle_of_traffic() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let pinging = flow.keep_pinging();
    for _ in 0..3 {
        let mut tracer = follow(&lab, &[])?;
        let delivered = |value: &Value| value["verdict"]["kind"] == "delivered";
        tracer.wait_for(delivered, LIMIT)?;
        let finished = tracer.stop()?;
        check_balance(&finished.summary);
        for journey in &finished.journeys {
            let verdict = &journey["verdict"];
            // Packets on their way at the end, or before all points were observed, get no guessed
            // verdict.
            let cut_off = verdict["cause"] == "still-open" || verdict["cause"] == "before-start";
            assert!(verdict["kind"] == "delivered" || cut_off, "{journey}");
        }
    }
    assert!(pinging.stop()?.is_complete());
    Ok(())
}

#[test]
fn after_the_traffic_there_is_nothing() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    let finished = follow(&lab, &["--proto", "icmp"])?.stop()?;
    assert_eq!(finished.status.code(), Some(4));
    assert!(finished.journeys.is_empty());
    assert!(
        finished.stderr.contains("nothing matched"),
        "{}",
        finished.stderr
    );
    Ok(())
}

#[test]
fn ends_by_itself_after_a_count_and_after_a_time() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let tracer = follow(&lab, &["--count", "3", "--proto", "icmp"])?;
    assert!(flow.ping(10, Duration::from_millis(2))?.is_complete());
    let finished = tracer.finish(LIMIT)?;
    assert_eq!(finished.status.code(), Some(0));
    assert_eq!(finished.journeys.len(), 3);
    assert_eq!(finished.summary["journeys"]["delivered"], 3);

    let tracer = follow(&lab, &["--duration", "300ms", "--proto", "icmp"])?;
    let finished = tracer.finish(LIMIT)?;
    assert_eq!(finished.status.code(), Some(4));
    Ok(())
}

#[test]
fn a_receiver_without_an_agent_is_told_as_left() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let name = |pod: &tracer_tests::Pod| format!("{}/{}", pod.namespace, pod.name);
    let objects = lab.write_objects()?;
    let node = &lab.nodes[0];
    let agent = format!("{}=netns:{}", node.name, node.netns.path.display());
    let mut command = tracer_tests::program::tracer(["follow", "-o", "json", "--hold", "200ms"])?;
    command.args(["--src-pod", &name(a), "--dst-pod", &name(b)]);
    command.args(["--proto", "icmp", "--agent", &agent, "--inventory"]);
    command.arg(objects);
    let mut tracer = Tracer::start(&mut command)?;
    tracer.wait_started(LIMIT)?;
    let flow = Flow::new(a, b);
    assert!(flow.ping(3, Duration::from_millis(2))?.is_complete());
    // Replies show that the earlier packets arrived. These get no replies.
    b.netns.sysctl(&[("ipv4/icmp_echo_ignore_all", "1")])?;
    assert_eq!(flow.ping(3, Duration::from_millis(2))?.received, 0);
    let mut left = 0;
    let all_left = |value: &Value| {
        left += usize::from(value["verdict"]["kind"] == "left");
        left == 3
    };
    tracer.wait_for(all_left, LIMIT)?;
    let finished = tracer.stop()?;
    assert_eq!(finished.summary["journeys"]["left"], 3);
    let delivered = &finished.summary["journeys"]["delivered"];
    assert_eq!(*delivered, 6, "what was answered, and the replies");
    let node_b = &lab.nodes[1].name;
    assert!(
        finished.stderr.contains(node_b.as_str()),
        "{}",
        finished.stderr
    );
    Ok(())
}
