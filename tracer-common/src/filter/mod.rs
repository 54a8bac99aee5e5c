//! The filter, which decides which packets belong to a follow.
//!
//! A follow is a list of address *pairs*, side A and side B, each with a
//! [`Rule`] about protocol and ports. A packet belongs to the follow if its innermost
//! addresses are the two sides of one pair, in either direction. An ICMP
//! error belongs if the packet that it quotes does. ARP and neighbour discovery belong if
//! each party is a followed address or a next hop of one.
//!
//! The filter has two stages. A Bloom filter answers "neither address is of interest" for
//! nearly every packet, in a few nanoseconds. The second stage is exact: one table gives the
//! [`Identity`] of an address or prefix, and another one the rules between two identities.
//! Addresses that are followed alike, such as the backends of a Service, share an identity,
//! so a follow of thousands of addresses has few pairs.

mod ends;
pub(crate) mod prefilter;
mod sample;

use network_types::ip::IpProto;

pub use self::{
    ends::{ADVERTISEMENT, Ends, SOLICITATION},
    prefilter::{PREFILTER_WORDS, Prefilter, Prefilters, Spot},
    sample::sampling_hash,
};
use self::{
    ends::{Kind, V4_UNSPECIFIED, ends},
    prefilter::fold,
};
use crate::{
    layers::{Layers, Unparsed},
    packet::Packet,
    walk::quoted,
};

/// Key of the address tables: the filter's slot, then the address, IPv4 as
/// `::ffff:a.b.c.d`. A prefix's length counts from the slot's first bit.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressKey {
    /// `generation % 2` of the filter.
    pub slot: u32,
    /// The address, network byte order.
    pub address: [u8; 16],
}

/// Bits of [`AddressKey`] before the address.
pub const KEY_PREFIX_BITS: u32 = 32;

/// The role of an address in the follow: value of the address tables.
///
/// User space merges prefixes that overlap, so one look-up gives the whole role.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Number of the class of addresses with the same rules; 0 if the address is in no pair.
    pub class: u32,
    /// Bits: [`NEIGHBOUR`], [`FOLLOWED`] and [`SIDE_A`].
    pub flags: u32,
}

const _: () = assert!(size_of::<Identity>() == 8);

/// Flag of [`Identity`]: ARP and ND of this address belong to the follow if the
/// other party has the flag too.
pub const NEIGHBOUR: u32 = 1;
/// Flag of [`Identity`]: a followed address.
pub const FOLLOWED: u32 = 2;
/// Flag of [`Identity`]: the address is side A of a pair. The programs count unmatched traffic
/// of side A by destination.
pub const SIDE_A: u32 = 4;

/// Key of the table of pairs: two classes. The table holds each pair in both directions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairKey {
    /// `generation % 2` of the filter.
    pub slot: u32,
    /// Class of the source.
    pub from: u32,
    /// Class of the destination.
    pub to: u32,
}

/// Limit of rules between two classes.
pub const MAX_RULES: usize = 16;

/// Limit of different [`RuleSet`]s of a filter.
pub const MAX_RULE_SETS: usize = 256;

/// The rules between two classes: a packet must satisfy one of them. The table of pairs
/// holds the set's number.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleSet {
    /// The rules; those in use come first.
    pub rules: [Rule; MAX_RULES],
}

/// The protocol and ports that a packet must have; 0 allows any.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// IANA protocol number; ICMP's number includes ICMPv6.
    pub proto: u8,
    /// 1 for a rule in use; 0 ends the list of rules.
    pub holds: u8,
    /// Always 0.
    pub padding: [u8; 2],
}

const _: () = assert!(size_of::<Rule>() == 8);

/// The filter's answer about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The packet does not belong to the follow.
    Miss,
    /// The packet comes from a followed address, and goes to an address that is not followed.
    Elsewhere,
    /// The packet belongs to the follow.
    Match,
}

/// The filter's tables, wherever they are.
pub trait Tables {
    /// Whether the address at this spot may be in the [`Prefilter`].
    fn may_concern(&self, spot: Spot) -> bool;
    /// The identity of `address`, or of the longest prefix that contains it.
    fn identity(&self, address: &[u8; 16]) -> Identity;
    /// The number of the [`RuleSet`] of packets between two classes, neither of them 0.
    fn pair(&self, from: u32, to: u32) -> Option<u32>;
    /// Rule `index` of a set, below [`MAX_RULES`].
    fn rule(&self, set: u32, index: u32) -> Rule;
}

