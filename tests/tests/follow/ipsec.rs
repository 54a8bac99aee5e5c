//! IPsec by policies: between the nodes, and no device tells of it. The sender's
//! uplink sees only what is encrypted; what comes in there and is decrypted
//! comes in a second time, as it was.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Netns, Node, Wiring,
    lab::MACHINE_VARIABLE,
    program::{LIMIT, Tracer},
    traffic::Flow,
};

use crate::{
    expected::{between_pods, is_neighbour, pod, point, seen},
    recordings,
};

/// AES in Galois/Counter Mode, with a key and a salt.
const CIPHER: &str = "aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128";

/// Encrypts what pods of the two nodes send each other.
fn encrypt([near, far]: [&Node; 2]) -> Result<()> {
    let state = |from: &Node, to: &Node, spi: u32| {
        let (from, to) = (from.underlay, to.underlay);
        format!(
            "xfrm state add src {from} dst {to} proto esp spi {spi} reqid 1 mode tunnel {CIPHER}\n"
        )
    };
    let states = state(near, far, 0x100) + &state(far, near, 0x101);
    for (here, there) in [(near, far), (far, near)] {
        let policy = |from: &Node, to: &Node, direction: &str| {
            format!(
                "xfrm policy add src {} dst {} dir {direction} tmpl src {} dst {} \
                 proto esp reqid 1 mode tunnel\n",
                from.pod_cidr_v4, to.pod_cidr_v4, from.underlay, to.underlay
            )
        };
        let rules = [
            states.clone(),
            policy(here, there, "out"),
            policy(there, here, "in"),
            policy(there, here, "fwd"),
        ];
        here.netns.batch("ip -batch -", &rules.concat())?;
    }
    Ok(())
}

/// Whether this kernel has none, and is not one that was chosen because it has.
fn is_for_another_kernel(netns: &Netns) -> bool {
    let probe = format!(
        "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel {CIPHER}"
    );
    if std::env::var_os(MACHINE_VARIABLE).is_some() || netns.run(&probe).is_ok() {
        return false;
    }
    eprintln!("this kernel has no IPsec: `cargo xtask kernels` runs this test on one that has");
    true
}

#[test]
fn policies_over_ipsec() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::FlannelHostGw,
        ..LabSpec::default()
    })?;
    if is_for_another_kernel(&lab.middle) {
        return Ok(());
    }
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    encrypt([near, far])?;
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let file = recordings::fault("ipsec-loses");
    let mut tracer = Tracer::follow(&lab, ends.iter().copied().chain(file.arguments()))?;
    tracer.wait_started(LIMIT)?;
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
    // It was not seen to leave: nobody knows how far it came.
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
