//! A worker: one thread per network namespace. The thread enters the namespace, owns the
//! programs there, and turns their events into batches until it has to stop.

use std::{
    convert::Infallible,
    fs::File,
    io, mem,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::eventfd::{EfdFlags, EventFd},
};
use tokio::sync::mpsc::Sender;
use tracer_core::input::{Batch, Change};
use tracing::{info, warn};

use super::{
    NodeError,
    clock::now,
    conntrack::Due,
    source::{Found, Source},
};
use tracer_core::request::{Command, Filter};

/// How long to wait for more events after the first one, ms, so that one wake-up serves them
/// all.
const GATHER_MS: u8 = 5;

/// How much older than a drain its watermark is. A program may be delayed by up to this time
/// between reading the clock and committing its record.
pub(super) const GRACE: Duration = Duration::from_millis(20);

/// How often a batch has a report without a request.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Least time between two reports. A report that is due early waits for it, so that a flood of
/// connections does not keep an agent from its other work.
const REPORTS_APART: Duration = Duration::from_millis(10);

/// How long the last worker waits for the others to detach.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// Limit of batches that are drained from the ring buffer before the meaning of its records
/// changes. It is more than the buffer holds, and stops a drain that never catches up.
const DRAINS: usize = 64;

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

/// The thread's side.
struct Service {
    stream: usize,
    /// The worker's turn, until it has detached.
    turn: Option<Turn>,
    source: Box<dyn Source>,
    batches: Batches,
    last_report: Instant,
    /// Whether the last requested filter did not fit.
    is_outgrown: bool,
}

impl Service {
    fn run(&mut self, inbox: &mpsc::Receiver<Order>, wake: &EventFd) -> Result<(), NodeError> {
        // This says whether the ring buffer may hold more events.
        let mut more = false;
        loop {
            self.wait(wake, more)?;
            loop {
                let order = match inbox.try_recv() {
                    Ok(order) => order,
                    Err(mpsc::TryRecvError::Disconnected) => Order::Command(Command::Stop),
                    Err(mpsc::TryRecvError::Empty) => break,
                };
                match order {
                    Order::Command(Command::Arm(filter)) => self.arm(&filter)?,
                    // The thread that searches for changes hands over its results.
                    Order::Command(Command::Look(_)) => {}
                    Order::Command(Command::Sample(sample)) => self.source.sample(sample)?,
                    Order::Command(Command::Explain(explain)) => self.source.explain(explain)?,
                    Order::Command(Command::Flush) => {
                        self.drain(true, false)?;
                    }
                    Order::Command(Command::Report) => {
                        self.drain(true, true)?;
                    }
                    Order::Command(Command::Stop) => return self.finish(),
                    Order::Found(found, done) => {
                        let points = self.take_in(found)?;
                        // A caller that no longer waits does not need the answer.
                        let _: Result<(), _> = done.send(points);
                    }
                }
            }
            more = self.drain(false, false)?;
        }
    }

