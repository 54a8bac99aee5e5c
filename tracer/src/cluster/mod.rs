//! The Kubernetes API: cluster, user, and the server's answers.
//!
//! [`Access`] has the user's options, as kubectl has them, and [`Cluster`] is a client. A
//! client belongs to the tokio runtime that created it. Every error becomes a [`ClusterError`],
//! in one sentence.

mod access;
mod beside;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod names;
mod place;
mod read;
mod refused;
mod rule;
#[cfg(test)]
mod tests;
mod wanted;
mod watch;

pub use access::{Access, Cluster};
pub(crate) use beside::FEW_NODES;
pub use error::ClusterError;
pub(crate) use names::names;
pub use place::Place;
pub(crate) use rule::Rule;
pub use wanted::{Leading, Wanted};
pub use watch::{Heard, Known, PodPlace, Pods, Subject, Watch};
