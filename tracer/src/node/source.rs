//! What a worker serves: loaded programs, and their events.

use std::os::fd::BorrowedFd;

use super::{NodeError, probe::Probe};
use crate::link::{Batch, Filter, Report};

/// Programs in a namespace. It belongs to the thread that made it.
pub(super) trait Source {
    /// Puts a filter into force.
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError>;
    /// Lets so many of 2^32 packets through.
    fn sample(&mut self, sample: u32) -> Result<(), NodeError>;
    /// Whether packets to elsewhere are counted.
    fn explain(&mut self, explain: bool) -> Result<(), NodeError>;
    /// What becomes readable when there are events.
    fn readiness(&self) -> BorrowedFd<'_>;
    /// Takes records off the ring buffer. False if there may be more.
    fn drain(&mut self, batch: &mut Batch) -> bool;
    /// What has become of packets so far.
    fn report(&mut self) -> Result<Report, NodeError>;
    /// Detaches everything; what is in the ring buffer stays readable.
    fn detach(&mut self) -> Result<(), NodeError>;
}

impl Source for Probe {
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        self.arm(filter)
    }

    fn sample(&mut self, sample: u32) -> Result<(), NodeError> {
        self.sample(sample)
    }

    fn explain(&mut self, explain: bool) -> Result<(), NodeError> {
        self.explain(explain)
    }

    fn readiness(&self) -> BorrowedFd<'_> {
        self.readiness()
    }

    fn drain(&mut self, batch: &mut Batch) -> bool {
        self.drain(&mut batch.hops)
    }

    fn report(&mut self) -> Result<Report, NodeError> {
        self.report()
    }

    fn detach(&mut self) -> Result<(), NodeError> {
        self.detach()
    }
}