    /// Puts another filter into force, if it fits. Otherwise the earlier one stays, and that is
    /// reported once.
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        let Err(error) = self.source.arm(filter) else {
            self.is_outgrown = false;
            return Ok(());
        };
        let is_told = mem::replace(&mut self.is_outgrown, true);
        // All workers of an agent have tables of the same size, so the first worker reports for
        // all.
        if is_told || self.stream != 0 {
            info!("a filter does not fit: {error}");
            return Ok(());
        }
        let change = Change {
            time: now(),
            notes: vec![format!(
                "the new filter does not fit ({error}): this node keeps the old filter; restart the \
                 command to use the new one"
            )],
            ..Change::default()
        };
        let batch = Batch {
            change: Some(change),
            ..Batch::default()
        };
        self.send(batch, false)
    }

    /// Observes what a search found, and reports new points before any hop at them. Returns the
    /// number of new points.
    fn take_in(&mut self, found: Found) -> Result<usize, NodeError> {
        if found.is_elsewhere() {
            for _ in 0..DRAINS {
                if !self.drain(true, false)? {
                    break;
                }
            }
        }
        let change = self.source.take_in(found)?;
        let points = change.points.len();
        if !change.is_empty() {
            let batch = Batch {
                change: Some(change),
                ..Batch::default()
            };
            self.send(batch, false)?;
        }
        Ok(points)
    }

    /// Waits for events or a command. With `more`, or if the collector is behind, waits only
    /// for a moment.
    fn wait(&self, wake: &EventFd, more: bool) -> Result<(), NodeError> {
        let behind = self.is_full();
        let wake_only = &mut [PollFd::new(wake.as_fd(), PollFlags::POLLIN)][..];
        let both = &mut [
            PollFd::new(wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.source.readiness(), PollFlags::POLLIN),
        ][..];
        let moment = PollTimeout::from(GATHER_MS);
        let (descriptors, timeout) = match (behind, more) {
            (true, _) => (wake_only, moment),
            (false, true) => (both, PollTimeout::ZERO),
            (false, false) => (both, self.until_report()),
        };
        match poll(descriptors, timeout) {
            // If the wait was interrupted, the loop continues.
            Err(nix::Error::EINTR) | Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(errno) => {
                return Err(NodeError::System {
                    what: "wait for events",
                    source: errno.into(),
                });
            }
        }
        if !more && descriptors[0].any() != Some(true) {
            let gather = &mut [PollFd::new(wake.as_fd(), PollFlags::POLLIN)];
            let _: Result<i32, _> = poll(gather, moment);
        }
        // This clears the wake-up; commands are read afterwards.
        let _: Result<u64, _> = wake.read();
        Ok(())
    }

    /// When the source has news for a report; `None` if no news is expected.
    fn report_due(&self) -> Option<Due> {
        let due = self.source.due()?;
        let at = due.at.max(self.last_report + REPORTS_APART);
        Some(Due { at, ..due })
    }

    /// Time until the next report is due, in whole milliseconds from above.
    fn until_report(&self) -> PollTimeout {
        let Some(due) = self.report_due() else {
            return PollTimeout::NONE;
        };
        let left = due.at.saturating_duration_since(Instant::now());
        let left = left.as_nanos().div_ceil(1_000_000);
        u16::try_from(left).unwrap_or(u16::MAX).into()
    }

    /// Whether the collector is behind. Then events wait in the ring buffer, and the program
    /// counts those that do not fit.
    fn is_full(&self) -> bool {
        self.batches.capacity() <= RESERVED
    }

    /// Sends one batch of waiting events. With `always`, sends an empty batch as well; with
    /// `report`, always adds a report. True if more events may wait.
    fn drain(&mut self, always: bool, report: bool) -> Result<bool, NodeError> {
        if self.is_full() && !always {
            return Ok(true);
        }
        let watermark = now().saturating_sub(u64::try_from(GRACE.as_nanos()).unwrap_or(0));
        let mut batch = Batch::default();
        let complete = self.source.drain(&mut batch);
        let due = self.report_due();
        let is_due = due.is_some_and(|due| due.at <= Instant::now());
        if batch.hops.is_empty() && batch.freed.is_empty() && !always && !is_due {
            return Ok(false);
        }
        // Until the ring is empty, older records may follow.
        batch.watermark = if complete { watermark } else { 0 };
        // The engine takes a hop together with its translation, even if this thread is late.
        if let Some(due) = due.filter(|_| !is_due) {
            batch.watermark = batch.watermark.min(due.since.saturating_sub(1));
        }
        let report = report || is_due || self.last_report.elapsed() >= REPORT_EVERY;
        self.send(batch, report)?;
        Ok(!complete)
    }

    fn send(&mut self, mut batch: Batch, report: bool) -> Result<(), NodeError> {
        batch.stream = self.stream;
        if report {
            self.last_report = Instant::now();
            batch.report = Some(self.source.report()?);
        }
        // A collector that is gone needs no batches.
        let _: Result<(), _> = self.batches.blocking_send(Ok(batch));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), NodeError> {
        let turn = self.turn.take();
        if let Some(Turn::Last(others)) = &turn {
            // The channel ends with the last sender of the other workers.
            let _: Result<Infallible, _> = others.recv_timeout(PATIENCE);
            // A packet that they saw last may be dropped a moment later.
            thread::sleep(GRACE);
        }
        self.source.detach()?;
        drop(turn);
        if let Some(due) = self.source.due() {
            thread::sleep(due.at.saturating_duration_since(Instant::now()));
        }
        let mut batch = Batch {
            watermark: u64::MAX,
            ..Batch::default()
        };
        while !self.source.drain(&mut batch) {}
        self.send(batch, true)
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
