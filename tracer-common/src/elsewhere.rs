//! Unmatched traffic: where followed addresses send packets outside of the follow. It shows a
//! user who asked for the wrong thing what to ask for.

/// Limit of destinations; the map removes the least recently used first.
pub const MAX_ELSEWHERE: u32 = 1024;

/// Key of a destination. Its value is the number of packets at one point.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Elsewhere {
    /// The followed address, IPv4 as `::ffff:a.b.c.d`.
    pub src: [u8; 16],
    /// Destination address, IPv4 as `::ffff:a.b.c.d`.
    pub dst: [u8; 16],
    /// Interface index of the point that saw the packets.
    pub ifindex: u32,
    /// Destination port, host byte order; 0 without ports.
    pub dst_port: u16,
    /// IANA protocol number.
    pub proto: u8,
    /// Place of the point, as [`crate::event::HopEvent::place`].
    pub place: u8,
}

const _: () = assert!(size_of::<Elsewhere>() == 40);
