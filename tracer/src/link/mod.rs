//! How an agent's events reach a collector.
//!
//! The collector knows an agent only as a [`Link`]: it has said where it
//! looks ([`Hello`]), takes [`Command`]s and sends [`Batch`]es. Today an agent
//! lives in the same process ([`crate::node::start`]); a remote one will have
//! the same messages carried over a byte stream.

mod command;

use tokio::sync::mpsc;
use tracer_core::{input::Batch, model::Hello};

use crate::node::NodeError;

pub use command::{Command, Commander, Filter, Start, Watch};

/// A started agent, from the collector's side.
pub struct Link {
    /// Its first message.
    pub hello: Hello,
    /// To tell it what to do. Dropping it ends the agent.
    pub commands: Box<dyn Commander>,
    /// Its batches, or why it can send no more. The channel closes once every
    /// program is detached. It is short: a collector that does not keep up
    /// leaves events in the ring buffers, where it is counted what is lost.
    pub batches: mpsc::Receiver<Result<Batch, NodeError>>,
}
