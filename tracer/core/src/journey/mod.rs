//! From hops to journeys. Pure: no I/O, no clock, no kernel, no Kubernetes.

mod arrival;
mod content;
mod course;
mod drop;
mod engine;
mod frames;
mod identity;
mod impostor;
mod index;
mod memory;
mod model;
mod nodes;
mod ranges;
mod slab;
mod stream;
#[cfg(test)]
mod tests;
mod track;
mod translation;

pub(crate) use arrival::expected;
pub use arrival::{Arrival, arrival, destination};
pub use drop::{Class, Drop, Judgement};
pub use engine::{Engine, Joined, Limits};
pub use model::{
    Captured, CapturedFrame, Closed, Course, Impostor, Journey, Refusal, Scene, Step, Translated,
};
pub use nodes::Nodes;
pub(crate) use ranges::{Range, Ranges};
pub(crate) use track::SETTLE;
