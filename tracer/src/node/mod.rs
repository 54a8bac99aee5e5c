//! The agent's side: requirements of the kernel, points to attach to, and events.
//!
//! [`start`] starts an agent in this process. It has a worker thread for the node's host
//! namespace, one for each requested pod namespace, and one for drops. Each thread owns the
//! programs that it loaded. When the process ends for any reason, the kernel detaches them,
//! because nothing is pinned.

pub mod discover;
pub mod kernel;

mod agent;
mod bpf;
mod clock;
mod conntrack;
mod drop_probe;
mod drops;
mod error;
mod facts;
mod filter;
mod health;
mod hook;
mod load;
mod names;
mod netlink;
mod points;
mod probe;
mod qdisc;
mod renew;
mod require;
mod rtnetlink;
#[cfg(feature = "debug")]
mod said;
mod scout;
mod source;
mod tables;
mod task;
mod visit;
mod worker;

pub use agent::{Agent, look, start};
pub(crate) use clock::now as monotonic_now;
pub use error::NodeError;
pub use probe::PROGRAMS;
pub use tables::TooMany;
pub use task::Task;
