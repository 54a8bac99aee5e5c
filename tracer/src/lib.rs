//! tracer: where did my packet go, and if it died, where and why?
//!
//! The folders follow the data's way; a stage never reaches back.
//!
//! packet → kernel program → ring buffer → [`node`] → [`link`] → journeys and
//! verdicts ([`tracer_core`]) → [`view`]; the [`collector`] carries it along.

pub mod cli;
pub mod collector;
pub mod drops;
pub mod follow;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod inventory;
pub mod link;
pub mod node;
pub mod replay;
pub mod show;
pub mod stats;
mod stdio;
pub mod store;
mod terminal;
pub mod view;

/// 64 bits that nobody can foresee: the standard library seeds its hashers
/// with such.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(())
}
