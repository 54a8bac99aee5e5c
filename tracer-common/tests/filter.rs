//! The filter, on tables as user space would write them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use proptest::prelude::*;
use tracer_common::{
    config::TunnelPorts,
    filter::{
        Decision, FOLLOWED, Identity, NEIGHBOUR, Prefilter, Rule, SIDE_A, Spot, Tables, candidate,
        decide, sampling_hash,
    },
    layers::Unparsed,
    walk::{quoted, walk},
};
use tracer_tests::frames::{
    ARP, ICMP, ICMPV6, IPV4, IPV6, TCP, UDP, arp_request, ethernet, icmp, ipv4, ipv6, tcp, udp,
};

const A: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
const B: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);
const C: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 8);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const A6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 5);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 5);

/// Each address is a class of its own.
struct Maps {
    prefilter: Vec<u64>,
    identities: HashMap<[u8; 16], Identity>,
    pairs: HashMap<(u32, u32), Vec<Rule>>,
}

impl Maps {
    fn new() -> Self {
        Self {
            prefilter: vec![0; Prefilter::words_for(0)],
            identities: HashMap::new(),
            pairs: HashMap::new(),
        }
    }

    fn address(&mut self, address: impl Into<IpAddr>) -> &mut Identity {
        let mut prefilter = Prefilter::new(&mut self.prefilter);
        let key = match address.into() {
            IpAddr::V4(v4) => {
                prefilter.insert_v4(v4.octets());
                v4.to_ipv6_mapped().octets()
            }
            IpAddr::V6(v6) => {
                prefilter.insert_v6(v6.octets());
                v6.octets()
            }
        };
        let class = u32::try_from(self.identities.len()).expect("few") + 1;
        let new = || Identity { class, flags: 0 };
        self.identities.entry(key).or_insert_with(new)
    }

    fn pair(mut self, a: impl Into<IpAddr>, b: impl Into<IpAddr>, rule: Rule) -> Self {
        let side = self.address(a);
        side.flags |= NEIGHBOUR | FOLLOWED | SIDE_A;
        let a = side.class;
        let side = self.address(b);
        side.flags |= NEIGHBOUR | FOLLOWED;
        let b = side.class;
        self.pairs.entry((a, b)).or_default().push(rule);
        let rule = rule.reversed();
        self.pairs.entry((b, a)).or_default().push(rule);
        self
    }

    fn next_hop(mut self, address: impl Into<IpAddr>) -> Self {
        self.address(address).flags |= NEIGHBOUR;
        self
    }

    fn says(&self, frame: &[u8]) -> Decision {
        let layers = walk(frame, true, &TunnelPorts::default())
            .expect("walked")
            .expect("found");
        match candidate(frame, &layers, self, true).expect("all is there") {
            Some(ends) => decide(frame, &ends, self),
            None => Decision::Miss,
        }
    }
}

impl Tables for Maps {
    fn may_concern(&self, spot: Spot) -> bool {
        let word = spot.word as usize % self.prefilter.len();
        spot.is_in(self.prefilter[word])
    }

    fn identity(&self, address: &[u8; 16]) -> Identity {
        self.identities.get(address).copied().unwrap_or_default()
    }

    /// The numbers of both classes, as that of the set.
    fn pair(&self, from: u32, to: u32) -> Option<u32> {
        self.pairs.get(&(from, to)).map(|_| from << 16 | to)
    }

    fn rule(&self, set: u32, index: u32) -> Rule {
        let rules = &self.pairs[&(set >> 16, set & 0xffff)];
        rules.get(index as usize).copied().unwrap_or_default()
    }
}

fn any_rule() -> Rule {
    Rule {
        holds: 1,
        ..Rule::default()
    }
}

fn tcp_frame(src: Ipv4Addr, dst: Ipv4Addr, src_port: u16, dst_port: u16) -> Vec<u8> {
    ethernet(IPV4, &ipv4(TCP, src, dst, &tcp(src_port, dst_port, 1, b"")))
}

#[test]
fn pairs_both_ways_and_never_across() {
    let maps = Maps::new()
        .pair(A, B, any_rule())
        .pair(GATEWAY, C, any_rule());
    assert_eq!(maps.says(&tcp_frame(A, B, 1, 2)), Decision::Match);
    assert_eq!(maps.says(&tcp_frame(B, A, 2, 1)), Decision::Match);
    assert_eq!(maps.says(&tcp_frame(A, C, 1, 2)), Decision::Elsewhere);
    assert_eq!(maps.says(&tcp_frame(C, A, 1, 2)), Decision::Miss);
    assert_eq!(maps.says(&tcp_frame(A, A, 1, 2)), Decision::Elsewhere);
}

