//! The programs in a network namespace, as its worker uses them.

use std::os::fd::BorrowedFd;

use tracer_core::{
    input::{Batch, Change, Report},
    request::Filter,
};

use super::Probe;
use crate::node::{
    NodeError,
    conntrack::Due,
    names::Names,
    source::{Found, Source},
};

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

    fn due(&self) -> Option<Due> {
        let names = self.dns.as_ref().and_then(Names::due);
        let connections = self.connections.due();
        // Whatever is due first brings the rest that is due by then.
        let both = connections.zip(names).map(|(one, other)| Due {
            at: one.at.min(other.at),
            since: one.since.min(other.since),
        });
        both.or(connections).or(names)
    }

    fn take_in(&mut self, found: Found) -> Result<Change, NodeError> {
        match found {
            Found::Interfaces {
                netns,
                first,
                interfaces,
                change,
            } => self.take_in(netns.as_deref(), first, interfaces, change),
            Found::Others { first } => self.ask_for_others(first),
            // The drop program takes these.
            Found::Namespaces { .. } => Ok(Change::default()),
        }
    }

    fn detach(&mut self) -> Result<(), NodeError> {
        self.detach()
    }
}
