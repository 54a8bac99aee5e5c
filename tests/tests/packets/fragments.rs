use anyhow::Result;
use serde_json::Value;
use tracer_tests::frames::{IPV4, IPV6, TCP, UDP, ethernet, ipv4, ipv4_with_options, ipv6, tcp};
use tracer_tests::frames::{udp, vxlan};
use tracer_tests::raw::{Layout, Tap};

use crate::stage::{PORT, Seen, Stage, addressed, delivered};

/// The number of hops: the bridge, up to which headers are in fragments, and six points after it.
const ALL: usize = 7;
/// The offset of the IP header. Drivers keep the Ethernet header linear.
const L3: usize = 14;

/// A port of the first node's bridge, whose frames have their headers in page fragments. Its
/// packets have the first pod's addresses.
struct Port<'a> {
    stage: &'a Stage,
    tap: Tap,
}

impl<'a> Port<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let node = &stage.lab.nodes[0];
        let tap = Tap::open(&node.netns, "split0", Layout::Fragments)?;
        // Otherwise the port would change the MTU of the bridge.
        let mtu = stage.lab.pod_mtu;
        node.netns
            .run(&format!("ip link set dev split0 mtu {mtu}"))?;
        let bridge = &node.bridge;
        node.netns
            .run(&format!("ip link set dev split0 master {bridge}"))?;
        Ok(Self { stage, tap })
    }

    /// A frame to the bridge, from an unknown MAC address.
    fn frame(&self, kind: u16, packet: &[u8]) -> Vec<u8> {
        let bridge = &self.stage.lab.nodes[0].bridge_mac;
        addressed(ethernet(kind, packet), bridge, "02:00:00:00:00:02")
    }

    /// Sends each of the frames in each of the ways to cut it in two.
    fn watch_cut(&self, frames: &[Vec<u8>]) -> Result<Seen> {
        self.stage.watch(&[], || {
            for frame in frames {
                for at in L3..frame.len() {
                    let (linear, fragment) = frame.split_at(at);
                    self.tap.send(&[linear, fragment])?;
                }
            }
            Ok(())
        })
    }
}

/// Checks that all frames reach the pod, whatever the pod does with them.
fn assert_all_arrive(seen: &Seen, count: usize, hops: usize) {
    assert_eq!((seen.unparsed, seen.malformed), (0, 0));
    assert_eq!(seen.journeys.len(), count, "{:#?}", seen.journeys);
    for journey in &seen.journeys {
        let verdict = &journey["verdict"];
        let in_pod = verdict["kind"] == "dropped" && verdict["drop"]["netns"] != "host";
        assert!(delivered(journey) || in_pod, "{journey:#}");
        assert_eq!(journey["hops"].as_array().map(Vec::len), Some(hops));
        assert_eq!(journey["packet"]["src_port"], 4000, "{journey:#}");
        assert_eq!(journey["packet"]["dst_port"], PORT, "{journey:#}");
    }
}

/// The parsed headers do not depend on the end of the linear part.
#[test]
fn headers_cut_anywhere() -> Result<()> {
    let stage = Stage::new()?;
    let port = Port::new(&stage)?;
    let frame = port.frame(IPV4, &stage.datagram(&[7; 16]));
    let seen = port.watch_cut(std::slice::from_ref(&frame))?;
    let count = frame.len() - L3;
    assert_all_arrive(&seen, count, ALL);
    for journey in &seen.journeys {
        assert_eq!(journey["packet"]["len"], 44);
        let first = &journey["hops"][0];
        assert_eq!(first["interface"], stage.lab.nodes[0].bridge);
        assert_eq!(first["len"], frame.len());
    }
    Ok(())
}

