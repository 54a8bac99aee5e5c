//! A tunnel's headers around a packet.

use std::net::IpAddr;

use etherparse::{IpNumber, Ipv4Header, Ipv6Header, UdpHeader};
use tracer_core::{
    journey::{Journey, Scene, Step},
    model::{Encap, EncapKind, Mac, Role},
};

use super::{
    ETHERNET, Frame, IPV6, ip,
    transport::{UDP_SUM, put_sum},
};

/// What is known of a packet inside a tunnel.
pub(super) struct Inside {
    /// Its EtherType.
    pub(super) kind: u16,
    /// MAC addresses of the inner frame, destination and source, if the tunnel carries frames.
    pub(super) macs: (Option<Mac>, Option<Mac>),
    /// The UDP port that the tunnel's packets go to.
    pub(super) port: u16,
}

/// The EtherType of a frame in GRE and Geneve.
const FRAME: u16 = 0x6558;
const GRE: u8 = 47;
const UDP: u8 = 17;
/// That is what Linux' tunnels send by default.
const TTL: u8 = 64;

/// Puts a tunnel's headers around a packet, which take so many bytes if that is known.
pub(super) fn around(
    mut frame: Frame,
    encap: &Encap,
    inside: &Inside,
    around: Option<u32>,
) -> Frame {
    let outer = if encap.outer_src.is_ipv6() { 40 } else { 20 };
    // With one tunnel, how much is left of that tells what else there is.
    let left = |least: u32| {
        let around = around.filter(|_| encap.levels == 1);
        around.and_then(|around| around.checked_sub(outer + least))
    };
    let (proto, headers) = match encap.kind {
        EncapKind::IpIp => {
            let proto = if inside.kind == IPV6 { 41 } else { 4 };
            // Linux says how many tunnels more there may be (RFC 2473), in eight bytes.
            match left(0).filter(|left| *left == 8 && outer == 40) {
                Some(length) => (ip::DESTINATION, ip::padding(proto, length)),
                None => (proto, Vec::new()),
            }
        }
        EncapKind::Gre => {
            let key = encap.vni.map(u32::to_be_bytes);
            let carries_frames = left(4 + key.map_or(0, |_| 4)) == Some(ETHERNET);
            let kind = inner(&mut frame, inside, carries_frames);
            let flags: u16 = if key.is_some() { 0x2000 } else { 0 };
            let mut headers = [flags.to_be_bytes(), kind.to_be_bytes()].concat();
            headers.extend(key.iter().flatten());
            (GRE, headers)
        }
        EncapKind::Vxlan => {
            inner(&mut frame, inside, true);
            (UDP, [[8, 0, 0, 0], shifted(encap.vni)].concat())
        }
        EncapKind::Geneve => {
            let left = left(8 + 8).unwrap_or(ETHERNET);
            // Options are of four bytes each, and an Ethernet header is not.
            let carries_frames = left % 4 == ETHERNET % 4;
            let options = if carries_frames {
                left.saturating_sub(ETHERNET)
            } else {
                left
            };
            let units = (options / 4).min(0x3f);
            let kind = inner(&mut frame, inside, carries_frames);
            let [high, low] = kind.to_be_bytes();
            let units = u8::try_from(units).unwrap_or_default();
            let mut headers = [[units, 0, high, low], shifted(encap.vni)].concat();
            headers.resize(8 + 4 * usize::from(units), 0);
            (UDP, headers)
        }
    };
    frame.put(&headers);
    if proto == UDP {
        let header = UdpHeader {
            source_port: 0,
            destination_port: inside.port,
            length: u16::try_from(frame.length + 8).unwrap_or(0),
            checksum: 0,
        };
        frame.put(&header.to_bytes());
        // Over IPv4 tunnels send none by default, over IPv6 there has to be one.
        if encap.outer_src.is_ipv6() {
            let is_cut = frame.bytes.len() != frame.length as usize;
            let ends = Some([encap.outer_src, encap.outer_dst]);
            put_sum(&mut frame.bytes, UDP_SUM, ends, UDP, frame.length, is_cut);
        }
    }
    let header = outer_ip(encap, proto, frame.length);
    frame.put(&header);
    frame
}

/// The header of the frame in a tunnel that carries frames, and what the tunnel says
/// that it carries.
fn inner(frame: &mut Frame, inside: &Inside, carries_frames: bool) -> u16 {
    if !carries_frames {
        return inside.kind;
    }
    let (to, from) = inside.macs;
    frame.put_ethernet(to, from, None, inside.kind);
    FRAME
}

/// A network identifier and the byte behind it.
fn shifted(vni: Option<u32>) -> [u8; 4] {
    (vni.unwrap_or_default() << 8).to_be_bytes()
}

fn outer_ip(encap: &Encap, proto: u8, length: u32) -> Vec<u8> {
    match (encap.outer_src, encap.outer_dst) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = Ipv4Header {
                total_len: u16::try_from(length + 20).unwrap_or(0),
                dont_fragment: false,
                time_to_live: TTL,
                protocol: IpNumber(proto),
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Header::default()
            };
            header.header_checksum = header.calc_header_checksum();
            header.to_bytes().to_vec()
        }
        (source, destination) => {
            let octets = |address| match address {
                IpAddr::V6(address) => address.octets(),
                IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            };
            let header = Ipv6Header {
                payload_length: u16::try_from(length).unwrap_or(0),
                next_header: IpNumber(proto),
                hop_limit: TTL,
                source: octets(source),
                destination: octets(destination),
                ..Ipv6Header::default()
            };
            header.to_bytes().to_vec()
        }
    }
}

/// To and from whom the frame in a tunnel is: as at an overlay device, where it is seen
/// by itself; on the same node if it was seen there.
pub(super) fn inner_macs(
    scene: &Scene,
    journey: &Journey,
    step: &Step,
) -> (Option<Mac>, Option<Mac>) {
    let bare = journey.steps.iter().filter(|other| {
        let is_overlay = scene.point(other).role == Role::Overlay;
        is_overlay && other.encap.is_none() && other.dst_mac.is_some()
    });
    let found = bare.min_by_key(|other| other.node != step.node);
    found.map_or((None, None), |other| (other.dst_mac, other.src_mac))
}

/// The UDP port of a tunnel: as a node's device has it, else the registered one.
pub(super) fn port(scene: &Scene, node: usize, encap: &Encap) -> u16 {
    let devices = scene.nodes[node].network.devices.iter();
    let tunnels = devices.filter_map(|device| device.tunnel);
    let mut same = tunnels.filter(|tunnel| tunnel.kind == encap.kind);
    let found = same.find(|tunnel| tunnel.vni.is_none() || tunnel.vni == encap.vni);
    match (found, encap.kind) {
        (Some(tunnel), _) => tunnel.port,
        (None, EncapKind::Geneve) => 6081,
        (None, _) => 4789,
    }
}
