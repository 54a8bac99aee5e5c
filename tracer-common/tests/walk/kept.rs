//! The frames of `frames.txt`: what the walk finds, and by what the filter judges.

use tracer_common::{
    filter::candidate,
    layers::TunnelKind,
    layers::{FRAGMENT_HEADER, Unparsed},
    walk::walk,
};
use tracer_tests::frames::{ICMP, TCP, UDP, all_kept, kept};

use crate::{PORTS, Sparse, found, glance_agrees};

const SCTP: u8 = 132;
/// "No next header" (RFC 8200, 4.7).
const NOTHING: u8 = 59;

/// Protocol and ports that a frame is judged by; ports of 0 where it has none.
fn judged(frame: &[u8]) -> Result<(u8, (u16, u16)), Unparsed> {
    let layers = walk(frame, true, &PORTS)?.expect("a packet that can be followed");
    let ends = candidate(frame, &layers, &Sparse(0), true)?.expect("everything concerns it");
    Ok((ends.proto, ends.ports(frame)))
}

#[test]
fn each_is_judged_by_what_it_has() {
    let right = [
        ("tcp-tiny-first-fragment", Ok((TCP, (4000, 80)))),
        ("tcp-header-over-fragment-end", Ok((TCP, (4000, 80)))),
        ("tcp-header-cut", Ok((TCP, (4000, 80)))),
        ("udp-cut", Ok((UDP, (4000, 80)))),
        ("icmp-cut", Ok((ICMP, (0, 0)))),
        ("sctp-cut", Ok((SCTP, (4000, 80)))),
        ("tcp-doff-4", Ok((TCP, (4000, 80)))),
        ("udp-fragment-dns-from-padding", Ok((UDP, (53, 4000)))),
        ("udp-ports-from-padding", Ok((UDP, (0, 0)))),
        ("icmp-id-from-padding", Ok((ICMP, (0, 0)))),
        ("ipv6-length-from-padding", Ok((NOTHING, (0, 0)))),
        ("quote-of-later-fragment", Ok((UDP, (0, 0)))),
        ("quote-behind-fragment-header", Ok((UDP, (30_000, 13_000)))),
        ("quote-behind-hop-by-hop", Ok((UDP, (30_000, 13_000)))),
        ("quote-header-only", Ok((253, (0, 0)))),
        ("no-quote", Err(Unparsed::Short)),
        ("dns-answer-to-port-8472", Ok((UDP, (53, 8472)))),
        ("udp-4-bytes-to-4789", Ok((UDP, (4000, 4789)))),
        ("udp-4-bytes-to-6081", Ok((UDP, (4000, 6081)))),
        ("udp-empty-to-8472", Ok((UDP, (4000, 8472)))),
        ("mpls-drop-decoded-as-ip", Err(Unparsed::Unknown)),
        ("qinq-drop-decoded-as-ip", Ok((UDP, (4000, 5000)))),
        ("zero-macs", Ok((UDP, (4000, 5000)))),
        ("atomic-fragment", Ok((UDP, (30_000, 13_000)))),
        ("geneve-oam", Ok((UDP, (4000, 5000)))),
    ];
    assert_eq!(all_kept().len(), right.len());
    for (name, right) in right {
        assert_eq!(judged(&kept(name)), right, "{name}");
    }
}

#[test]
fn padding_is_no_part_of_the_packet() {
    for (name, len) in [
        ("udp-fragment-dns-from-padding", 28),
        ("udp-ports-from-padding", 20),
        ("icmp-id-from-padding", 24),
        ("ipv6-length-from-padding", 40),
    ] {
        let layers = found(&kept(name));
        assert_eq!(layers.end - layers.l3, len, "{name}");
        assert!(!layers.has(len - (layers.l4 - layers.l3) + 1), "{name}");
    }
}

#[test]
fn an_atomic_fragment_is_whole_and_has_its_identification() {
    let layers = found(&kept("atomic-fragment"));
    assert_eq!(layers.fragment, FRAGMENT_HEADER);
    assert_eq!(layers.fragment_id, 0x1234);
    assert!(layers.has_transport());
}

#[test]
fn a_tunnel_is_what_linux_takes_for_one() {
    let kind = |name| found(&kept(name)).tunnel().map(|tunnel| tunnel.kind);
    assert_eq!(kind("geneve-oam"), Some(TunnelKind::Geneve));
    for name in [
        "dns-answer-to-port-8472",
        "udp-4-bytes-to-4789",
        "udp-4-bytes-to-6081",
    ] {
        assert_eq!(kind(name), None, "{name}");
    }
}

/// The first look says the same, or leaves it to the second.
#[test]
fn a_glance_agrees_about_each() {
    let plain = all_kept()
        .iter()
        .filter(|(_, frame)| glance_agrees(frame, true))
        .count();
    assert!(plain > 0);
}
