//! The engine of tracer, which turns what agents see into journeys and verdicts. The crate is
//! pure: no I/O, no clock, no kernel, no Kubernetes, no runtime.
//!
//! The folders follow the data; no stage depends on a later one.
//!
//! [`input`], in terms of the [`model`] → [`journey`] → [`verdict`] → [`journal`]. [`collect`]
//! drives these stages. [`request`] goes the other way, to the agents.

#[cfg(test)]
mod by_hand;
pub mod collect;
pub mod input;
pub mod journal;
pub mod journey;
pub mod model;
pub mod request;
pub mod verdict;
