//! The Kubernetes API: cluster, user, and the server's answers.
//!
//! [`Access`] has the user's options, as kubectl has them, and [`Cluster`] is a client. A
//! client belongs to the tokio runtime that created it. Every error becomes a [`ClusterError`],
//! in one sentence.

mod access;
mod error;
mod names;
mod place;
mod read;
mod refused;
mod rule;
#[cfg(test)]
mod tests;
mod watch;

pub use access::{Access, Cluster};
pub use error::ClusterError;
pub(crate) use names::names;
pub use place::Place;
pub use read::Wanted;
pub(crate) use rule::Rule;
pub use watch::{Heard, Pods};
