//! Anything that agents may send.

use std::{net::IpAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use tracer_common::{
    counters::Counters,
    drop::{DropCounters, Scope},
};
use tracer_core::{
    input::{Batch, Change, DropReport, Gained, Health, Lost, OwnersChange, Report, SocketHealth},
    model::{
        Arp, Encap, EncapKind, Flags, Freed, Hop, Icmp, Mac, Neighbour, Owned, Owner, OwnerKind,
        Owners, Packet, Place, Point, Quote, Tcp, Transport,
    },
};

use crate::view::fixtures::facts;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ]
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn word() -> impl Strategy<Value = Arc<str>> {
    "[a-zA-Z0-9_./ü:]{0,12}".prop_map(Arc::from)
}

fn encap() -> impl Strategy<Value = Encap> {
    let kind = prop_oneof![
        Just(EncapKind::Vxlan),
        Just(EncapKind::IpIp),
        Just(EncapKind::Geneve),
        Just(EncapKind::Gre),
    ];
    (
        kind,
        any::<Option<u32>>(),
        address(),
        address(),
        any::<u8>(),
    )
        .prop_map(|(kind, vni, outer_src, outer_dst, levels)| Encap {
            kind,
            vni,
            outer_src,
            outer_dst,
            levels,
        })
}

fn tcp() -> impl Strategy<Value = Transport> {
    let numbers = any::<(u16, u16, u32, u32, u8, u16, u32)>();
    (numbers, any::<Option<(u32, u32)>>(), any::<u64>()).prop_map(
        |(numbers, timestamps, options_hash)| {
            let (src_port, dst_port, seq, ack, flags, window, payload_len) = numbers;
            Transport::Tcp(Tcp {
                src_port,
                dst_port,
                seq,
                ack,
                flags: Flags(flags),
                window,
                payload_len,
                timestamps,
                options_hash,
            })
        },
    )
}

fn udp() -> impl Strategy<Value = Transport> {
    any::<(u16, u16, u16, Option<[u8; 12]>)>().prop_map(|(src_port, dst_port, len, dns)| {
        Transport::Udp {
            src_port,
            dst_port,
            len,
            dns,
        }
    })
}

fn quote() -> impl Strategy<Value = Quote> {
    (
        address(),
        address(),
        any::<(u8, Option<(u16, u16)>, Option<u16>, Option<[u8; 8]>)>(),
    )
        .prop_map(|(src, dst, (proto, ports, ip_id, header))| Quote {
            src,
            dst,
            proto,
            ports,
            ip_id,
            header,
        })
}

fn icmp() -> impl Strategy<Value = Transport> {
    let neighbour = (address(), any::<bool>()).prop_map(|(target, advertisement)| Neighbour {
        target,
        advertisement,
    });
    let parts = (
        any::<Option<(u16, u16)>>(),
        option::of(neighbour),
        option::of(quote()),
    );
    (any::<(bool, u8, u8)>(), parts).prop_map(|((v6, kind, code), (echo, neighbour, quote))| {
        Transport::Icmp(Icmp {
            v6,
            kind,
            code,
            echo,
            neighbour,
            quote: quote.map(Box::new),
        })
    })
}

