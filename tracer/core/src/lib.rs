//! What tracer makes of what its agents see. Pure: no I/O, no clock, no kernel, no
//! Kubernetes, no runtime.
//!
//! The folders follow the data's way; a stage never reaches back.
//!
//! [`input`], in terms of the [`model`] → [`journey`] → [`verdict`] → [`journal`];
//! [`collect`] carries it along. [`request`] is what goes the other way, to the agents.

#[cfg(test)]
mod by_hand;
pub mod collect;
pub mod input;
pub mod journal;
pub mod journey;
pub mod model;
pub mod request;
pub mod verdict;
