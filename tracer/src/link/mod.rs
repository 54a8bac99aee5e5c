//! How an agent is reached: in this process, or through a command's standard streams.
//!
//! The collector knows an agent only as a [`Link`]: it has said where it looks ([`Hello`]),
//! takes commands and sends batches. A remote one sends a recording that is still being
//! written ([`crate::store`]) and takes the frames of `wire`.

mod clock;
mod pods;
mod remote;
mod skip;
mod upload;
mod way;
pub(crate) mod wire;
mod words;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;
use tracer_core::{
    input::Batch,
    model::Hello,
    request::{Commander, Start},
};

pub(crate) use self::upload::PATIENCE;
use self::way::Way;
pub use self::{
    pods::{PodError, Pods, about_pod},
    remote::RemoteError,
    way::end_all,
};
use crate::node::{self, NodeError, Task};

/// Where a node's packets can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This kernel, in the namespace that the program is in.
    Local,
    /// This kernel, in the namespace that a file stands for.
    Netns(PathBuf),
    /// Wherever the standard streams of a shell's command lead: to `tracer agent --stdio`.
    Exec(String),
    /// Another machine, by ssh: `HOST` or `USER@HOST`.
    Ssh(String),
    /// A pod on the node, which is made for it.
    Pod(Arc<Pods>),
}

impl Place {
    /// The namespace of an agent in this process, `Some(None)` for the process's own; `None`
    /// for an agent of another process.
    pub(crate) fn namespace(&self) -> Option<Option<PathBuf>> {
        match self {
            Self::Local => Some(None),
            Self::Netns(path) => Some(Some(path.clone())),
            Self::Exec(_) | Self::Ssh(_) | Self::Pod(_) => None,
        }
    }
}

/// As it is given to `--agent`, but for what names its kind.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Netns(path) => path.display().fmt(f),
            Self::Exec(command) => f.write_str(command),
            Self::Ssh(host) => write!(f, "ssh {host}"),
            Self::Pod(_) => f.write_str("an agent's pod"),
        }
    }
}

/// A started agent, from the collector's side.
pub struct Link {
    /// Its first message.
    pub hello: Hello,
    /// To tell it what to do. Dropping it ends the agent.
    pub commands: Box<dyn Commander>,
    /// What it sends.
    pub batches: Batches,
}

/// What an agent sends, until it has detached everything.
pub struct Batches(Source);

enum Source {
    Here(mpsc::Receiver<Result<Batch, NodeError>>),
    Remote(mpsc::Receiver<Result<Batch, RemoteError>>),
}

/// Those of an agent in this process.
impl From<mpsc::Receiver<Result<Batch, NodeError>>> for Batches {
    fn from(batches: mpsc::Receiver<Result<Batch, NodeError>>) -> Self {
        Self(Source::Here(batches))
    }
}

impl Batches {
    /// What comes next; `None` once the agent has ended as it was told to.
    pub async fn next(&mut self) -> Option<Result<Batch, LinkError>> {
        match &mut self.0 {
            Source::Here(batches) => batches.recv().await.map(|batch| Ok(batch?)),
            Source::Remote(batches) => batches.recv().await.map(|batch| Ok(batch?)),
        }
    }
}

/// Why an agent cannot be had, or can send no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is in this process.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It is not.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

/// Starts an agent and waits until it has attached. This takes a while: not for a thread
/// that others wait for.
///
/// # Errors
/// [`LinkError`]; nothing stays attached then.
pub fn start(place: &Place, start: &Start) -> Result<Link, LinkError> {
    match place {
        Place::Local => here(None, start),
        Place::Netns(path) => here(Some(path.clone()), start),
        Place::Exec(command) => remote(Way::command(command)?, start),
        Place::Ssh(host) => remote(Way::ssh(host)?, start),
        Place::Pod(pods) => remote(pods::start(pods, start)?, start),
    }
}

/// Makes sure that agents can be started, before the first is. This takes a while: not for
/// a thread that others wait for.
///
/// # Errors
/// [`RemoteError::Pod`], if the cluster does not take agents' pods; nothing was made then.
pub fn prepare(starts: &[(Place, Start)]) -> Result<(), LinkError> {
    let mut nodes: Vec<&str> = Vec::new();
    let mut all: Option<&Pods> = None;
    for (place, start) in starts {
        if let Place::Pod(pods) = place {
            nodes.push(&start.node);
            // One follow has one cluster.
            all = Some(pods);
        }
    }
    let Some(pods) = all else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| RemoteError::Upload { source })?;
    let prepared = runtime.block_on(pods.prepare(&nodes));
    Ok(prepared.map_err(RemoteError::from)?)
}

fn here(netns: Option<PathBuf>, start: &Start) -> Result<Link, LinkError> {
    let task = Task {
        start: start.clone(),
        netns,
    };
    let node::Agent {
        hello,
        commands,
        batches,
    } = node::start(&task)?;
    Ok(Link {
        hello,
        commands,
        batches: batches.into(),
    })
}

fn remote(way: Way, start: &Start) -> Result<Link, LinkError> {
    let remote::Agent {
        hello,
        commands,
        batches,
    } = remote::start(way, start)?;
    Ok(Link {
        hello,
        commands: Box::new(commands),
        batches: Batches(Source::Remote(batches)),
    })
}

/// What is in it is whole whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
