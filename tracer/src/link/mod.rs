//! Connections to agents, in this process or through a command's standard streams.
//!
//! The collector knows an agent only as a [`Link`]. The agent has described itself ([`Hello`]),
//! takes commands and sends batches. A remote agent sends a recording that is still being
//! written ([`crate::store`]), and receives the frames of `wire`.

mod clock;
mod error;
#[cfg(target_os = "linux")]
mod here;
#[cfg(not(target_os = "linux"))]
#[path = "nowhere.rs"]
mod here;
mod pods;
mod remote;
mod script;
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

#[cfg(target_os = "linux")]
pub(crate) use self::script::PATIENCE;
use self::way::Way;
pub use self::{
    error::{LinkError, RemoteError},
    here::{HereError, look},
    pods::{PodError, Pods, about_pod},
    way::end_all,
};

/// Where an agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This process, in its own network namespace.
    Local,
    /// This process, in the network namespace of a file.
    Netns(PathBuf),
    /// At the other end of a shell command's standard streams, as `tracer agent --stdio`.
    Exec(String),
    /// Another machine, over ssh: `HOST` or `USER@HOST`.
    Ssh(String),
    /// A pod on the node, which is created for the agent.
    Pod(Arc<Pods>),
}

impl Place {
    /// Network namespace of an agent in this process: `Some(None)` for the process's own one.
    /// `None` for an agent in another process.
    pub(crate) fn namespace(&self) -> Option<Option<PathBuf>> {
        match self {
            Self::Local => Some(None),
            Self::Netns(path) => Some(Some(path.clone())),
            Self::Exec(_) | Self::Ssh(_) | Self::Pod(_) => None,
        }
    }

    /// The same place, whose next agent starts without lines about its progress.
    pub(crate) fn quiet(&self) -> Self {
        match self {
            Self::Pod(pods) => Self::Pod(Arc::new(Pods {
                tells: false,
                ..Pods::clone(pods)
            })),
            other => other.clone(),
        }
    }
}

/// Writes the place as in `--agent`, without the prefix for its kind.
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
    /// Sends commands to the agent. Dropping it ends the agent.
    pub commands: Box<dyn Commander>,
    /// Batches from the agent.
    pub batches: Batches,
}

/// Batches from an agent, until it has detached all programs.
pub struct Batches(Source);

enum Source {
    Here(mpsc::Receiver<Result<Batch, HereError>>),
    Remote(mpsc::Receiver<Result<Batch, RemoteError>>),
}

/// Batches from an agent in this process.
impl From<mpsc::Receiver<Result<Batch, HereError>>> for Batches {
    fn from(batches: mpsc::Receiver<Result<Batch, HereError>>) -> Self {
        Self(Source::Here(batches))
    }
}

impl Batches {
    /// The next batch; `None` once the agent has ended after a command to stop.
    pub async fn next(&mut self) -> Option<Result<Batch, LinkError>> {
        match &mut self.0 {
            Source::Here(batches) => batches.recv().await.map(|batch| Ok(batch?)),
            Source::Remote(batches) => batches.recv().await.map(|batch| Ok(batch?)),
        }
    }
}

/// Starts an agent and waits until it has attached its programs. This takes a while and blocks
/// the thread.
///
/// # Errors
/// [`LinkError`]; then no program stays attached.
pub fn start(place: &Place, start: &Start) -> Result<Link, LinkError> {
    match place {
        Place::Local => Ok(here::start(None, start)?),
        Place::Netns(path) => Ok(here::start(Some(path.clone()), start)?),
        Place::Exec(command) => remote(Way::command(command)?, start),
        Place::Ssh(host) => remote(Way::ssh(host)?, start),
        Place::Pod(pods) => remote(Way::pod(pods, start)?, start),
    }
}

/// How many of several agents a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// All of them.
    All,
    /// One of them.
    Any,
}

/// Checks that agents can be started, before the first one is. This takes a while and blocks
/// the thread.
///
/// # Errors
/// [`RemoteError::Pod`], if the cluster does not accept agents' pods, or not as many as are needed;
/// then nothing was created.
pub fn prepare(starts: &[(Place, Start)], needed: Needed) -> Result<(), LinkError> {
    let mut nodes: Vec<&str> = Vec::new();
    let mut all: Option<&Pods> = None;
    for (place, start) in starts {
        if let Place::Pod(pods) = place {
            nodes.push(&start.node);
            // A follow is in one cluster.
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
    let prepared = runtime.block_on(pods.prepare(&nodes, needed));
    Ok(prepared.map_err(RemoteError::from)?)
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

/// The value is consistent even if a thread panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
