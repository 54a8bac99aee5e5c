//! A cache of decisions per flow, because most packets that pass the first stage belong to few
//! flows.
//!
//! A program keeps its last decisions per CPU. The key has everything that a decision depends
//! on: the generation of the filter, addresses, protocol and ports. So the next packet of a
//! flow needs no look-up. An entry also counts unmatched traffic of its flow, until another
//! flow takes its place.

use crate::{elsewhere::Elsewhere, filter::Ends, hash::mix, packet::Packet};

/// Number of flows per CPU; a power of two.
pub const FLOWS: usize = 128;

/// Everything that a decision depends on, and the point that the counter belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// Source and destination address, IPv4 as `::ffff:a.b.c.d`, in network byte order in
    /// memory.
    pub addresses: [u64; 4],
    /// Generation of the filter; 0 in an unused entry.
    pub generation: u32,
    /// Interface index.
    pub ifindex: u32,
    /// Source port in the upper 16 bits, destination port in the lower ones.
    pub ports: u32,
    /// IANA protocol number.
    pub proto: u8,
    /// Place of the point, as [`crate::event::HopEvent::place`].
    pub place: u8,
    /// Whether everything that a rule asks for is known: 0 or 1.
    pub is_told: u8,
    /// Always 0.
    pub padding: u8,
}

/// A flow with the decision about it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Key of the flow.
    pub key: FlowKey,
    /// Decision: 1 match, 2 unmatched traffic of a followed address; other values are a miss.
    pub decision: u32,
    /// Number of unmatched packets that are not yet in the table of destinations.
    pub elsewhere: u32,
}

const _: () = assert!(size_of::<Flow>() == 56);

/// The flows of one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flows {
    /// Flows by [`FlowKey::index`].
    pub flows: [Flow; FLOWS],
}

impl FlowKey {
    /// The key of a packet that is judged by its addresses and ports; `None` for other packets.
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

    /// Whether both keys are of the same flow.
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

    /// Index of the flow in [`Flows::flows`].
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

    /// The flow's destination, as key of the table of unmatched traffic.
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
