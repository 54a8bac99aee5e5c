//! The Kubernetes API: which cluster is meant, as whom, and what its server answers.
//!
//! [`Access`] holds what a user says about that, in kubectl's words, and [`Cluster`] is a
//! client for it. A client belongs to the tokio runtime that it was made in. Whatever goes
//! wrong ends as a [`ClusterError`], in one sentence.

mod access;
mod error;
mod names;
mod read;
mod refused;
mod rule;
#[cfg(test)]
mod tests;
mod watch;

pub use access::{Access, Cluster, Place};
pub use error::ClusterError;
pub(crate) use names::names;
pub use read::Wanted;
pub(crate) use rule::Rule;
pub use watch::{Heard, Pods};
