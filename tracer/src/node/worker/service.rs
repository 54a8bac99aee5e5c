//! What a worker's thread does: it turns events into batches, and follows orders.

use std::{
    convert::Infallible,
    mem,
    os::fd::AsFd as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};
use tracer_core::{
    input::{Batch, Change},
    request::{Command, Filter},
};
use tracing::info;

use super::{Batches, Order, RESERVED, Turn};
use crate::node::{
    NodeError,
    clock::now,
    source::{Found, Source},
};

/// How long to wait for more events after the first one, ms, so that one wake-up serves them
/// all.
const GATHER_MS: u8 = 5;

/// How much older than a drain its watermark is. A program may be delayed by up to this time
/// between reading the clock and committing its record.
const GRACE: Duration = Duration::from_millis(20);

/// How often a batch has a report without a request.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// Least time between two reports. A report that is due early waits for it, so that a flood of
/// connections does not keep an agent from its other work.
const REPORTS_APART: Duration = Duration::from_millis(10);

/// How long the last worker waits for the others to detach.
const PATIENCE: Duration = Duration::from_secs(1);

/// Limit of batches that are drained from the ring buffer before the meaning of its records
/// changes. It is more than the buffer holds, and stops a drain that never catches up.
const DRAINS: usize = 64;

/// The thread's side.
pub(super) struct Service {
    pub(super) stream: usize,
    /// The worker's turn, until it has detached.
    pub(super) turn: Option<Turn>,
    pub(super) source: Box<dyn Source>,
    pub(super) batches: Batches,
    pub(super) last_report: Instant,
    /// Whether the last requested filter did not fit.
    pub(super) is_outgrown: bool,
}

impl Service {
    pub(super) fn run(
        &mut self,
        inbox: &mpsc::Receiver<Order>,
        wake: &EventFd,
    ) -> Result<(), NodeError> {
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
    fn report_due(&self) -> Option<Instant> {
        let due = self.source.due()?;
        Some(due.at.max(self.last_report + REPORTS_APART))
    }

    /// Time until the next report is due, in whole milliseconds from above.
    fn until_report(&self) -> PollTimeout {
        let Some(at) = self.report_due() else {
            return PollTimeout::NONE;
        };
        let left = at.saturating_duration_since(Instant::now());
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
        let is_due = self.report_due().is_some_and(|at| at <= Instant::now());
        if batch.hops.is_empty() && batch.freed.is_empty() && !always && !is_due {
            return Ok(false);
        }
        // Until the ring is empty, older records may follow.
        batch.watermark = if complete { watermark } else { 0 };
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
        // The engine takes a hop together with its translation, even if this thread is late.
        if let Some(due) = self.source.due() {
            batch.watermark = batch.watermark.min(due.since.saturating_sub(1));
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
        let mut batch = Batch {
            watermark: u64::MAX,
            ..Batch::default()
        };
        while !self.source.drain(&mut batch) {}
        // The last packets may have begun connections. Their translations come before the packets.
        while let Some(due) = self.source.due() {
            thread::sleep(due.at.saturating_duration_since(Instant::now()));
            self.send(Batch::default(), true)?;
        }
        self.send(batch, true)
    }
}
