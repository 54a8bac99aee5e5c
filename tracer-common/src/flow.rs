//! What was decided about the packets before: most that pass the first stage are of few
//! flows.
//!
//! A program keeps its last decisions per CPU, by everything that they depend on: the
//! generation of the filter, addresses, protocol and ports. Whoever asks for the same
//! once more needs no look-up. An entry also counts what a followed address sends
//! elsewhere, until another flow takes its place.

use crate::{elsewhere::Elsewhere, filter::Ends, hash::mix, packet::Packet};

/// How many flows are kept per CPU; a power of two.
pub const FLOWS: usize = 128;

/// All that a decision depends on, and the point, of which counts are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Source and destination address, IPv4 as `::ffff:a.b.c.d`, as they are in memory.
    pub addresses: [u64; 4],
    /// Generation of the filter; 0 of an entry that is not in use.
    pub generation: u32,
    /// Interface index.
    pub ifindex: u32,
    /// Source port in the upper half, destination port in the lower one.
    pub ports: u32,
    /// IANA protocol number.
    pub proto: u8,
    /// As [`crate::event::HopEvent::place`].
    pub place: u8,
    /// Whether all that a rule asks for is known: 0 or 1.
    pub is_told: u8,
    /// Always 0.
    pub padding: u8,
}

/// A flow, and what was decided about it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Which packets belong to the flow.
    pub key: FlowKey,
    /// 1 of a match, 2 of a packet to elsewhere, else a miss.
    pub decision: u32,
    /// Packets to elsewhere that are not in the table of those yet.
    pub elsewhere: u32,
}

const _: () = assert!(size_of::<Flow>() == 56);

/// All flows of a CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// By [`FlowKey::index`].
    pub flows: [Flow; FLOWS],
}

impl FlowKey {
    /// That of a packet that is judged by its addresses and ports; none of other packets.
    #[inline(always)]
    pub fn of<P: Packet + ?Sized>(packet: &P, ends: &Ends, generation: u32) -> Option<Self> {
        let [src, dst] = ends.pair(packet)?;
        let (src_port, dst_port) = ends.ports(packet);
        let word = |address: [u8; 16], at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&address[at..at + 8]);
            u64::from_ne_bytes(word)
        };
        Some(Self {
            addresses: [word(src, 0), word(src, 8), word(dst, 0), word(dst, 8)],
            generation,
            ifindex: 0,
            ports: u32::from(src_port) << 16 | u32::from(dst_port),
            proto: ends.proto,
            place: 0,
            is_told: ends.is_told.into(),
            padding: 0,
        })
    }

    /// Whether this is the other's flow.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.addresses;
        let [e, f, g, h] = other.addresses;
        let numbers = (self.generation ^ other.generation)
            | (self.ifindex ^ other.ifindex)
            | (self.ports ^ other.ports);
        let bytes = (self.proto ^ other.proto)
            | (self.place ^ other.place)
            | (self.is_told ^ other.is_told);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) | numbers as u64 | bytes as u64 == 0
    }

    /// The place of a flow.
    #[inline(always)]
    #[must_use]
    pub const fn index(&self) -> usize {
        let [a, b, c, d] = self.addresses;
        let point = (self.ifindex << 2 | self.place as u32) as u64;
        let hash = mix(
            a.rotate_left(7) ^ b ^ c.rotate_left(17) ^ d.rotate_left(29),
            (self.ports as u64) << 32 | point << 8 | self.proto as u64,
        );
        hash as usize & (FLOWS - 1)
    }

    /// As a destination to count packets to.
    #[inline(always)]
    #[must_use]
    pub fn elsewhere(&self) -> Elsewhere {
        let [a, b, c, d] = self.addresses.map(u64::to_ne_bytes);
        let address = |front: [u8; 8], back: [u8; 8]| {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&front);
            address[8..].copy_from_slice(&back);
            address
        };
        Elsewhere {
            src: address(a, b),
            dst: address(c, d),
            ifindex: self.ifindex,
            dst_port: self.ports as u16,
            proto: self.proto,
            place: self.place,
        }
    }
}