#[test]
fn rare_headers_in_fragments() -> Result<()> {
    let stage = Stage::new()?;
    let port = Port::new(&stage)?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let [from6, to6] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    let mut datagram = udp(4000, PORT, &[7; 16]);
    let options = ipv4_with_options(UDP, from, to, &[1; 40], &datagram);
    let segment = ipv4(TCP, from, to, &tcp(4000, PORT, 1, &[]));
    // IPv6 requires a UDP checksum. With a wrong one, the pod does not answer.
    datagram[6..8].copy_from_slice(&[0xba, 0xad]);
    let destination_options = [&[UDP, 0, 1, 4, 0, 0, 0, 0], &*datagram].concat();
    let frames = [
        port.frame(IPV4, &options),
        port.frame(IPV4, &segment),
        port.frame(IPV6, &ipv6(60, from6, to6, &destination_options)),
    ];
    let seen = port.watch_cut(&frames)?;
    let ways: usize = frames.iter().map(|frame| frame.len() - L3).sum();
    assert_all_arrive(&seen, ways, ALL);
    Ok(())
}

/// The first node receives frames as the second node's overlay device sends them.
#[test]
fn tunnels_in_fragments() -> Result<()> {
    let stage = Stage::new()?;
    let port = Port::new(&stage)?;
    let [here, there] = [0, 1].map(|node| &stage.lab.nodes[node]);
    let [to, from] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let reply = ipv4(UDP, from, to, &udp(4000, PORT, &[7; 16]));
    let inner = addressed(
        ethernet(IPV4, &reply),
        &here.overlay_mac,
        &there.overlay_mac,
    );
    let datagram = vxlan(stage.lab.port, stage.lab.vni, &inner);
    let outer = ipv4(UDP, there.underlay, here.underlay, &datagram);
    let frame = port.frame(IPV4, &outer);
    let seen = port.watch_cut(std::slice::from_ref(&frame))?;
    // The hops are bridge, overlay device, bridge, veth.
    assert_all_arrive(&seen, frame.len() - L3, 4);
    for journey in &seen.journeys {
        assert_eq!(journey["direction"], "reply");
        let hops = journey["hops"].as_array().expect("a list of hops");
        let vni: Vec<&Value> = hops.iter().map(|hop| &hop["encap"]["vni"]).collect();
        assert_eq!(vni[0], stage.lab.vni);
        assert!(vni[1..].iter().all(|vni| vni.is_null()), "{vni:?}");
    }
    Ok(())
}

#[test]
fn short_frames_in_fragments() -> Result<()> {
    let stage = Stage::new()?;
    let port = Port::new(&stage)?;
    let frame = port.frame(IPV4, &stage.datagram(&[]));
    let seen = stage.watch(&[], || {
        for end in L3 + 1..frame.len() {
            port.tap.send(&[&frame[..L3], &frame[L3..end]])?;
        }
        Ok(())
    })?;
    // The first cuts are up to UDP's ports, the others up to the end of UDP's header.
    assert_eq!((seen.unparsed, seen.malformed), (23, 0));
    assert_eq!(seen.journeys.len(), 4, "{:#?}", seen.journeys);
    Ok(())
}

/// The program on `kfree_skb` does not read payloads in page fragments, as some NICs deliver them.
/// Packets that differ only in their payloads are joined by their sk_buff.
#[test]
fn a_drop_whose_payload_is_in_fragments_is_its_packets() -> Result<()> {
    let stage = Stage::new()?;
    let port = Port::new(&stage)?;
    let rule = format!(
        "table ip denied {{ chain forward {{ type filter hook forward priority 0;
         udp sport 4000 udp dport {PORT} drop
         }}; }}"
    );
    stage.lab.nodes[0].netns.batch("nft -f -", &rule)?;
    let frames = [7, 8, 9].map(|byte| port.frame(IPV4, &stage.datagram(&[byte; 600])));
    let payload = frames[0].len() - 600;
    let seen = stage.watch(&[], || {
        for frame in &frames {
            let (headers, payload) = frame.split_at(payload);
            port.tap.send(&[headers, payload])?;
        }
        Ok(())
    })?;
    assert_eq!(seen.journeys.len(), frames.len(), "{:#?}", seen.journeys);
    for journey in &seen.journeys {
        let drop = &journey["verdict"]["drop"];
        assert_eq!(journey["verdict"]["kind"], "dropped", "{journey:#}");
        assert_eq!(journey["verdict"]["confidence"], "high", "{journey:#}");
        assert_eq!(drop["reason"], "NETFILTER_DROP", "{journey:#}");
        assert_eq!(journey["drops"].as_array().map(Vec::len), Some(1));
    }
    Ok(())
}
