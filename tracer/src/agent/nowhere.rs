//! No agent, because this system is not Linux.

use crate::cli::{AgentArgs, Failure, Outcome};

/// Refuses to run.
///
/// # Errors
/// Always.
pub fn run(_: &AgentArgs) -> Result<Outcome, Failure> {
    Err(Failure::new(
        "agents run on Linux: start this one on a node",
    ))
}
