//! Answers with a pod's address that a proxy may have sent.
//!
//! Pod A asks pod B, and the hops are on B's node. B's answer leaves that node by the uplink,
//! without a tunnel.

use super::*;
use crate::model::Icmp;

/// An engine that knows the owners of addresses, and has seen A's SYN come to B's node.
fn asked() -> Stage {
    let mut stage = Stage::new();
    stage.scene.owners = by_hand::scene().owners;
    for (time, point) in [(0, IN), (1000, TO_POD)] {
        stage.see(1, &plain(point, time, 7, &syn()));
    }
    stage
}

/// A hop without a tunnel.
fn plain(point: usize, time: i64, skb: u64, packet: &Packet) -> Hop {
    Hop {
        encap: None,
        ..hop(point, time, skb, packet)
    }
}

fn flagged(flags: u8, ack: u32) -> Packet {
    let mut packet = tcp(100, 0, 1);
    if let Transport::Tcp(tcp) = &mut packet.transport {
        (tcp.flags, tcp.ack) = (Flags(flags), ack);
    }
    packet
}

fn syn() -> Packet {
    flagged(Flags::SYN, 0)
}

fn syn_ack() -> Packet {
    let answer = flagged(Flags::SYN | Flags::ACK, 101);
    let back = answer.ends().expect("TCP has ports").reversed();
    answer.with_ends(&back)
}

/// A packet with a header that a rule has changed on the way.
fn changed(packet: &Packet, change: impl FnOnce(&mut Tcp)) -> Packet {
    let mut packet = packet.clone();
    if let Transport::Tcp(tcp) = &mut packet.transport {
        change(tcp);
    }
    packet
}

/// Whether the SYN's answer is a proxy's.
fn is_stood_in(stage: &mut Stage) -> bool {
    let journeys = stage.end();
    let mut syns = journeys.iter().filter(|journey| journey.packet == syn());
    let syn = syns.next().expect("the SYN was seen");
    syn.stand_in.is_some()
}

#[test]
fn what_goes_out_and_never_came_in_is_not_the_pods() {
    let mut stage = asked();
    stage.see(1, &plain(OUT, 2000, 8, &syn_ack()));
    assert!(is_stood_in(&mut stage));
    let mut stage = asked();
    stage.see(1, &plain(FROM_POD, 2000, 8, &syn_ack()));
    stage.see(1, &plain(OUT, 3000, 8, &syn_ack()));
    assert!(!is_stood_in(&mut stage));
}

/// A rule on the node leads pings, or DNS queries, to a process there.
#[test]
fn an_answer_that_is_no_tcp_needs_no_connection_before() {
    let echo = |kind, [src, dst]: [[u8; 4]; 2]| Packet {
        src: src.into(),
        dst: dst.into(),
        ..packet(Transport::Icmp(Icmp {
            v6: false,
            kind,
            code: 0,
            echo: Some((7, 1)),
            neighbour: None,
            quote: None,
        }))
    };
    let mut stage = Stage::new();
    stage.scene.owners = by_hand::scene().owners;
    stage.see(1, &plain(IN, 0, 7, &echo(8, [A, B])));
    stage.see(1, &plain(OUT, 1000, 8, &echo(0, [B, A])));
    let journeys = stage.end();
    assert!(journeys[0].stand_in.is_some(), "{journeys:#?}");
}

/// Rules may change the MSS of a SYN: `TCPMSS` of iptables, and `tcp option maxseg size set` of
/// nftables.
#[test]
fn a_syn_with_another_mss_is_the_same_packet() {
    let clamped = changed(&syn_ack(), |tcp| tcp.options_hash = 2);
    let mut stage = asked();
    stage.see(1, &plain(FROM_POD, 2000, 8, &syn_ack()));
    stage.see(1, &plain(OUT, 3000, 8, &clamped));
    stage.see(0, &plain(IN, 4000, 9, &clamped));
    let journeys = stage.end();
    assert_eq!(journeys.len(), 2);
    assert_eq!(way(&journeys[1]), [(1, FROM_POD), (1, OUT), (0, IN)]);
    assert!(journeys.iter().all(|journey| journey.stand_in.is_none()));
    // Only the options tell selective acknowledgements apart.
    let ack = flagged(Flags::ACK, 1);
    let mut stage = asked();
    stage.see(0, &plain(FROM_POD, 2000, 8, &ack));
    let other = changed(&ack, |tcp| tcp.options_hash = 2);
    stage.see(0, &plain(FROM_POD, 3000, 8, &other));
    assert_eq!(stage.end().len(), 3);
}

/// A rule may change other fields of a packet. The changed packet still came in from the pod.
#[test]
fn what_came_in_and_is_changed_since_is_the_pods() {
    let changed = changed(&syn_ack(), |tcp| tcp.window = 1);
    let mut stage = asked();
    stage.see(1, &plain(FROM_POD, 2000, 8, &syn_ack()));
    stage.see(1, &plain(OUT, 3000, 8, &changed));
    assert!(!is_stood_in(&mut stage));
    // The memory held another packet before.
    let mut stage = asked();
    stage.see(1, &plain(FROM_POD, 2000, 9, &syn_ack()));
    stage.see(1, &plain(OUT, 3000, 7, &changed));
    assert!(is_stood_in(&mut stage));
}

/// Programs at netkit's own hooks may redirect a pod's packets, so that they do not come in.
#[test]
fn a_pod_behind_netkit_may_have_sent_it_unseen() {
    let mut stage = asked();
    let mut hello = stage.scene.nodes[1].clone();
    for point in &mut hello.points {
        if point.role == crate::model::Role::Veth {
            point.kind = "netkit".to_owned();
        }
    }
    stage.scene.nodes = vec![stage.scene.nodes[0].clone(), hello].into();
    stage.see(1, &plain(OUT, 2000, 8, &syn_ack()));
    assert!(!is_stood_in(&mut stage));
}

/// A node that reassembles a datagram may send it on in other fragments, also if the datagram is an
/// answer.
#[test]
fn a_fragment_that_the_node_has_made_is_no_proxys() {
    let echo = |kind| {
        Transport::Icmp(Icmp {
            v6: false,
            kind,
            code: 0,
            echo: Some((1, 1)),
            quote: None,
            neighbour: None,
        })
    };
    let question = packet(echo(8));
    let answer = |fragment| Packet {
        src: question.dst,
        dst: question.src,
        fragment,
        ..packet(echo(0))
    };
    for (fragment, is_proxys) in [(None, true), (Some((0, true)), false)] {
        let mut stage = asked();
        stage.see(1, &plain(OUT, 1500, 5, &syn_ack()));
        stage.see(1, &plain(TO_POD, 2000, 8, &question));
        stage.see(1, &plain(OUT, 3000, 9, &answer(fragment)));
        let journeys = stage.end();
        let mut asked = journeys
            .iter()
            .filter(|one| one.packet.ends() == question.ends());
        let question = asked.next().expect("the question was seen");
        assert_eq!(question.stand_in.is_some(), is_proxys);
    }
}
