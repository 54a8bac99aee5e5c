//! Agents in this process.

use std::path::PathBuf;

use tracer_core::request::Start;

use super::Link;
pub use crate::node::NodeError as HereError;
use crate::{
    interfaces::Plan,
    node::{self, Task},
};

/// Starts an agent in a network namespace, or in this process's own one.
///
/// # Errors
/// [`HereError`]; then no program stays attached.
pub(super) fn start(netns: Option<PathBuf>, start: &Start) -> Result<Link, HereError> {
    let start = start.clone();
    let node::Agent {
        hello,
        commands,
        batches,
    } = node::start(&Task { start, netns })?;
    Ok(Link {
        hello,
        commands,
        batches: batches.into(),
    })
}

/// Finds the interfaces that an agent would observe, and attaches nothing.
///
/// # Errors
/// [`HereError`].
pub fn look(netns: Option<PathBuf>, start: &Start) -> Result<Plan, HereError> {
    let start = start.clone();
    node::look(&Task { start, netns })
}
