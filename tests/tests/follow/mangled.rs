//! Nodes whose rules change packets on their way, other than by translating them.

use anyhow::Result;
use tracer_tests::{Lab, LabSpec, traffic::Flow};

use crate::{
    clean::ROOM,
    expected::{check_balance, check_clean, is_before_start, is_neighbour},
    recordings,
};

/// Rules that clusters have to fit segments into a tunnel, and to give packets a priority.
const RULES: &str = "table inet changes { chain forward { type filter hook forward priority \
                     mangle; tcp flags syn tcp option maxseg size set 1000; ip dscp set cs1; ip6 \
                     dscp set cs1; ip ttl set 9; ip6 hoplimit set 9; }; }";

/// A packet whose MSS, priority and TTL change is one journey, and tracer does not claim that
/// another host has answered for the pod.
#[test]
fn a_connection_whose_mss_is_clamped() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    for node in &lab.nodes {
        node.netns.batch("nft -f -", RULES)?;
    }
    let (tracer, _) = recordings::follow(&lab, [a, b], &ROOM, "mss-clamped")?;
    for v6 in [false, true] {
        assert!(Flow::new(a, b).v6(v6).tcp_connects(2)?.is_complete());
    }
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    let mut syns = 0;
    for journey in &finished.journeys {
        if is_neighbour(journey) || is_before_start(journey) {
            continue;
        }
        check_clean(&lab, [a, b], journey);
        let flags = journey["packet"]["tcp"]["flags"].as_str();
        syns += u64::from(flags.is_some_and(|flags| flags.contains("SYN")));
    }
    // Two SYNs and their answers, with both IP versions.
    assert_eq!(syns, 8);
    Ok(())
}
