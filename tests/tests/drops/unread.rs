//! Drops of frames whose headers are not read.

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, frames::kept, raw::packet_socket_send};

use crate::watch::{Watch, brief};

/// The label of this MPLS frame reads like the first bytes of an IPv4 header, and is none. A rule
/// drops the frame, because a drop for want of a protocol is harmless.
#[test]
fn a_drop_of_mpls_has_no_packet() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let node = &lab.nodes[1];
    let rules = format!(
        "table netdev faults {{ chain fault {{ type filter hook ingress device {} priority 0; \
         ether type 0x8847 drop; }}; }}",
        node.uplink
    );
    node.netns.batch("nft -f -", &rules)?;
    let mut watch = Watch::start(&lab, &[])?;
    let frame = kept("mpls-drop-decoded-as-ip");
    packet_socket_send(&lab.middle, &node.middle_port, &frame)?;
    let is_frame = |drop: &Value| drop["node"] == *node.name && drop["class"] == "loss";
    let drop = watch.wait_for(is_frame)?;
    let told = watch.stop()?;
    assert_eq!(told.drops.len(), 1, "{:#?}", brief(&told.drops));
    assert_eq!(drop["interface"], *node.uplink, "{drop:#}");
    assert_eq!(drop["total"], 1, "{drop:#}");
    for key in ["packet", "src_pod", "dst_pod"] {
        assert_eq!(drop[key], Value::Null, "{drop:#}");
    }
    Ok(())
}
