//! Which packets belong to a follow.
//!
//! A follow is a list of address *pairs*, side A and side B, each with a
//! [`Rule`] about protocol and ports. A packet belongs when its innermost
//! addresses are the two sides of one pair, in either direction; an ICMP
//! error when the packet it quotes does; ARP and neighbour discovery when
//! both parties are followed or a next hop of who is.
//!
//! Two stages. A bit array answers "neither address is of interest" for
//! nearly every packet, in a few nanoseconds. What is left is looked up in
//! tables of addresses and prefixes, whose values are bit sets of pairs.

use network_types::ip::IpProto;

use crate::{
    hash::mix,
    packet::Packet,
    walk::{Layers, Network, quoted},
};

/// How many pairs a follow can have.
pub const MAX_PAIRS: usize = 64;

/// Words of the bit array: 4,096 bits.
pub const PREFILTER_WORDS: usize = 64;

/// The bit array. A set bit says that an address with this
/// [`prefilter_index`] may be of interest.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefilter {
    /// 64 bits each.
    pub words: [u64; PREFILTER_WORDS],
}

/// Key of the address tables: the filter's slot, then the address, IPv4 as
/// `::ffff:a.b.c.d`. A prefix's length counts from the slot's first bit.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressKey {
    /// `generation % 2` of the filter.
    pub slot: u32,
    /// Network byte order.
    pub address: [u8; 16],
}

/// Bits of [`AddressKey`] before the address.
pub const KEY_PREFIX_BITS: u32 = 32;

/// What an address is to the follow: value of the address tables.
///
/// An address inside several prefixes carries the union of them all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Bit *n*: side A of pair *n*.
    pub a: u64,
    /// Bit *n*: side B of pair *n*.
    pub b: u64,
    /// [`NEIGHBOUR`] and [`FOLLOWED`].
    pub flags: u32,
    /// Always 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<Sides>() == 24);

/// Flag of [`Sides`]: ARP and ND of this address belong to the follow if the
/// other party has the flag too.
pub const NEIGHBOUR: u32 = 1;
/// Flag of [`Sides`]: one of the addresses that are followed.
pub const FOLLOWED: u32 = 2;

/// What a pair asks of protocol and ports; 0 asks nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Port of side A, host byte order.
    pub a_port: u16,
    /// Port of side B, host byte order.
    pub b_port: u16,
    /// IANA protocol number; that of ICMP stands for ICMPv6, too.
    pub proto: u8,
    /// Always 0.
    pub padding: [u8; 3],
}

const _: () = assert!(size_of::<Rule>() == 8);

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to do with the follow.
    Miss,
    /// From a followed address to somewhere the follow does not ask about.
    Elsewhere,
    /// Belongs to it.
    Match,
}

/// The filter's tables, wherever they are.
pub trait Tables {
    /// Whether the bit at `index` of the [`Prefilter`] is set.
    fn may_concern(&self, index: u32) -> bool;
    /// What is said of `address`, or of the longest prefix that holds it.
    fn sides(&self, address: &[u8; 16]) -> Sides;
    /// The rule of pair `index`, below [`MAX_PAIRS`].
    fn rule(&self, index: u32) -> Rule;
}

/// The two addresses by which a packet is judged, as offsets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    src: usize,
    dst: usize,
    v4: bool,
    /// Protocol of the judged packet.
    pub proto: u8,
    /// Offset of the judged packet's ports, 0 where it has none.
    ports: usize,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Judged by its pair.
    Pair,
    /// ARP, or a neighbour solicitation: `dst` is the target.
    Question,
    /// A neighbour advertisement: `src` is the target.
    Answer,
}

impl Ends {
    /// Source address, IPv4 as `::ffff:a.b.c.d`.
    #[inline(always)]
    pub fn src<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.src, self.v4)
    }

    /// Destination address, likewise.
    #[inline(always)]
    pub fn dst<P: Packet + ?Sized>(&self, packet: &P) -> Option<[u8; 16]> {
        address(packet, self.dst, self.v4)
    }

    /// Source and destination port, host byte order, 0 where there is none.
    #[inline(always)]
    pub fn ports<P: Packet + ?Sized>(&self, packet: &P) -> (u16, u16) {
        if self.ports == 0 {
            return (0, 0);
        }
        match packet.be32(self.ports) {
            Some(ports) => ((ports >> 16) as u16, ports as u16),
            None => (0, 0),
        }
    }
}

/// The first stage: `None` for nearly every packet that is not followed.
///
/// With `explain`, packets from a followed address to anywhere pass, too.
#[inline(always)]
pub fn candidate<P: Packet + ?Sized, T: Tables>(
    packet: &P,
    layers: &Layers,
    tables: &T,
    explain: bool,
) -> Option<Ends> {
    let ends = ends(packet, layers)?;
    let concerns = |at| match fold(packet, at, ends.v4) {
        Some(word) => tables.may_concern(prefilter_index(word)),
        None => false,
    };
    let src = concerns(ends.src);
    let passes = if ends.kind == Kind::Pair {
        src && (explain || concerns(ends.dst))
    } else {
        // Neighbour traffic may come from or go to an address nobody knows,
        // a link-local one.
        src || concerns(ends.dst)
    };
    passes.then_some(ends)
}

