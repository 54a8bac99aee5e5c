//! A network without a fault. Its kernels free thousands of packets with `kfree_skb`, and no packet
//! is missing anywhere.

use std::time::Duration;

use anyhow::Result;
use tracer_tests::{Lab, LabSpec, traffic::Flow};

use crate::watch::{Watch, brief};

#[test]
fn nothing_that_arrived_is_called_lost() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let watch = Watch::start(&lab, &[])?;
    for to in [1, 2] {
        let [a, b] = [&lab.pods[0], &lab.pods[to]];
        for v6 in [false, true] {
            let flow = Flow::new(a, b).v6(v6);
            assert!(flow.ping(50, Duration::from_millis(2))?.is_complete());
            assert!(flow.ping_flood(2_000)?.is_complete());
            assert!(flow.udp_exchange(500, 64)?.is_complete());
            assert!(flow.udp_exchange(3, 20_000)?.is_complete(), "in fragments");
            assert!(flow.udp_send(5_000, 200)?.is_complete());
            assert!(flow.tcp_connects(200)?.is_complete());
            assert!(flow.tcp_bulk(50_000_000)?.is_complete());
        }
    }
    let told = watch.stop()?;
    // No drop is shown, not even as `unknown`.
    assert!(told.drops.is_empty(), "{:#?}", brief(&told.drops));
    let packets = &told.summary["packets"];
    assert!(
        packets["delivered"].as_u64() >= Some(2 * 2 * 2_050),
        "each reply to a raw socket ends as NO_SOCKET: {packets}"
    );
    let accounting = &told.summary["accounting"];
    for lost in ["ring_full", "rate_limited", "malformed"] {
        assert_eq!(accounting[lost], 0, "{accounting}");
    }
    Ok(())
}