#[test]
fn protocol_and_ports() {
    let maps = Maps::new().pair(
        A,
        B,
        Rule {
            proto: TCP,
            dst_port: 8080,
            ..any_rule()
        },
    );
    assert_eq!(maps.says(&tcp_frame(A, B, 40_000, 8080)), Decision::Match);
    assert_eq!(maps.says(&tcp_frame(B, A, 8080, 40_000)), Decision::Match);
    assert_eq!(
        maps.says(&tcp_frame(A, B, 8080, 40_000)),
        Decision::Elsewhere
    );
    let datagram = ethernet(IPV4, &ipv4(UDP, A, B, &udp(40_000, 8080, b"")));
    assert_eq!(maps.says(&datagram), Decision::Elsewhere);
}

#[test]
fn icmp_stands_for_both_versions() {
    let maps = Maps::new().pair(
        A6,
        LINK_LOCAL,
        Rule {
            proto: ICMP,
            ..any_rule()
        },
    );
    let echo = ethernet(IPV6, &ipv6(ICMPV6, A6, LINK_LOCAL, &icmp(128, 0, &[0; 4])));
    assert_eq!(maps.says(&echo), Decision::Match);
}

#[test]
fn errors_belong_to_what_they_quote() {
    let maps = Maps::new().pair(
        A,
        B,
        Rule {
            proto: UDP,
            dst_port: 53,
            ..any_rule()
        },
    );
    let error = |quote: &[u8]| {
        let rest = [&[0; 4], quote].concat();
        ethernet(IPV4, &ipv4(ICMP, ROUTER, A, &icmp(3, 1, &rest)))
    };
    let asked = error(&ipv4(UDP, A, B, &udp(999, 53, b"")));
    assert_eq!(maps.says(&asked), Decision::Match);
    let not_asked = error(&ipv4(UDP, A, B, &udp(999, 54, b"")));
    assert_eq!(maps.says(&not_asked), Decision::Elsewhere);
}

/// A packet whose ports are unknown may have been asked about.
#[test]
fn what_has_no_ports_is_not_told_to_go_elsewhere() {
    let rule = Rule {
        dst_port: 80,
        ..any_rule()
    };
    let maps = Maps::new().pair(A, B, rule);
    let without = ethernet(IPV4, &ipv4(TCP, A, B, &[]));
    assert_eq!(maps.says(&without), Decision::Miss);
    assert_eq!(maps.says(&tcp_frame(A, B, 1, 81)), Decision::Elsewhere);
    // The frame was cut: its header states that there are some.
    let cut = &tcp_frame(A, B, 1, 80)[..36];
    let layers = walk(cut, true, &TunnelPorts::default()).expect("walked");
    let candidate = candidate(cut, &layers.expect("found"), &maps, true);
    assert_eq!(candidate, Err(Unparsed::Short));
}

#[test]
fn neighbours_among_themselves() {
    let maps = Maps::new()
        .pair(A, B, any_rule())
        .pair(A6, LINK_LOCAL, any_rule())
        .next_hop(GATEWAY);
    let ask = |sender, target| ethernet(ARP, &arp_request(sender, target));
    assert_eq!(maps.says(&ask(A, GATEWAY)), Decision::Match);
    assert_eq!(maps.says(&ask(GATEWAY, A)), Decision::Match);
    assert_eq!(maps.says(&ask(C, GATEWAY)), Decision::Miss);
    assert_eq!(maps.says(&ask(Ipv4Addr::UNSPECIFIED, A)), Decision::Match);
    assert_eq!(
        maps.says(&ask(Ipv4Addr::UNSPECIFIED, GATEWAY)),
        Decision::Miss
    );

    let solicit = |target: Ipv6Addr| {
        let rest = [&[0; 4], target.octets().as_slice()].concat();
        ethernet(
            IPV6,
            &ipv6(
                ICMPV6,
                "fe80::2".parse().expect("an address"),
                SOLICITED,
                &icmp(135, 0, &rest),
            ),
        )
    };
    assert_eq!(
        maps.says(&solicit(A6)),
        Decision::Match,
        "a router asks from fe80::2"
    );
    assert_eq!(
        maps.says(&solicit("fd00:1::6".parse().expect("an address"))),
        Decision::Miss
    );
}