fn transport() -> impl Strategy<Value = Transport> {
    let sctp = any::<(u16, u16, u32)>().prop_map(|(src_port, dst_port, tag)| Transport::Sctp {
        src_port,
        dst_port,
        tag,
    });
    let arp = (any::<u16>(), mac(), mac()).prop_map(|(operation, sender, target)| {
        Transport::Arp(Arp {
            operation,
            sender,
            target,
        })
    });
    let cut = (prop::sample::select(vec![6, 17, 132]), any::<(u16, u16)>()).prop_map(
        |(proto, (src_port, dst_port))| Transport::Cut {
            proto,
            src_port,
            dst_port,
        },
    );
    prop_oneof![
        tcp(),
        udp(),
        sctp,
        cut,
        icmp(),
        arp,
        any::<u8>().prop_map(Transport::Other)
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    let ip = any::<(u8, Option<u32>, Option<(u16, bool)>, u32)>();
    (address(), address(), ip, transport(), any::<Option<u64>>()).prop_map(
        |(src, dst, (ttl, ip_id, fragment, len), transport, payload_hash)| Packet {
            src,
            dst,
            ttl,
            ip_id,
            fragment,
            len,
            transport,
            payload_hash,
        },
    )
}

/// Monotonic clocks begin at boot.
const TIMES: std::ops::Range<u64> = 0..1 << 60;

fn hop() -> impl Strategy<Value = Hop> {
    let numbers = any::<(u64, u32, u32, u32, Option<u16>)>();
    let macs = (option::of(mac()), option::of(mac()));
    (
        0..super::POINTS,
        TIMES,
        numbers,
        macs,
        option::of(encap()),
        packet(),
        option::of(vec(any::<u8>(), 0..100)),
    )
        .prop_map(
            |(
                point,
                time,
                (skb, generation, len, segments, vlan),
                (src_mac, dst_mac),
                encap,
                packet,
                frame,
            )| {
                Hop {
                    point,
                    time,
                    skb,
                    generation,
                    len,
                    segments,
                    src_mac,
                    dst_mac,
                    vlan,
                    encap,
                    packet,
                    frame: frame.map(Into::into),
                }
            },
        )
}

fn freed() -> impl Strategy<Value = Freed> {
    let scopes = [Scope::Receiver, Scope::Device, Scope::Socket];
    let names = (word(), word(), option::of(word()), option::of(word()));
    let numbers = (TIMES, any::<u64>(), any::<u64>(), any::<u16>());
    let rest = (
        option::of(prop::sample::select(scopes.to_vec())),
        option::of(mac()),
        option::of(encap()),
        option::of(packet()),
        vec(prop::sample::select(facts::all()), 0..3),
    );
    (names, numbers, rest).prop_map(
        |(
            (reason, function, netns, device),
            (time, skb, offset, protocol),
            (scope, dst_mac, encap, packet, facts),
        )| Freed {
            time,
            skb,
            reason,
            place: Place { function, offset },
            netns,
            scope,
            device,
            dst_mac,
            protocol,
            encap,
            packet,
            facts: facts.into(),
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let counters = vec((0..super::POINTS, any::<[u64; 6]>()), 0..3);
    (
        any::<u64>(),
        counters,
        any::<u64>(),
        any::<Option<[u64; 8]>>(),
        any::<u32>(),
    )
        .prop_map(|(time, counters, malformed, drops, sample)| Report {
            time,
            counters: counters
                .into_iter()
                .map(|(point, packets)| (point, Counters { packets }))
                .collect(),
            malformed,
            drops: drops.map(|packets| DropReport {
                counters: DropCounters { packets },
                malformed,
                missed: 1,
            }),
            health: drops.map(|_| Health {
                time,
                devices: Vec::new(),
                sockets: vec![SocketHealth {
                    netns: "host".into(),
                    counters: vec![("TcpExtListenOverflows".into(), malformed)],
                }],
            }),
            sample,
            ..Report::default()
        })
}

/// What an agent may send at once.
pub(super) fn batch() -> impl Strategy<Value = Batch> {
    let stream = 0..super::STREAMS;
    (
        stream,
        vec(hop(), 0..4),
        vec(freed(), 0..3),
        any::<u64>(),
        any::<bool>(),
        option::of(report()),
        option::of(change()),
    )
        .prop_map(
            |(stream, hops, freed, watermark, overdue, report, change)| Batch {
                stream,
                hops,
                freed,
                watermark,
                overdue,
                report,
                change,
            },
        )
}

/// What may be different.
fn change() -> impl Strategy<Value = Change> {
    let more = vec(any::<u64>(), 0..3);
    let drops = option::of(Just(vec![Arc::from("shop/cart"), Arc::from("default/web")]));
    let given = (
        any::<u64>(),
        more,
        vec(0..2_usize, 0..2),
        drops,
        any::<bool>(),
    );
    given.prop_map(|(time, since, gone, drops, leaves)| {
        let point = |since| Point {
            since,
            ..super::point(0)
        };
        Change {
            time,
            points: since.into_iter().map(point).collect(),
            streams: 0,
            gone,
            local: vec![[10, 1, 0, 1].into()],
            next_hops: Vec::new(),
            network: drops.is_some().then(|| Box::new(super::network())),
            drops,
            leaves,
            notes: Vec::new(),
        }
    })
}

fn owner() -> impl Strategy<Value = Owner> {
    let kinds = [OwnerKind::Pod, OwnerKind::Node, OwnerKind::Service];
    let names = ["default/web", "shop/cart", "node-a"];
    let name = prop::sample::select(names.to_vec());
    let node = prop::sample::select(vec!["", "node-a", "node-b"]);
    (name, prop::sample::select(kinds.to_vec()), node).prop_map(|(name, kind, node)| Owner {
        name: name.to_owned(),
        kind,
        node: node.to_owned(),
    })
}

/// One of a few addresses, so that they change hands.
fn owned_address() -> impl Strategy<Value = IpAddr> {
    (0..3_u8).prop_map(|last| IpAddr::from([10, 244, 1, last]))
}

/// Who may own which address, and when.
pub(super) fn owners() -> impl Strategy<Value = Owners> {
    let time = || option::of(-5..20_i64);
    let owned = (owner(), time(), time());
    let owned = owned.prop_map(|(owner, from, until)| Owned { owner, from, until });
    vec((owned_address(), owned), 0..6).prop_map(Owners::from_iter)
}

/// What may change of that.
pub(super) fn owners_change() -> impl Strategy<Value = OwnersChange> {
    let lost = (owned_address(), owner()).prop_map(|(address, owner)| Lost {
        address,
        name: owner.name,
        kind: owner.kind,
    });
    let gained = (owned_address(), owner());
    let gained = gained.prop_map(|(address, owner)| Gained { address, owner });
    (0..20_i64, vec(lost, 0..3), vec(gained, 0..3)).prop_map(|(time, lost, gained)| OwnersChange {
        time,
        lost,
        gained,
        asked: Vec::new(),
    })
}
