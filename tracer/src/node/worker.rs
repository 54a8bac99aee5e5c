//! A worker: one thread per network namespace. The thread enters the namespace, owns the
//! programs there, and turns their events into batches until it has to stop.

mod service;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::eventfd::{EfdFlags, EventFd},
};
use tokio::sync::mpsc::Sender;
use tracer_core::{input::Batch, request::Command};
use tracing::warn;

use self::service::Service;
use super::{
    NodeError,
    source::{Found, Source},
};

/// When a worker detaches, among those of its agent.
///
/// Drops are watched for longer than packets are observed. Otherwise, a packet that is dropped
/// after its last hop would seem delivered.
pub(super) enum Turn {
    /// At once; the end of the channel tells the last worker.
    First(#[expect(dead_code, reason = "that it is gone is what tells")] mpsc::Sender<Infallible>),
    /// After all others.
    Last(mpsc::Receiver<Infallible>),
}

/// Channel for batches, or for the error that ends them.
pub(super) type Batches = Sender<Result<Batch, NodeError>>;

/// Places in the channel that are reserved for final errors: one per worker of an agent,
/// because workers often fail together.
pub(super) const RESERVED: usize = 16;

/// A handle of a worker.
pub(super) struct Worker {
    hand: Hand,
    thread: JoinHandle<()>,
}

/// An order to a worker.
enum Order {
    Command(Command),
    /// Observe what a search found, and answer with the number of new points.
    Found(Found, mpsc::Sender<usize>),
}

/// Sends orders to a worker, and may outlive it.
#[derive(Clone)]
pub(super) struct Hand {
    orders: mpsc::Sender<Order>,
    wake: Arc<EventFd>,
}

impl Hand {
    /// Hands over the result of a search, and waits until the worker has applied and reported
    /// it. Returns the number of new points; `None` if the worker has ended.
    pub(super) fn found(&self, found: Found) -> Option<usize> {
        let (done, told) = mpsc::channel();
        self.send(Order::Found(found, done));
        told.recv().ok()
    }

    fn send(&self, order: Order) {
        // A worker that has ended needs no orders.
        if self.orders.send(order).is_ok() {
            let _: Result<usize, _> = self.wake.write(1);
        }
    }
}

impl Worker {
    /// Starts a thread in `netns` (`None`: the process's own namespace). The thread runs
    /// `prepare`, and then serves the source that `prepare` returned. This function waits for
    /// `prepare`.
    pub(super) fn start<T: Send + 'static>(
        stream: usize,
        turn: Turn,
        netns: Option<PathBuf>,
        batches: Batches,
        prepare: impl FnOnce() -> Result<(Box<dyn Source>, T), NodeError> + Send + 'static,
    ) -> Result<(Self, T), NodeError> {
        let system = |what| {
            move |source: nix::Error| NodeError::System {
                what,
                source: source.into(),
            }
        };
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map(Arc::new)
            .map_err(system("make an event descriptor"))?;
        let (orders, inbox) = mpsc::channel();
        let (ready, prepared) = mpsc::channel();
        let woken = Arc::clone(&wake);
        let run = move || {
            let entered = netns
                .as_deref()
                .map_or(Ok(()), enter)
                .and_then(|()| prepare());
            let source = match entered {
                Ok((source, result)) => {
                    // If the start was given up, nobody waits for the result.
                    let _: Result<(), _> = ready.send(Ok(result));
                    source
                }
                Err(error) => {
                    let _: Result<(), _> = ready.send(Err(error));
                    return;
                }
            };
            let last_words = LastWords(batches.clone());
            let mut service = Service {
                stream,
                turn: Some(turn),
                source,
                batches,
                last_report: Instant::now(),
                is_outgrown: false,
            };
            if let Err(error) = service.run(&inbox, &woken) {
                last_words.say(error);
            }
        };
        let thread = thread::Builder::new()
            .name(format!("probe-{stream}"))
            .spawn(run)
            .map_err(|source| NodeError::System {
                what: "start a thread",
                source,
            })?;
        let result = prepared.recv().map_err(|_| NodeError::System {
            what: "start a probe",
            source: io::Error::other("its thread ended"),
        })??;
        Ok((
            Self {
                hand: Hand { orders, wake },
                thread,
            },
            result,
        ))
    }

    /// Sends a command to the worker.
    pub(super) fn send(&self, command: Command) {
        self.hand.send(Order::Command(command));
    }

    /// A handle for orders from other threads.
    pub(super) fn hand(&self) -> Hand {
        self.hand.clone()
    }

    /// Waits until the thread has ended.
    pub(super) fn join(self) {
        let Self { hand, thread } = self;
        let wake = Arc::clone(&hand.wake);
        drop(hand);
        let _: Result<usize, _> = wake.write(1);
        if thread.join().is_err() {
            warn!("a probe's thread panicked");
        }
    }
}

/// Moves the calling thread into a network namespace.
pub(super) fn enter(path: &Path) -> Result<(), NodeError> {
    let failed = |source| NodeError::Namespace {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))
}

/// Tells the collector why a worker ends without a command, so that nobody waits for it. It
/// does so after a panic, too.
struct LastWords(Batches);

impl LastWords {
    fn say(&self, error: NodeError) {
        // A collector that is gone does not need the error.
        let _: Result<(), _> = self.0.try_send(Err(error));
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if thread::panicking() {
            self.say(NodeError::System {
                what: "go on",
                source: io::Error::other("a thread of the agent panicked"),
            });
        }
    }
}
