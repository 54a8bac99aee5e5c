//! The parts of a packet that all its hops share.

use std::{hash::Hash, net::IpAddr};

use crate::model::{Flags, Packet, Tcp, Transport};

/// A packet without the fields that change on its way. Two hops with equal contents are of one
/// packet, or of identical packets. Only their order tells identical packets apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content<'a>(pub(super) &'a Packet);

impl Content<'_> {
    /// Whether two contents are equal, except for the payload's hash.
    pub(super) fn is_like(&self, Self(other): &Self) -> bool {
        // Destructured, so that a new field cannot be forgotten.
        let Packet {
            src,
            dst,
            ttl: _,
            ip_id,
            fragment,
            len,
            transport,
            payload_hash: _,
        } = self.0;
        *ip_id == other.ip_id
            && is_same(transport, &other.transport)
            && *len == other.len
            && *src == other.src
            && *dst == other.dst
            && *fragment == other.fragment
    }
}

impl Content<'_> {
    /// Whether this is the first fragment of a packet. That fragment has the same transport header,
    /// and the UDP header has the length of the whole datagram.
    pub(super) fn is_first_fragment(&self, Self(whole): &Self) -> bool {
        let is_its = match (&self.0.transport, &whole.transport) {
            // The rest of the segment is in other fragments.
            (Transport::Tcp(first), Transport::Tcp(whole)) => {
                (first.src_port, first.dst_port, first.seq)
                    == (whole.src_port, whole.dst_port, whole.seq)
            }
            (first, whole) => is_same(first, whole),
        };
        matches!(self.0.fragment, Some((0, _))) && is_its
    }

    /// Whether `other` may be this packet after a translation: all fields that translation does not
    /// change are equal. A payload that could not be read does not count.
    pub(super) fn is_translated(&self, Self(other): &Self) -> bool {
        let Self(packet) = self;
        let hashes = (packet.payload_hash, other.payload_hash);
        let same_payload = !matches!(hashes, (Some(one), Some(other)) if one != other);
        let (Some(_), Some(ends)) = (packet.ends(), other.ends()) else {
            return false;
        };
        let quotes = match (&packet.transport, &other.transport) {
            (Transport::Icmp(one), Transport::Icmp(two)) => {
                (one.quote.as_deref(), two.quote.as_deref())
            }
            _ => (None, None),
        };
        let mut packet = packet.with_ends(&ends);
        if let (Some(one), Some(two)) = quotes {
            if !one.is_translated(two) {
                return false;
            }
            if let Transport::Icmp(icmp) = &mut packet.transport {
                icmp.quote = Some(Box::new(two.clone()));
            }
        }
        same_payload && Content(&packet).is_like(&Content(other))
    }
}

/// Whether two headers are equal. The DNS header is read at DNS's port only, and a translation may
/// lead to another port. The payload's hash covers the DNS header as well.
fn is_same(one: &Transport, other: &Transport) -> bool {
    match (one, other) {
        (
            Transport::Udp {
                src_port,
                dst_port,
                len,
                dns,
            },
            Transport::Udp {
                src_port: other_src,
                dst_port: other_dst,
                len: other_len,
                dns: other_dns,
            },
        ) => {
            let read = dns.is_some() && other_dns.is_some();
            (src_port, dst_port, len) == (other_src, other_dst, other_len)
                && (!read || dns == other_dns)
        }
        (Transport::Tcp(one), Transport::Tcp(other)) => {
            let alike = || Tcp {
                options_hash: other.options_hash,
                ..one.clone()
            };
            one == other || (options(one) == options(other) && alike() == *other)
        }
        _ => one == other,
    }
}

/// The hash of the options that count. Rules change the options of a SYN, most often the MSS, so
/// that segments fit into a tunnel. The other fields tell SYNs apart.
fn options(tcp: &Tcp) -> u64 {
    match tcp.flags.has(Flags::SYN) {
        true => 0,
        false => tcp.options_hash,
    }
}

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.payload_hash == other.0.payload_hash && self.is_like(other)
    }
}

/// Writes few machine words, because each hop may be looked up by this hash. It includes all fields
/// that a stranger can choose, so that different packets have different hashes.
impl Hash for Content<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let Packet {
            src,
            dst,
            ip_id,
            fragment,
            transport,
            payload_hash,
            ..
        } = self.0;
        write_ends(*src, *dst, state);
        let (offset, more) = fragment.unwrap_or_default();
        let id = u64::from(ip_id.unwrap_or(0));
        state.write_u64(id << 32 | u64::from(offset) << 1 | u64::from(more));
        state.write_u64(payload_hash.unwrap_or(0));
        let two = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let ports = |src: u16, dst: u16| u32::from(src) << 16 | u32::from(dst);
        match transport {
            Transport::Tcp(tcp) => {
                let (stamp, echoed) = tcp.timestamps.unwrap_or_default();
                let flags = u32::from(tcp.flags.0) << 16 | u32::from(tcp.window);
                state.write_u64(two(ports(tcp.src_port, tcp.dst_port), flags));
                state.write_u64(two(tcp.seq, tcp.ack));
                state.write_u64(two(stamp, echoed));
                state.write_u64(options(tcp) ^ u64::from(tcp.payload_len));
            }
            Transport::Udp {
                src_port,
                dst_port,
                len,
                ..
            } => state.write_u64(two(ports(*src_port, *dst_port), u32::from(*len))),
            Transport::Sctp {
                src_port,
                dst_port,
                tag,
            } => state.write_u64(two(ports(*src_port, *dst_port), *tag)),
            Transport::Icmp(icmp) => {
                let (id, seq) = icmp.echo.unwrap_or_default();
                state.write_u64(two(
                    ports(id, seq),
                    ports(icmp.kind.into(), icmp.code.into()),
                ));
                icmp.neighbour.hash(state);
                icmp.quote.hash(state);
            }
            Transport::Arp(arp) => arp.hash(state),
            Transport::Cut {
                src_port, dst_port, ..
            } => state.write_u32(ports(*src_port, *dst_port)),
            Transport::Other(proto) => state.write_u8(*proto),
        }
    }
}

/// Writes addresses in the form that a hasher processes fastest.
pub(super) fn write_ends<H: std::hash::Hasher>(src: IpAddr, dst: IpAddr, state: &mut H) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            state.write_u64(u64::from(src.to_bits()) << 32 | u64::from(dst.to_bits()));
        }
        (src, dst) => {
            for end in [src, dst] {
                let bits = match end {
                    IpAddr::V4(end) => end.to_bits().into(),
                    IpAddr::V6(end) => end.to_bits(),
                };
                state.write_u128(bits);
            }
        }
    }
}
