//! Where the packets of followed addresses go that the follow does not ask
//! about: what tells a user who asked for the wrong thing.

/// How many destinations are kept; the least recently used go first.
pub const MAX_ELSEWHERE: u32 = 1024;

/// A destination. Its value counts packets at all points of a namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Elsewhere {
    /// The followed address, IPv4 as `::ffff:a.b.c.d`.
    pub src: [u8; 16],
    /// Where it sent to, likewise.
    pub dst: [u8; 16],
    /// The point that saw it: interface index.
    pub ifindex: u32,
    /// Destination port, host byte order, 0 where there is none.
    pub dst_port: u16,
    /// IANA protocol number.
    pub proto: u8,
    /// As [`crate::event::HopEvent::place`].
    pub place: u8,
}

const _: () = assert!(size_of::<Elsewhere>() == 40);
