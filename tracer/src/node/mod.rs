//! The agent's side: what the kernel offers, where to attach, and what comes
//! back.
//!
//! [`start`] makes an agent in this process. It has a worker thread for the
//! node's host namespace, one for each pod namespace asked for, and one for
//! drops; each owns the programs it loaded there. When the process ends, however it ends, the
//! kernel detaches them: nothing is pinned.

pub mod discover;
pub mod kernel;

mod agent;
mod bpf;
mod clock;
mod conntrack;
pub(crate) mod decode;
mod drop_probe;
mod drops;
mod error;
mod facts;
mod filter;
mod health;
mod hook;
mod load;
mod netlink;
mod points;
mod probe;
mod qdisc;
mod renew;
mod require;
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
