//! The nouns of the engine: packets, the places where they are seen and dropped, the owners of
//! addresses, and agents.

mod cause;
mod clock;
mod connection;
mod ends;
mod fact;
mod freed;
mod hop;
mod kernel;
mod names;
mod network;
mod node;
mod owner;
mod packet;
mod pair;
mod place;

pub use cause::Cause;
pub use clock::{CLOCK_DRIFT, ClockEstimate, RoundTrip, skew};
pub use connection::{Connection, ConnectionState, ConnectionStatus};
pub use ends::{Ends, Translation};
pub use fact::{
    Chain, Fact, Family, FdbEntry, Hook, LegacyChain, NeighbourEntry, NeighbourState, Policy,
    PortState, RouteKind, SocketProto,
};
pub use freed::Freed;
pub use hop::Hop;
pub use kernel::Kernel;
pub use names::{Named, Names};
pub use network::{Device, Network, Tunnel, Way};
pub(crate) use node::way;
pub use node::{CAPTURE, Direction, Foreign, Hello, Point, Role, XDP, XDP_GENERIC, is_opaque};
pub use owner::{Owned, Owner, OwnerKind, Owners};
pub use packet::{
    Arp, DnsHeader, Encap, EncapKind, Flags, Icmp, Mac, Neighbour, Packet, Proto, Quote, Tcp,
    Transport,
};
pub use pair::Pair;
pub use place::Place;
