//! No agents in this process, because its system is not Linux.

use std::path::PathBuf;

use tracer_core::request::Start;

use super::Link;
use crate::interfaces::Plan;

/// Why an agent cannot run in this process.
#[derive(Debug, thiserror::Error)]
#[error(
    "agents run on Linux: reach a node with --agent NODE=ssh:HOST, or leave --agent out on a cluster"
)]
pub struct HereError;

pub(super) fn start(_: Option<PathBuf>, _: &Start) -> Result<Link, HereError> {
    Err(HereError)
}

/// Finds nothing.
///
/// # Errors
/// Always.
pub fn look(_: Option<PathBuf>, _: &Start) -> Result<Plan, HereError> {
    Err(HereError)
}
