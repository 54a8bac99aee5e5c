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

mod ends;
mod prefilter;
mod sample;

use network_types::ip::IpProto;

pub use self::{
    ends::{ADVERTISEMENT, Ends, SOLICITATION},
    prefilter::{PREFILTER_WORDS, Prefilter},
    sample::sampling_hash,
};
use self::{
    ends::{Kind, V4_UNSPECIFIED, ends},
    prefilter::{fold, prefilter_index},
};
use crate::{
    packet::Packet,
    walk::{Layers, Unparsed},
};

/// How many pairs a follow can have.
pub const MAX_PAIRS: usize = 64;

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

/// How many different rules the pairs of a follow can have. Each is a turn of a
/// loop, which the verifier takes for every path that leads there.
pub const MAX_RULES: usize = 8;

/// What pairs ask of protocol and ports; 0 asks nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Bit *n*: pair *n* asks this. No bit: there are no more rules.
    pub pairs: u64,
    /// Port of side A, host byte order.
    pub a_port: u16,
    /// Port of side B, host byte order.
    pub b_port: u16,
    /// IANA protocol number; that of ICMP stands for ICMPv6, too.
    pub proto: u8,
    /// Always 0.
    pub padding: [u8; 3],
}

const _: () = assert!(size_of::<Rule>() == 16);

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
    /// Rule `index`, below [`MAX_RULES`].
    fn rule(&self, index: u32) -> Rule;
}

/// The first stage: `None` for nearly every packet that is not followed.
///
/// With `explain`, packets from a followed address to anywhere pass, too.
///
/// # Errors
/// [`Unparsed`], where what decides about the packet cannot be read.
#[inline(always)]
pub fn candidate<P: Packet + ?Sized, T: Tables>(
    packet: &P,
    layers: &Layers,
    tables: &T,
    explain: bool,
) -> Result<Option<Ends>, Unparsed> {
    let Some(ends) = ends(packet, layers)? else {
        return Ok(None);
    };
    let concerns = |at| {
        let word = fold(packet, at, ends.v4).ok_or(Unparsed::Short)?;
        Ok(tables.may_concern(prefilter_index(word)))
    };
    let src = concerns(ends.src)?;
    let passes = if ends.kind == Kind::Pair {
        src && (explain || concerns(ends.dst)?)
    } else {
        // Neighbour traffic may come from or go to an address nobody knows,
        // a link-local one.
        src || concerns(ends.dst)?
    };
    if !passes {
        return Ok(None);
    }
    // The frame was cut: it does not have what its headers state.
    if ends.ports != 0 && packet.be32(ends.ports).is_none() {
        return Err(Unparsed::Short);
    }
    Ok(Some(ends))
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
        for index in 0..MAX_RULES as u32 {
            let rule = tables.rule(index);
            if rule.pairs == 0 {
                break;
            }
            if (forward & rule.pairs != 0 && rule.accepts(ends.proto, src_port, dst_port))
                || (reverse & rule.pairs != 0 && rule.accepts(ends.proto, dst_port, src_port))
            {
                return Decision::Match;
            }
        }
    }
    // Of a later fragment nobody can say that it was not asked about.
    if from.a != 0 && ends.is_told {
        Decision::Elsewhere
    } else {
        Decision::Miss
    }
}

/// Whether ARP or ND between these two belongs to the follow.
#[inline(always)]
fn neighbours(kind: Kind, from: &Sides, to: &Sides, src: &[u8; 16], dst: &[u8; 16]) -> bool {
    // The two ends of a pair, or one of them or a next hop with a next hop:
    // not any two followed addresses, of which a prefix may hold very many.
    let next_hop = |sides: &Sides| sides.flags & (NEIGHBOUR | FOLLOWED) == NEIGHBOUR;
    let pair = (from.a & to.b) | (from.b & to.a) != 0;
    if pair || (from.flags & to.flags & NEIGHBOUR != 0 && (next_hop(from) || next_hop(to))) {
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
