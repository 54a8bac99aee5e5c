//! Why a session ends early.

use std::io;

use super::stalls;
use crate::{link::LinkError, store::RecordError};

/// Why a follow ended early.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The follow was told to stop before it had begun.
    #[error("stopped before all agents had started")]
    Stopped,
    /// No agent could start.
    #[error(transparent)]
    Prepare(LinkError),
    /// An agent could not start.
    #[error("{node}: {source}")]
    Agent {
        /// The agent's node.
        node: String,
        /// The cause.
        source: LinkError,
    },
    /// An agent ended by itself.
    #[error("the agent of {node} ended unexpectedly: what it saw last is lost")]
    AgentEnded {
        /// The agent's node.
        node: String,
    },
    /// An agent did not answer a command.
    #[error("the agent of {node} did not answer within {} s: is the node overloaded?", stalls::PATIENCE.as_secs())]
    Silent {
        /// The agent's node.
        node: String,
    },
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The view cannot write.
    #[error("cannot write the output: {0}")]
    View(#[from] io::Error),
}
