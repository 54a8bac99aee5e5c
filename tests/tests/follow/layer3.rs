//! A device whose packets have no Ethernet header.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    program::{LIMIT, Tracer},
};

use crate::expected::pod;

/// An address for documentation (RFC 5737), which no device has.
const FAR: &str = "198.51.100.7";

#[test]
fn packets_begin_with_their_ip_header() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (from, node) = (&lab.pods[0], &lab.nodes[0]);
    let device = format!(
        "tuntap add dev l3 mode tun
         link set dev l3 up
         route add {FAR}/32 dev l3\n"
    );
    node.netns.batch("ip -batch -", &device)?;
    let mut tracer = Tracer::follow(&lab, ["--src-pod", &pod(from), "--dst-ip", FAR])?;
    tracer.wait_started(LIMIT)?;
    let any = (Ipv4Addr::UNSPECIFIED, 0);
    from.netns
        .enter(|| UdpSocket::bind(any)?.send_to(b"anybody?", (FAR, 9)))?;
    let journey = tracer.wait_for(|value| value["packet"]["dst"] == FAR, LIMIT)?;
    let hops = journey["hops"].as_array().expect("hops");
    let [.., before, last] = hops.as_slice() else {
        panic!("{journey:#}");
    };
    assert_eq!(last["interface"], "l3", "{journey:#}");
    assert!(last["src_mac"].is_null() && last["dst_mac"].is_null());
    assert!(before["src_mac"].is_string());
    let len = |hop: &Value| hop["len"].as_u64().expect("a length");
    assert_eq!(len(before) - len(last), 14);
    Ok(())
}
