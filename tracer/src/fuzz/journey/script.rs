//! What happens in front of the engine, read from any bytes.
//!
//! Small numbers are the most likely: packets that look like others, buffers
//! that are used again, times that are near each other make more of a story
//! than chance does. But each can also be anything.

use std::net::IpAddr;

use arbitrary::{Arbitrary, Result, Unstructured};
use tracer_common::drop::Scope;
use tracer_core::{
    journey::{Limits, Scene},
    model::{
        Arp, Encap, EncapKind, Flags, Freed, Hop, Icmp, Mac, Neighbour, Packet, Place, Quote, Role,
        Tcp, Transport,
    },
};

use super::scene;

/// 2026-03-01T12:34:56.789 UTC, ns.
const NOON: i64 = 1_772_368_496_789_000_000;

/// Reasons and functions, one of each class at least.
const FREED: [(&str, &str); 8] = [
    ("NETFILTER_DROP", "nft_do_chain"),
    ("NEIGH_FAILED", "neigh_invalidate"),
    ("NO_SOCKET", "tcp_v4_rcv"),
    ("NO_SOCKET", "ping_rcv"),
    ("TCP_OLD_DATA", "tcp_data_queue"),
    ("OTHERHOST", "ip_rcv_core"),
    ("NOT_SPECIFIED", "some_driver"),
    ("SOCKET_RCVBUFF", "udp_queue_rcv_one_skb"),
];

/// One thing that happens.
#[derive(Debug)]
pub(super) enum Act {
    /// An agent saw a packet pass, at this Unix time, ns.
    Hop(usize, i64, Hop),
    /// An agent saw a packet being freed.
    Freed(usize, i64, Freed),
    /// It is this time.
    Pass(i64),
}

/// A scene and what happens on it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) scene: Scene,
    pub(super) limits: Limits,
    /// What the judge is told of the agents, in bits.
    pub(super) circumstances: u8,
    /// Whether it is shown, which takes longer than all else.
    pub(super) shown: bool,
    pub(super) acts: Vec<Act>,
}

impl Script {
    pub(super) fn read(data: &[u8]) -> Result<Self> {
        let mut bytes = Unstructured::new(data);
        let mut script = Self {
            scene: scene::read(&mut bytes)?,
            limits: Limits {
                hold: *bytes.choose(&[5_000_000_000, 1_000_000, 0, i64::MAX])?,
                open: bytes.int_in_range(1..=64)?,
                ..Limits::default()
            },
            circumstances: bytes.arbitrary()?,
            shown: bytes.int_in_range(0..=15)? == 15,
            acts: Vec::new(),
        };
        let mut now = NOON;
        while !bytes.is_empty() {
            let act = script.act(&mut bytes, &mut now)?;
            script.acts.push(act);
        }
        Ok(script)
    }

    fn act(&self, bytes: &mut Unstructured<'_>, now: &mut i64) -> Result<Act> {
        let what = bytes.int_in_range(0..=7)?;
        let time = time(bytes, now)?;
        let node = bytes.choose_index(self.scene.nodes.len())?;
        Ok(match what {
            0..=4 => Act::Hop(node, time, self.hop(bytes, node, time)?),
            5 | 6 => Act::Freed(node, time, self.freed(bytes, time)?),
            _ => Act::Pass(time),
        })
    }

    fn hop(&self, bytes: &mut Unstructured<'_>, node: usize, time: i64) -> Result<Hop> {
        let point = bytes.choose_index(self.scene.nodes[node].points.len())?;
        let uplink = self.scene.nodes[node].points[point].role == Role::Uplink;
        let skb = skb(bytes)?;
        let packet = self.packet(bytes)?;
        Ok(Hop {
            point,
            time: time.cast_unsigned(),
            skb,
            generation: 1,
            len: number(bytes, &[packet.len.saturating_add(14)])?,
            segments: number(bytes, &[1, 2, 45])?.max(1),
            src_mac: Some(Mac::default()),
            dst_mac: Some(Mac::default()),
            vlan: None,
            encap: (uplink != bytes.ratio(1, 16)?).then(|| self.encap()),
            packet,
            frame: None,
        })
    }

