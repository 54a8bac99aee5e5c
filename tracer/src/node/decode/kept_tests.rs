//! The frames of `frames.txt`, copied as the programs copy them.

use tracer_common::{
    config::TunnelPorts,
    event::{ETHERNET, HASHED},
    walk::{Layers, quoted, walk},
};
use tracer_tests::frames::kept;

use super::{tests::bytes, *};

const PORTS: TunnelPorts = TunnelPorts {
    vxlan: [8472, 4789, 0, 0],
    geneve: [6081, 0, 0, 0],
};

/// Copies what there is of `len` bytes, and says how many those are.
fn copy(frame: &[u8], at: usize, end: usize, to: &mut [u8], len: usize) -> u8 {
    let copied = len.min(end.min(frame.len()).saturating_sub(at));
    to[..copied].copy_from_slice(&frame[at..at + copied]);
    u8::try_from(copied).expect("at most 60")
}

fn network_len(layers: &Layers) -> usize {
    match layers.network {
        Network::V4 => 20,
        Network::V6 => 40,
        Network::Arp => 28,
    }
}

/// The event that a program makes of a frame.
fn event(frame: &[u8]) -> HopEvent {
    let walked = walk(frame, true, &PORTS).expect("a frame that can be walked");
    let layers = walked.expect("a packet that can be followed");
    let tunnel = layers.tunnel();
    let mut event = HopEvent {
        ifindex: 2,
        len: u32::try_from(frame.len()).expect("short"),
        l3: u16::try_from(layers.l3).expect("short"),
        l4: u16::try_from(layers.l4).expect("short"),
        network: layers.network as u8,
        proto: layers.proto,
        fragment: layers.fragment,
        fragment_id: layers.fragment_id,
        flags: ETHERNET | HASHED,
        levels: tunnel.map_or(0, |tunnel| tunnel.levels),
        tunnel: tunnel.map_or(0, |tunnel| tunnel.kind as u8),
        ..HopEvent::ZERO
    };
    event.macs.copy_from_slice(&frame[..12]);
    let network = &mut event.network_header;
    event.network_len = copy(frame, layers.l3, usize::MAX, network, network_len(&layers));
    if !layers.has_transport() {
        return event;
    }
    let rest = frame.get(layers.l4..).unwrap_or_default();
    let len = match layers.proto {
        TCP => (usize::from(rest.u8(12).unwrap_or(0) >> 4) * 4).max(20),
        UDP if rest.be16(0) == Some(53) || rest.be16(2) == Some(53) => 20,
        SCTP => 12,
        _ => 8,
    };
    let transport = &mut event.transport_header;
    event.transport_len = copy(frame, layers.l4, layers.end, transport, len);
    if let Some(quote) = quoted(frame, &layers).expect("a quote that can be walked") {
        let behind = 8 + network_len(&quote);
        copy(frame, quote.l3, quote.end, &mut transport[8..], behind - 8);
        event.transport_len = u8::try_from(behind).expect("at most 48");
        event.quote_proto = quote.proto;
        if quote.has_transport() {
            event.transport_len += copy(frame, quote.l4, quote.end, &mut transport[behind..], 8);
        }
    }
    event
}

fn decoded(name: &str) -> Hop {
    hop(&bytes(&event(&kept(name))), |_, _| Some(0)).expect("a hop")
}

fn transport_of(name: &str) -> Transport {
    decoded(name).packet.transport
}

fn icmp_of(name: &str) -> Icmp {
    match transport_of(name) {
        Transport::Icmp(icmp) => icmp,
        other => panic!("{name} is ICMP, not {other:?}"),
    }
}

#[test]
fn cut_headers_have_their_ports() {
    for (name, proto) in [
        ("tcp-tiny-first-fragment", TCP),
        ("tcp-header-over-fragment-end", TCP),
        ("tcp-header-cut", TCP),
        ("tcp-doff-4", TCP),
        ("udp-cut", UDP),
    ] {
        let cut = Transport::Cut {
            proto,
            src_port: 4000,
            dst_port: 80,
        };
        assert_eq!(transport_of(name), cut, "{name}");
    }
    let sctp = Transport::Sctp {
        src_port: 4000,
        dst_port: 80,
        tag: 1,
    };
    assert_eq!(transport_of("sctp-cut"), sctp);
    let icmp = icmp_of("icmp-cut");
    assert_eq!((icmp.kind, icmp.code, icmp.echo), (8, 0, None));
    assert_eq!(
        decoded("tcp-tiny-first-fragment").packet.fragment,
        Some((0, true))
    );
}

#[test]
fn padding_is_not_decoded() {
    let fragment = transport_of("udp-fragment-dns-from-padding");
    assert!(
        matches!(fragment, Transport::Udp { dns: None, .. }),
        "{fragment:?}"
    );
    assert_eq!(
        transport_of("udp-ports-from-padding"),
        Transport::Other(UDP)
    );
    assert_eq!(icmp_of("icmp-id-from-padding").echo, None);
    assert_eq!(decoded("ipv6-length-from-padding").packet.len, 40);
}

#[test]
fn quotes_have_what_is_quoted() {
    let quoted = |name| {
        let quote = icmp_of(name).quote.expect("a quote");
        (quote.proto, quote.ports, quote.header.is_some())
    };
    assert_eq!(quoted("quote-of-later-fragment"), (UDP, None, false));
    let whole = (UDP, Some((30_000, 13_000)), true);
    assert_eq!(quoted("quote-behind-fragment-header"), whole);
    assert_eq!(quoted("quote-behind-hop-by-hop"), whole);
    assert_eq!(quoted("quote-header-only"), (253, None, false));
    let quote = icmp_of("quote-header-only").quote.expect("a quote");
    assert_eq!(quote.src, Ipv4Addr::new(10, 9, 0, 2));
}

#[test]
fn datagrams_to_a_tunnels_port_are_datagrams() {
    for (name, ports, len) in [
        ("dns-answer-to-port-8472", (53, 8472), 77),
        ("udp-4-bytes-to-4789", (4000, 4789), 32),
        ("udp-4-bytes-to-6081", (4000, 6081), 32),
        ("udp-empty-to-8472", (4000, 8472), 28),
    ] {
        let hop = decoded(name);
        assert_eq!((hop.encap, hop.packet.len), (None, len), "{name}");
        assert_eq!(hop.packet.ports(), Some(ports), "{name}");
    }
}

#[test]
fn what_is_rare_is_shown() {
    let zeros = decoded("zero-macs");
    assert_eq!(
        (zeros.src_mac, zeros.dst_mac),
        (Some(Mac([0; 6])), Some(Mac([0; 6])))
    );
    let atomic = decoded("atomic-fragment").packet;
    assert_eq!((atomic.ip_id, atomic.fragment), (Some(0x1234), None));
    assert_eq!(atomic.ports(), Some((30_000, 13_000)));
    let inside = decoded("geneve-oam");
    assert_eq!(
        inside.encap.map(|encap| encap.kind),
        Some(EncapKind::Geneve)
    );
    for name in ["geneve-oam", "qinq-drop-decoded-as-ip"] {
        assert_eq!(decoded(name).packet.ports(), Some((4000, 5000)), "{name}");
    }
}

#[test]
fn a_hash_that_could_not_be_made_is_none() {
    let mut event = event(&kept("zero-macs"));
    let hash = |event: &HopEvent| {
        let hop = hop(&bytes(event), |_, _| Some(0)).expect("a hop");
        hop.packet.payload_hash
    };
    assert_eq!(hash(&event), Some(0));
    event.flags &= !HASHED;
    assert_eq!(hash(&event), None);
}