/// The second stage: exact.
#[inline(always)]
pub fn decide<P: Packet + ?Sized, T: Tables>(packet: &P, ends: &Ends, tables: &T) -> Decision {
    let (Some(src), Some(dst)) = (ends.src(packet), ends.dst(packet)) else {
        return Decision::Miss;
    };
    let from = tables.sides(&src);
    let to = tables.sides(&dst);
    if ends.kind != Kind::Pair {
        return if neighbours(ends.kind, &from, &to, &src, &dst) {
            Decision::Match
        } else {
            Decision::Miss
        };
    }
    let forward = from.a & to.b;
    let reverse = from.b & to.a;
    if forward | reverse != 0 {
        let (src_port, dst_port) = ends.ports(packet);
        let mut left = forward | reverse;
        for _ in 0..MAX_PAIRS {
            if left == 0 {
                break;
            }
            let index = left.trailing_zeros();
            let bit = 1 << index;
            left ^= bit;
            let rule = tables.rule(index);
            if (forward & bit != 0 && rule.accepts(ends.proto, src_port, dst_port))
                || (reverse & bit != 0 && rule.accepts(ends.proto, dst_port, src_port))
            {
                return Decision::Match;
            }
        }
    }
    if from.a != 0 {
        Decision::Elsewhere
    } else {
        Decision::Miss
    }
}

/// Whether ARP or ND between these two belongs to the follow.
#[inline(always)]
fn neighbours(kind: Kind, from: &Sides, to: &Sides, src: &[u8; 16], dst: &[u8; 16]) -> bool {
    if from.flags & to.flags & NEIGHBOUR != 0 {
        return true;
    }
    // A router asks from its link-local address, a host that checks for
    // duplicates from none at all, and an unasked-for answer goes to all.
    let (target, other) = match kind {
        Kind::Answer => (from, dst),
        _ => (to, src),
    };
    let unspecified = *other == [0; 16] || *other == V4_UNSPECIFIED;
    let link_local = other[0] == 0xfe && other[1] & 0xc0 == 0x80;
    let multicast = other[0] == 0xff;
    target.flags & FOLLOWED != 0 && (link_local || multicast || unspecified)
}

const V4_UNSPECIFIED: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

impl Rule {
    /// Whether a packet from side A to side B satisfies the rule.
    #[inline(always)]
    const fn accepts(&self, proto: u8, a_port: u16, b_port: u16) -> bool {
        const ICMP: u8 = IpProto::Icmp as u8;
        const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
        let asked =
            self.proto == 0 || self.proto == proto || (self.proto == ICMP && proto == ICMP6);
        asked
            && (self.a_port == 0 || self.a_port == a_port)
            && (self.b_port == 0 || self.b_port == b_port)
    }
}

/// Whose addresses decide about a packet: its own, those of the packet it
/// quotes, or the two parties of ARP and ND.
#[inline(always)]
fn ends<P: Packet + ?Sized>(packet: &P, layers: &Layers) -> Option<Ends> {
    let pair = Ends {
        src: 0,
        dst: 0,
        v4: true,
        proto: layers.proto,
        ports: 0,
        kind: Kind::Pair,
    };
    match layers.network {
        Network::Arp => {
            // Hardware Ethernet, protocol IPv4, lengths 6 and 4 (RFC 826).
            let known =
                packet.be32(layers.l3)? == 0x0001_0800 && packet.be16(layers.l3 + 4)? == 0x0604;
            known.then_some(Ends {
                src: layers.l3 + 14,
                dst: layers.l3 + 24,
                kind: Kind::Question,
                ..pair
            })
        }
        network => {
            if let Some(inner) = quoted(packet, layers) {
                return quoted_ends(packet, network, inner, pair);
            }
            let v4 = network == Network::V4;
            let addresses = layers.l3 + if v4 { 12 } else { 8 };
            let ends = Ends {
                src: addresses,
                dst: addresses + if v4 { 4 } else { 16 },
                v4,
                ports: if layers.has_transport() && has_ports(layers.proto) {
                    layers.l4
                } else {
                    0
                },
                ..pair
            };
            if layers.proto == IpProto::Ipv6Icmp as u8 && layers.has_transport() {
                // RFC 4861, 4.3 and 4.4: the target follows eight bytes.
                match packet.u8(layers.l4)? {
                    SOLICITATION => {
                        return Some(Ends {
                            dst: layers.l4 + 8,
                            kind: Kind::Question,
                            ..ends
                        });
                    }
                    ADVERTISEMENT => {
                        return Some(Ends {
                            src: layers.l4 + 8,
                            kind: Kind::Answer,
                            ..ends
                        });
                    }
                    _ => {}
                }
            }
            Some(ends)
        }
    }
}

/// ICMPv6 type of a neighbour solicitation.
pub const SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const ADVERTISEMENT: u8 = 136;

