//! tracer: where did my packet go, and if it died, where and why?
//!
//! The folders follow the data's way; a stage never reaches back.
//!
//! packet → kernel program → ring buffer → `node` → [`link`] → journeys and
//! verdicts ([`tracer_core`]) → [`view`]; the [`collector`] carries it along.
//!
//! Agents run on Linux. On other systems there is everything else: a client whose agents are on
//! other machines.

#[cfg(target_os = "linux")]
pub mod agent;
#[cfg(not(target_os = "linux"))]
#[path = "agent/nowhere.rs"]
pub mod agent;
mod changes;
pub mod cli;
mod clock;
pub mod cluster;
pub mod collector;
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only agents decode records of the ring buffer")
)]
pub(crate) mod decode;
pub mod drops;
mod expect;
pub mod export;
pub mod follow;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod import;
pub mod interfaces;
pub mod inventory;
pub mod link;
#[cfg(target_os = "linux")]
pub mod node;
mod pauses;
pub mod playback;
pub mod replay;
pub mod schema;
pub mod show;
pub mod stats;
mod stdio;
pub mod store;
mod terminal;
pub mod view;

/// 64 bits that nobody can foresee, for keys and for names that must be nobody else's.
fn random() -> u64 {
    getrandom::u64().expect("the system has random numbers")
}
