//! Errors of connections to agents.

use std::{io, path::PathBuf};

use super::{here::HereError, pods::PodError, wire::BEGINNING};
use crate::store::TraceError;

/// Why an agent cannot start, or can send no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Error of an agent in this process.
    #[error(transparent)]
    Here(#[from] HereError),
    /// Error of an agent in another process.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The thread that starts the agent has panicked.
    #[error("cannot start an agent: the thread that started it has panicked")]
    Panicked,
}

/// Why a remote agent cannot start, or can send no more.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The command cannot be run.
    #[error("cannot run `{command}`: {source}")]
    Run {
        /// The shell command.
        command: String,
        /// The cause.
        source: io::Error,
    },
    /// No agent answers at the other end.
    #[error("`{command}` ended before an agent answered{said}")]
    NoAgent {
        /// The shell command.
        command: String,
        /// Output that came instead, after a colon.
        said: String,
    },
    /// Another program answered.
    #[error("`{command}` does not start a tracer agent{said}")]
    Other {
        /// The shell command.
        command: String,
        /// Output that came instead, after a colon.
        said: String,
    },
    /// An agent took too long.
    #[error(
        "no agent answered through `{command}` within {} s{said}",
        BEGINNING.as_secs()
    )]
    Slow {
        /// The shell command.
        command: String,
        /// Output that came instead, after a colon.
        said: String,
    },
    /// The machine has no tracer, and none is here that can run there.
    #[error(
        "it has no tracer, and this one cannot run there ({machine}): install tracer there, or put \
         a static agent beside this one, as {} (`cargo xtask build` on such a machine makes one)",
        beside.display()
    )]
    NoProgram {
        /// Output of `uname -m` on that machine.
        machine: String,
        /// Where a program for that machine was looked for.
        beside: PathBuf,
    },
    /// There is no pod for the agent.
    #[error(transparent)]
    Pod(Box<PodError>),
    /// The program could not be sent.
    #[error("cannot copy tracer to the node: {source}")]
    Upload {
        /// The cause.
        source: io::Error,
    },
    /// The answer is from another version, or damaged.
    #[error(transparent)]
    Records(#[from] TraceError),
    /// The agent has begun, and no longer answers.
    #[error("its agent does not answer")]
    Silent,
    /// The agent no longer watches drops after it began anew.
    #[error("it cannot watch drops any more")]
    NoDrops,
    /// The agent's messages break the protocol.
    #[error("the peer is not a tracer agent: {0}")]
    Wrong(&'static str),
    /// The agent's clock changed: its machine was suspended or paused, or its clock was set.
    #[error("its clock has moved by {} ms: was it suspended?", by / 1_000_000)]
    Clock {
        /// By how much the clock changed, ns.
        by: i64,
    },
    /// The stream ended in the middle.
    #[error("the connection to its agent broke{said}")]
    Broken {
        /// The last output, after a colon.
        said: String,
    },
}

impl From<PodError> for RemoteError {
    fn from(error: PodError) -> Self {
        Self::Pod(Box::new(error))
    }
}
