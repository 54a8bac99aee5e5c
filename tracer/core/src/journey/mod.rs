//! From hops to journeys: which hops are one packet, in which order, and when no more will come.
//!
//! A hop is one packet at one observation point. The [`Engine`] joins the hops of one packet to
//! a [`Journey`]. On one node, the sk_buff's address identifies a packet, and elsewhere all
//! header fields that no router changes (`content`, `identity`). TCP data is a range of bytes,
//! because GSO and GRO cut and merge segments on the way (`stream`, `ranges`). A journey over
//! NAT goes on under other addresses (`translation`).
//!
//! The engine also attaches drops, answers, resets and ICMP errors to the journeys that they are
//! about. `verdict` then says what became of the packet.
//!
//! Pure: no I/O, no clock, no kernel, no Kubernetes. Time passes with the input.

mod arrival;
mod content;
mod course;
mod crossings;
mod destination;
mod drop;
mod engine;
mod frames;
mod identity;
mod impostor;
mod index;
mod limits;
mod memory;
mod model;
mod nodes;
mod origin;
mod ranges;
mod slab;
mod stand_in;
mod stream;
#[cfg(test)]
mod tests;
mod track;
mod translation;
mod tunnel;

pub(crate) use arrival::expected;
pub use arrival::{Arrival, arrival};
pub use crossings::{ComparedClock, ComparedClocks, Crossings};
pub use destination::destination;
pub use drop::{Class, Drop, Judgement};
pub use engine::{Engine, Joined};
pub use limits::Limits;
pub use model::{
    Captured, CapturedFrame, Closed, Course, Impostor, Journey, Refusal, Scene, StandIn, Step,
    Translated,
};
pub use nodes::Nodes;
pub use origin::sent_to;
pub(crate) use ranges::{Range, Ranges};
pub(crate) use tunnel::tunnel_of;