#[test]
fn first_stage_lets_nearly_nothing_through() {
    let mut maps = Maps::new();
    for host in 10..74 {
        maps = maps.pair(
            Ipv4Addr::new(10, 244, 1, host),
            Ipv4Addr::new(10, 244, 2, host),
            any_rule(),
        );
    }
    let mut passed = 0;
    for net in 3..23 {
        for host in 0..=255 {
            let frame = tcp_frame(Ipv4Addr::new(10, 244, net, host), C, 1, 2);
            let layers = walk(frame.as_slice(), true, &TunnelPorts::default())
                .expect("walked")
                .expect("found");
            let candidate = candidate(frame.as_slice(), &layers, &maps, false);
            passed += u32::from(candidate.expect("all is there").is_some());
        }
    }
    assert!(passed < 20 * 256 / 50, "{passed} of {} passed", 20 * 256);
}

fn sampled(frame: &[u8]) -> u64 {
    let layers = walk(frame, true, &TunnelPorts::default())
        .expect("walked")
        .expect("found");
    let quote = quoted(frame, &layers).expect("all is there");
    sampling_hash(frame, &layers, quote.as_ref())
}

#[test]
fn segments_are_sampled_like_their_super_packet() {
    let hash = |seq, payload: &[u8]| {
        let frame = ethernet(IPV4, &ipv4(TCP, A, B, &tcp(1, 2, seq, payload)));
        sampled(&frame)
    };
    assert_eq!(hash(1, &[0; 1000]), hash(501, &[0; 500]));
}

#[test]
fn a_packet_is_sampled_alike_on_both_sides_of_a_translation() {
    let frames = |src, dst, [src_port, dst_port]: [u16; 2]| {
        [
            ethernet(
                IPV4,
                &ipv4(TCP, src, dst, &tcp(src_port, dst_port, 7, b"ab")),
            ),
            ethernet(
                IPV4,
                &ipv4(
                    UDP,
                    src,
                    dst,
                    &udp(src_port, dst_port, b"a payload of some length"),
                ),
            ),
        ]
    };
    let before = frames(A, B, [40_000, 80]);
    let behind = frames(C, A, [1_024, 8_080]);
    for (one, other) in before.iter().zip(&behind) {
        assert_eq!(sampled(one), sampled(other));
    }
    assert_ne!(sampled(&before[0]), sampled(&before[1]));
}

/// Some systems send the same payload with every ping, and no IP identification.
#[test]
fn pings_with_one_payload_are_sampled_apart() {
    let ping = |id: u16, seq: u16| {
        let rest = [
            &id.to_be_bytes()[..],
            &seq.to_be_bytes(),
            b"abcdefghijklmnop",
        ]
        .concat();
        sampled(&ethernet(
            IPV6,
            &ipv6(ICMPV6, A6, SOLICITED, &icmp(128, 0, &rest)),
        ))
    };
    assert_ne!(ping(1, 1), ping(1, 2));
    // A masquerade has changed the identifier.
    assert_eq!(ping(1, 1), ping(2, 1));
}

#[test]
fn an_error_is_sampled_like_the_packet_that_it_quotes() {
    let packet = ipv4(UDP, A, B, &udp(40_000, 80, b"a payload of some length"));
    let rest = [&[0; 4], &packet[..]].concat();
    let error = ethernet(IPV4, &ipv4(ICMP, B, A, &icmp(3, 3, &rest)));
    assert_eq!(sampled(&error), sampled(&ethernet(IPV4, &packet)));
}

#[test]
fn all_fragments_are_sampled_alike() {
    let fragment = |offset: u16, payload: &[u8]| {
        let mut packet = ipv4(UDP, A, B, payload);
        packet[4..6].copy_from_slice(&[0x12, 0x34]);
        packet[6..8].copy_from_slice(&offset.to_be_bytes());
        sampled(&ethernet(IPV4, &packet))
    };
    let first = fragment(1 << 13, &udp(1, 2, &[1; 100]));
    assert_eq!(first, fragment(100, &[7; 50]));
}

proptest! {
    #[test]
    fn deciding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let maps = Maps::new().pair(A, B, any_rule());
        if let Ok(Some(layers)) = walk(bytes.as_slice(), true, &TunnelPorts::default())
            && let Ok(Some(ends)) = candidate(bytes.as_slice(), &layers, &maps, true)
        {
            let _decision: Decision = decide(bytes.as_slice(), &ends, &maps);
        }
    }
}