    fn freed(&self, bytes: &mut Unstructured<'_>, time: i64) -> Result<Freed> {
        let (reason, function) = *bytes.choose(&FREED)?;
        let skb = skb(bytes)?;
        let netns = *bytes.choose(&[Some("host"), Some(scene::PODS[1]), None])?;
        let scopes = [
            None,
            Some(Scope::Device),
            Some(Scope::Socket),
            Some(Scope::Receiver),
        ];
        let known = !bytes.ratio(1, 16)?;
        Ok(Freed {
            time: time.cast_unsigned(),
            skb,
            reason: reason.into(),
            place: Place {
                function: function.into(),
                offset: 1,
            },
            netns: netns.map(Into::into),
            scope: *bytes.choose(&scopes)?,
            device: bytes.ratio(1, 2)?.then(|| "eth0".into()),
            dst_mac: None,
            protocol: 0x0800,
            encap: None,
            packet: known.then(|| self.packet(bytes)).transpose()?,
            facts: [].into(),
        })
    }

    fn encap(&self) -> Encap {
        let [outer_src, outer_dst] = scene::addresses(&self.scene, scene::NODES);
        Encap {
            kind: EncapKind::Vxlan,
            vni: Some(1),
            outer_src,
            outer_dst,
            levels: 1,
        }
    }

    fn packet(&self, bytes: &mut Unstructured<'_>) -> Result<Packet> {
        let [mut src, mut dst] = scene::addresses(&self.scene, scene::POD_ADDRESSES);
        let [_, far_node] = scene::addresses(&self.scene, scene::NODES);
        match bytes.int_in_range(0..=7)? {
            0..=3 => {}
            4..=6 => (src, dst) = (dst, src),
            _ => dst = far_node,
        }
        let what = bytes.int_in_range(0..=9)?;
        let transport = match what {
            0..=2 => tcp(bytes)?,
            3 | 4 => udp(bytes)?,
            5 | 6 => echo(bytes, src.is_ipv6())?,
            7 => error(bytes, src, dst)?,
            8 => neighbour(bytes, dst)?,
            _ => other(bytes)?,
        };
        let fragment = match bytes.int_in_range(0..=15)? {
            0..=12 => None,
            13 => Some((0, true)),
            14 => Some((1480, true)),
            _ => Some((2960, false)),
        };
        let payload = match &transport {
            Transport::Tcp(tcp) => tcp.payload_len,
            _ => 0,
        };
        Ok(Packet {
            src,
            dst,
            ttl: *bytes.choose(&[64, 63, 62, 1, 0, 255])?,
            ip_id: bytes.ratio(3, 4)?.then_some(bytes.int_in_range(0..=3)?),
            fragment,
            len: number(bytes, &[payload.saturating_add(52)])?,
            transport,
            payload_hash: Some(bytes.int_in_range(0..=3)?),
        })
    }
}

/// The next moment: usually a little later than the last one.
fn time(bytes: &mut Unstructured<'_>, now: &mut i64) -> Result<i64> {
    let far: i64 = bytes.int_in_range(0..=255)?;
    match bytes.int_in_range(0..=15)? {
        0..=8 => *now = now.saturating_add(far * 1_000),
        9 | 10 => *now = now.saturating_add(far * 10_000_000),
        11 | 12 => return Ok(now.saturating_sub(far * 1_000)),
        13 => return Ok(now.saturating_sub(far * 10_000_000)),
        14 => *now = now.saturating_add(far * 1_000_000_000),
        _ => return bytes.arbitrary(),
    }
    Ok(*now)
}

/// One of a few buffers, that are used over and over.
fn skb(bytes: &mut Unstructured<'_>) -> Result<u64> {
    bytes.int_in_range(0..=7)
}

/// One of these, or anything.
fn number(bytes: &mut Unstructured<'_>, likely: &[u32]) -> Result<u32> {
    match likely.get(bytes.int_in_range(0..=likely.len() * 4 - 1)? / 3) {
        Some(number) => Ok(*number),
        None => u32::arbitrary(bytes),
    }
}

fn ports(bytes: &mut Unstructured<'_>) -> Result<(u16, u16)> {
    let port = *bytes.choose(&[8080, 53])?;
    Ok(if bytes.ratio(1, 2)? {
        (40_000, port)
    } else {
        (port, 40_000)
    })
}

fn tcp(bytes: &mut Unstructured<'_>) -> Result<Transport> {
    const FLAGS: [u8; 8] = [
        Flags::ACK,
        Flags::ACK,
        Flags::ACK | Flags::PSH,
        Flags::SYN,
        Flags::SYN | Flags::ACK,
        Flags::FIN | Flags::ACK,
        Flags::RST | Flags::ACK,
        0xff,
    ];
    // Around where sequence numbers wrap.
    let at: u32 = bytes.int_in_range(0..=31)?;
    let seq = (at * 500).wrapping_sub(4_000);
    let (src_port, dst_port) = ports(bytes)?;
    let len: u32 = bytes.int_in_range(0..=7)?;
    Ok(Transport::Tcp(Tcp {
        src_port,
        dst_port,
        seq: number(bytes, &[seq, seq, seq])?,
        ack: number(bytes, &[seq, seq.wrapping_add(500), 1])?,
        flags: Flags(*bytes.choose(&FLAGS)?),
        window: 500,
        payload_len: number(bytes, &[len * 500, len * 500, 0])?,
        timestamps: bytes
            .ratio(3, 4)?
            .then_some((bytes.int_in_range(0..=2)?, 1)),
        options_hash: 0,
    }))
}