/// The ends of the packet that an ICMP error quotes at `at`.
#[inline(always)]
fn quoted_ends<P: Packet + ?Sized>(
    packet: &P,
    network: Network,
    at: usize,
    pair: Ends,
) -> Option<Ends> {
    let v4 = network == Network::V4;
    let (addresses, proto, l4) = if v4 {
        let header_len = usize::from(packet.u8(at)? & 0xf) * 4;
        (at + 12, packet.u8(at + 9)?, at + header_len)
    } else {
        (at + 8, packet.u8(at + 6)?, at + 40)
    };
    Some(Ends {
        src: addresses,
        dst: addresses + if v4 { 4 } else { 16 },
        v4,
        proto,
        ports: if has_ports(proto) { l4 } else { 0 },
        ..pair
    })
}

#[inline(always)]
const fn has_ports(proto: u8) -> bool {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const SCTP: u8 = IpProto::Sctp as u8;
    matches!(proto, TCP | UDP | SCTP)
}

#[inline(always)]
fn address<P: Packet + ?Sized>(packet: &P, at: usize, v4: bool) -> Option<[u8; 16]> {
    if v4 {
        let mut mapped = V4_UNSPECIFIED;
        mapped[12..].copy_from_slice(&packet.read::<4>(at)?);
        Some(mapped)
    } else {
        packet.read(at)
    }
}

/// An address in 32 bits.
#[inline(always)]
fn fold<P: Packet + ?Sized>(packet: &P, at: usize, v4: bool) -> Option<u32> {
    if v4 {
        packet.read(at).map(u32::from_ne_bytes)
    } else {
        packet.read(at).map(fold_v6)
    }
}

#[inline(always)]
const fn fold_v6(address: [u8; 16]) -> u32 {
    let bits = u128::from_ne_bytes(address);
    (bits as u32) ^ ((bits >> 32) as u32) ^ ((bits >> 64) as u32) ^ ((bits >> 96) as u32)
}

/// Position in the [`Prefilter`] of a folded address (Fibonacci hashing: the
/// golden ratio's bits spread neighbouring addresses).
#[inline(always)]
const fn prefilter_index(word: u32) -> u32 {
    word.wrapping_mul(0x9e37_79b1) >> 20
}

const _: () = assert!(PREFILTER_WORDS * 64 == 1 << 12);

impl Prefilter {
    /// Nothing is of interest.
    pub const EMPTY: Self = Self {
        words: [0; PREFILTER_WORDS],
    };
    /// Everything may be.
    pub const FULL: Self = Self {
        words: [u64::MAX; PREFILTER_WORDS],
    };

    /// Marks an IPv4 address.
    pub const fn insert_v4(&mut self, address: [u8; 4]) {
        self.set(prefilter_index(u32::from_ne_bytes(address)));
    }

    /// Marks an IPv6 address.
    pub const fn insert_v6(&mut self, address: [u8; 16]) {
        self.set(prefilter_index(fold_v6(address)));
    }

    const fn set(&mut self, index: u32) {
        self.words[index as usize / 64] |= 1 << (index % 64);
    }

    /// Whether the bit at `index` is set.
    #[must_use]
    pub const fn contains(&self, index: u32) -> bool {
        self.words[index as usize / 64] & (1 << (index % 64)) != 0
    }
}

/// A hash that is the same for one packet at every point it passes, so that
/// sampling takes whole journeys.
///
/// TCP is hashed by flow and timestamp: segmentation and its reverse keep
/// both, so a super-packet and its segments are sampled alike. Everything
/// else is hashed by flow and IP identification, ICMP also by id and
/// sequence number.
#[inline(always)]
pub fn sampling_hash<P: Packet + ?Sized>(packet: &P, layers: &Layers, ends: &Ends) -> u64 {
    /// NOP, NOP, timestamp, length 10: how Linux writes them (RFC 7323, A).
    const TIMESTAMP: u32 = 0x0101_080a;

    let src = fold(packet, ends.src, ends.v4).unwrap_or(0);
    let dst = fold(packet, ends.dst, ends.v4).unwrap_or(0);
    let (src_port, dst_port) = ends.ports(packet);
    let flow = mix(
        u64::from(src) << 32 | u64::from(dst),
        u64::from(src_port) << 32 | u64::from(dst_port) << 16 | u64::from(ends.proto),
    );
    if layers.proto == IpProto::Tcp as u8 && layers.has_transport() {
        return match packet.be32(layers.l4 + 20) {
            Some(TIMESTAMP) => mix(flow, u64::from(packet.be32(layers.l4 + 24).unwrap_or(0))),
            _ => flow,
        };
    }
    let echo = match layers.proto {
        proto if proto == IpProto::Icmp as u8 || proto == IpProto::Ipv6Icmp as u8 => {
            packet.be32(layers.l4 + 4).unwrap_or(0)
        }
        _ => 0,
    };
    mix(flow, u64::from(layers.fragment_id) << 32 | u64::from(echo))
}
