//! The frames of `frames.txt`, copied as the programs copy them.

use tracer_common::config::{Load, TunnelPorts};
use tracer_tests::frames::kept;

use super::*;

const PORTS: TunnelPorts = TunnelPorts {
    vxlan: [8472, 4789, 0, 0],
    geneve: [6081, 0, 0, 0],
};

/// What a program copies of a frame.
fn copied(name: &str) -> HopEvent {
    let frame = kept(name);
    let load = Load {
        ports: PORTS,
        ..Load::default()
    };
    let len = u32::try_from(frame.len()).expect("short");
    let event = event(&frame, len, true, &load).expect("a frame that can be walked");
    event.expect("a packet that can be followed")
}

fn decoded(name: &str) -> Hop {
    hop_at(&copied(name), 0).expect("a hop")
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
    let mut event = copied("zero-macs");
    let hash = |event: &HopEvent| {
        let hop = hop_at(event, 0).expect("a hop");
        hop.packet.payload_hash
    };
    assert!(hash(&event).is_some());
    event.flags &= !HASHED;
    assert_eq!(hash(&event), None);
}
