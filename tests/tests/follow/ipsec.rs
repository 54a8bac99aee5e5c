//! IPsec by policies between the nodes, without a device. The sender's uplink sees only encrypted
//! packets. The receiver decrypts an incoming packet, which then comes in a second time without
//! encryption.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, Wiring, lab::ipsec::encrypt, program::LIMIT, traffic::Flow};

use crate::{
    expected::{between_pods, is_neighbour, point, seen},
    recordings,
};

/// A lab whose nodes encrypt the packets between their pods; `None` if the lab is for another
/// kernel.
fn lab() -> Result<Option<Lab>> {
    // A kernel with the device also supports the policies.
    if Wiring::IpSec.is_for_another_kernel()? {
        return Ok(None);
    }
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::FlannelHostGw,
        ..LabSpec::default()
    })?;
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    encrypt(near, far, None)?;
    encrypt(far, near, None)?;
    Ok(Some(lab))
}

#[test]
fn policies_over_ipsec() -> Result<()> {
    let Some(lab) = lab()? else {
        return Ok(());
    };
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let (mut tracer, started) = recordings::follow(&lab, [a, b], &[], "ipsec-loses")?;
    for (from, to) in [(near, b), (far, a)] {
        let note = format!(
            "IPsec encrypts packets for {} before they leave by {}",
            to.v4, from.uplink
        );
        let warnings = started["warnings"].to_string();
        assert!(warnings.contains(&note), "{started:#}");
    }
    let flow = Flow::new(a, b);
    let pings = flow.ping(5, Duration::from_millis(2))?;
    assert!(pings.is_complete(), "{pings:?}");
    assert!(flow.tcp_connects(3)?.is_complete());

    let cut = format!("bridge link set dev {} state 0", far.middle_port);
    lab.middle.run(&cut)?;
    assert_eq!(flow.ping(1, Duration::from_millis(2))?.received, 0);
    let vanished = tracer.wait_for(
        |value| !value["verdict"].is_null() && value["verdict"]["kind"] != "delivered",
        LIMIT,
    )?;
    // No point saw the packet leave, so it is unknown how far it came.
    assert_eq!(vanished["verdict"]["kind"], "unknown", "{vanished:#}");

    let finished = tracer.stop()?;
    let went: Vec<&Value> = finished
        .journeys
        .iter()
        .filter(|journey| !is_neighbour(journey))
        .filter(|journey| journey["verdict"]["kind"] == "delivered")
        .collect();
    let of_pings = |journey: &&&Value| journey["packet"]["proto"] == "icmp";
    let count = went.iter().filter(of_pings).count() as u64;
    assert_eq!(count, pings.sent + pings.received);
    for journey in went {
        let from_a = journey["packet"]["src"] == a.v4.to_string();
        let (from, to, out) = if from_a { (a, b, near) } else { (b, a, far) };
        let mut way = between_pods(&lab, from, to);
        way.retain(|seen| *seen != point(out, &out.uplink, "egress"));
        assert_eq!(seen(journey), way, "{journey:#}");
    }
    Ok(())
}