/// The first stage: `None` for nearly every packet that is not followed.
///
/// With `explain`, packets from a followed address to any other pass, too: they explain why
/// nothing matches.
///
/// # Errors
/// [`Unparsed`], if the bytes that decide cannot be read.
#[inline(always)]
pub fn candidate<P: Packet + ?Sized, T: Tables>(
    packet: &P,
    layers: &Layers,
    tables: &T,
    explain: bool,
) -> Result<Option<Ends>, Unparsed> {
    let quote = quoted(packet, layers)?;
    candidate_with(packet, layers, quote.as_ref(), tables, explain)
}

/// As [`candidate`], for a packet whose quote is known already ([`quoted`]).
///
/// # Errors
/// As [`candidate`].
#[inline(always)]
pub fn candidate_with<P: Packet + ?Sized, T: Tables>(
    packet: &P,
    layers: &Layers,
    quote: Option<&Layers>,
    tables: &T,
    explain: bool,
) -> Result<Option<Ends>, Unparsed> {
    let Some(ends) = ends(packet, layers, quote)? else {
        return Ok(None);
    };
    let concerns = |at| {
        let word = fold(packet, at, ends.v4).ok_or(Unparsed::Short)?;
        Ok(tables.may_concern(Spot::of(word)))
    };
    let src = concerns(ends.src)?;
    let passes = if ends.kind == Kind::Pair {
        src && (explain || concerns(ends.dst)?)
    } else {
        // One party of neighbour traffic may have an unknown link-local address.
        src || concerns(ends.dst)?
    };
    if !passes {
        return Ok(None);
    }
    // The frame is truncated: it is shorter than its headers state.
    if ends.ports != 0 && packet.be32(ends.ports).is_none() {
        return Err(Unparsed::Short);
    }
    Ok(Some(ends))
}

/// The second stage, which is exact.
#[inline(always)]
pub fn decide<P: Packet + ?Sized, T: Tables>(packet: &P, ends: &Ends, tables: &T) -> Decision {
    // The two are read one after the other. If both are read together, the compiler copies
    // bytes that were not written yet, which no verifier accepts.
    let Some(src) = ends.src(packet) else {
        return Decision::Miss;
    };
    let Some(dst) = ends.dst(packet) else {
        return Decision::Miss;
    };
    let from = tables.identity(&src);
    let to = tables.identity(&dst);
    let pair = if from.class == 0 || to.class == 0 {
        None
    } else {
        tables.pair(from.class, to.class)
    };
    if ends.kind != Kind::Pair {
        return if pair.is_some() || neighbours(ends.kind, &from, &to, &src, &dst) {
            Decision::Match
        } else {
            Decision::Miss
        };
    }
    if let Some(set) = pair {
        let (src_port, dst_port) = ends.ports(packet);
        for index in 0..MAX_RULES as u32 {
            let rule = tables.rule(set, index);
            if rule.holds == 0 {
                break;
            }
            if rule.accepts(ends.proto, src_port, dst_port) {
                return Decision::Match;
            }
        }
    }
    // The ports of a later fragment are unknown, so it may belong to the follow.
    if from.flags & SIDE_A != 0 && ends.is_told {
        Decision::Elsewhere
    } else {
        Decision::Miss
    }
}

/// Whether ARP or ND between these two addresses, which are no pair, belongs to the follow.
#[inline(always)]
fn neighbours(kind: Kind, from: &Identity, to: &Identity, src: &[u8; 16], dst: &[u8; 16]) -> bool {
    // Traffic between two next hops, or between an end and a next hop, belongs to the follow.
    // Traffic between two ends does not, because a prefix may hold very many ends.
    let next_hop = |end: &Identity| end.flags & (NEIGHBOUR | FOLLOWED) == NEIGHBOUR;
    if from.flags & to.flags & NEIGHBOUR != 0 && (next_hop(from) || next_hop(to)) {
        return true;
    }
    // A router asks from its link-local address, a host that checks for duplicates from the
    // unspecified address, and an unsolicited answer goes to all.
    let (target, other) = match kind {
        Kind::Answer => (from, dst),
        _ => (to, src),
    };
    let unspecified = *other == [0; 16] || *other == V4_UNSPECIFIED;
    let link_local = other[0] == 0xfe && other[1] & 0xc0 == 0x80;
    let multicast = other[0] == 0xff;
    target.flags & FOLLOWED != 0 && (link_local || multicast || unspecified)
}

impl Rule {
    /// Whether a packet satisfies the rule.
    #[inline(always)]
    const fn accepts(&self, proto: u8, src_port: u16, dst_port: u16) -> bool {
        const ICMP: u8 = IpProto::Icmp as u8;
        const ICMP6: u8 = IpProto::Ipv6Icmp as u8;
        let asked =
            self.proto == 0 || self.proto == proto || (self.proto == ICMP && proto == ICMP6);
        asked
            && (self.src_port == 0 || self.src_port == src_port)
            && (self.dst_port == 0 || self.dst_port == dst_port)
    }

    /// The same rule for packets in the opposite direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self
        }
    }
}
