//! The wire between the nodes, which no agent watches.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    program::{LIMIT, Tracer, evidence, is},
    traffic::Flow,
};

/// The far node's programs have seen no packet since their start, so they may not work. The
/// counters of its devices show that no packet came.
#[test]
fn where_nothing_comes_in_at_all_it_is_lost() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let flow = Flow::new(a, b);
    // From here on, all neighbours are known.
    assert!(flow.ping(2, Duration::from_millis(10))?.is_complete());
    let known = format!(
        "ip neighbour replace {} lladdr {} dev {} nud permanent",
        far.underlay, far.uplink_mac, near.uplink
    );
    near.netns.run(&known)?;
    let nothing = "table bridge fault { chain fault { \
                   type filter hook forward priority 0; policy drop; }; }";
    lab.middle.batch("nft -f -", nothing)?;

    let ends = [a.v4.to_string(), b.v4.to_string()];
    let args = [
        "--src-ip", &ends[0], "--dst-ip", &ends[1], "--proto", "icmp",
    ];
    let mut tracer = Tracer::follow(&lab, args)?;
    tracer.wait_started(LIMIT)?;
    let pinging = flow.keep_pinging();
    let lost = |value: &Value| {
        let verdict = &value["verdict"];
        is(value, "tracer.journey/2") && verdict["cause"] == "nothing-arrives"
    };
    let journey = tracer.wait_for(lost, LIMIT);
    assert_eq!(pinging.stop()?.received, 0);
    let journey = journey?;
    let verdict = &journey["verdict"];
    assert_eq!(verdict["kind"], "lost", "{journey:#}");
    let is_there = |silent: &Value| {
        let to = &silent["to"][0];
        to["node"] == *far.name && to["interface"] == *far.uplink
    };
    assert!(evidence(&journey, "silent").any(is_there), "{journey:#}");
    let finished = tracer.stop()?;
    for journey in &finished.journeys {
        let kind = journey["verdict"]["kind"].as_str();
        assert!(matches!(kind, Some("lost" | "unknown")), "{journey:#}");
    }
    Ok(())
}