fn udp(bytes: &mut Unstructured<'_>) -> Result<Transport> {
    let (src_port, dst_port) = ports(bytes)?;
    let dns = match bytes.int_in_range(0..=3)? {
        0 => Some([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        1 => Some([0, 7, 0x81, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
        _ => None,
    };
    Ok(Transport::Udp {
        src_port,
        dst_port,
        len: 40,
        dns,
    })
}

fn icmp(v6: bool, kind: u8, code: u8) -> Icmp {
    Icmp {
        v6,
        kind,
        code,
        echo: None,
        neighbour: None,
        quote: None,
    }
}

fn echo(bytes: &mut Unstructured<'_>, v6: bool) -> Result<Transport> {
    let kinds = if v6 { [128, 129] } else { [8, 0] };
    Ok(Transport::Icmp(Icmp {
        echo: Some((7, bytes.int_in_range(0..=3)?)),
        ..icmp(v6, *bytes.choose(&kinds)?, 0)
    }))
}

/// An ICMP error to `dst`, about a packet that it sent.
fn error(bytes: &mut Unstructured<'_>, src: IpAddr, dst: IpAddr) -> Result<Transport> {
    let v6 = src.is_ipv6();
    let (proto, transport) = match bytes.int_in_range(0..=2)? {
        0 => (6, tcp(bytes)?),
        1 => (17, udp(bytes)?),
        _ => (if v6 { 58 } else { 1 }, echo(bytes, v6)?),
    };
    let (mut first, mut second, mut last) = ([0; 2], [0; 2], [0; 4]);
    let mut quoted = None;
    match transport {
        Transport::Tcp(tcp) => {
            quoted = Some((tcp.src_port, tcp.dst_port));
            last = tcp.seq.to_be_bytes();
        }
        Transport::Udp {
            src_port, dst_port, ..
        } => {
            quoted = Some((src_port, dst_port));
            last[1] = 40;
        }
        Transport::Icmp(icmp) => {
            first = [icmp.kind, 0];
            let (id, seq) = icmp.echo.unwrap_or_default();
            last[..2].copy_from_slice(&id.to_be_bytes());
            last[2..].copy_from_slice(&seq.to_be_bytes());
        }
        Transport::Sctp { .. }
        | Transport::Cut { .. }
        | Transport::Arp(_)
        | Transport::Other(_) => {}
    }
    if let Some((src_port, dst_port)) = quoted {
        (first, second) = (src_port.to_be_bytes(), dst_port.to_be_bytes());
    }
    let header = [
        first[0], first[1], second[0], second[1], last[0], last[1], last[2], last[3],
    ];
    let quote = Quote {
        src: dst,
        dst: src,
        proto,
        ports: quoted,
        ip_id: if v6 {
            None
        } else {
            Some(bytes.int_in_range(0..=3)?)
        },
        header: bytes.ratio(7, 8)?.then_some(header),
    };
    let kind = *bytes.choose(&[3, 11, 5])?;
    Ok(Transport::Icmp(Icmp {
        quote: Some(Box::new(quote)),
        ..icmp(v6, if v6 { 1 } else { kind }, bytes.int_in_range(0..=15)?)
    }))
}

/// ARP or neighbour discovery.
fn neighbour(bytes: &mut Unstructured<'_>, target: IpAddr) -> Result<Transport> {
    let question = bytes.ratio(1, 2)?;
    if target.is_ipv4() {
        return Ok(Transport::Arp(Arp {
            operation: if question { 1 } else { 2 },
            sender: Mac::default(),
            target: Mac::default(),
        }));
    }
    Ok(Transport::Icmp(Icmp {
        neighbour: Some(Neighbour {
            target,
            advertisement: !question,
        }),
        ..icmp(true, if question { 135 } else { 136 }, 0)
    }))
}

fn other(bytes: &mut Unstructured<'_>) -> Result<Transport> {
    Ok(if bytes.ratio(1, 2)? {
        Transport::Sctp {
            src_port: 1,
            dst_port: 2,
            tag: bytes.arbitrary()?,
        }
    } else {
        Transport::Other(bytes.arbitrary()?)
    })
}
