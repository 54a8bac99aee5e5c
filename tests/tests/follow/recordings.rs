//! Recordings of wirings for the replay tests, if `cargo xtask fixtures` wants them.

use std::{env, fmt::Debug, path::Path, time::Duration};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, Pod, Wiring,
    program::{FIXTURES_VARIABLE, LIMIT, Tracer},
    traffic::{Flow, Tally},
};

use crate::expected::pod;

/// The file for the recording of a fault, if it is wanted.
pub(crate) struct Recording(Option<String>);

/// The file for a fault with this name.
pub(crate) fn fault(name: &str) -> Recording {
    Recording(
        env::var(FIXTURES_VARIABLE)
            .ok()
            .map(|directory| format!("{directory}/wiring-{name}.arrows")),
    )
}

impl Recording {
    /// The arguments of `tracer follow` for the recording.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|file| ["-w", file])
    }
}

/// The name of a recording that is made on one node as well as between two.
pub(crate) fn name(what: impl Debug, [a, b]: [&Pod; 2]) -> String {
    let nodes = if a.node == b.node {
        "one-node"
    } else {
        "two-nodes"
    };
    format!("{what:?}-{nodes}").to_lowercase()
}

/// Follows two pods, and records them under a name if wanted. Also returns the line of the start.
pub(crate) fn follow(
    lab: &Lab,
    ends: [&Pod; 2],
    more: &[&str],
    name: &str,
) -> Result<(Tracer, Value)> {
    let [from, to] = ends.map(pod);
    let ends = ["--src-pod", &from, "--dst-pod", &to];
    let recording = fault(name);
    let args = ends.iter().chain(more).copied();
    let mut tracer = Tracer::follow(lab, args.chain(recording.arguments()))?;
    let started = tracer.wait_started(LIMIT)?;
    Ok((tracer, started))
}

/// Records a little clean traffic between two pods.
pub(crate) fn keep_clean(lab: &Lab, [a, b]: [&Pod; 2], name: &str) -> Result<()> {
    let name = format!("{name}-clean");
    if fault(&name).0.is_none() {
        return Ok(());
    }
    let (tracer, _) = follow(lab, [a, b], &["--hold", "1s"], &name)?;
    let flow = Flow::new(a, b);
    let mut tallies = vec![
        flow.ping(3, Duration::from_millis(2))?,
        flow.udp_exchange(3, 64)?,
        flow.udp_exchange(1, 20_000)?,
        flow.tcp_connects(1)?,
        flow.tcp_bulk(20_000)?,
    ];
    if lab.wiring.carries_v6() {
        let flow = flow.v6(true);
        tallies.push(flow.ping(3, Duration::from_millis(2))?);
        tallies.push(flow.tcp_connects(1)?);
    }
    assert!(tallies.iter().all(Tally::is_complete), "{tallies:?}");
    tracer.stop()?;
    Ok(())
}

#[test]
fn every_wiring_has_one() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for wiring in Wiring::ALL {
        let name = match wiring {
            Wiring::Flannel => "clean".to_owned(),
            Wiring::CalicoCrossSubnet => "wiring-calico-other-subnet-clean".to_owned(),
            Wiring::CalicoIpipCrossSubnet => "wiring-calico-ipip-other-subnet-clean".to_owned(),
            _ if wiring.shares_uplink() => format!("wiring-{wiring:?}-two-nodes-clean"),
            _ => format!("wiring-{wiring:?}-clean"),
        };
        let file = directory.join(name.to_lowercase() + ".arrows");
        assert!(file.is_file(), "{} is not there", file.display());
    }
}
