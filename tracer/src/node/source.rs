//! What a worker serves: loaded programs, and their events.

use std::{os::fd::BorrowedFd, path::PathBuf, sync::Arc};

use tracer_core::{
    input::{Batch, Change, Report},
    model::Point,
};

use super::{NodeError, conntrack::Due};
use tracer_core::request::Filter;

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
    /// When a report with the translation of new connections is due; `None` without such
    /// connections.
    fn due(&self) -> Option<Due>;
    /// Takes in what was found on the node since. Returns what is different
    /// now; where something cannot be observed, a note says so.
    fn take_in(&mut self, found: Found) -> Result<Change, NodeError>;
    /// Detaches everything; what is in the ring buffer stays readable.
    fn detach(&mut self) -> Result<(), NodeError>;
}

/// What a search has found while programs run.
pub(super) enum Found {
    /// Interfaces that are to be observed; those that are already, stay.
    Interfaces {
        /// The namespace that they are in; `None` for the one that the thread
        /// is in.
        netns: Option<PathBuf>,
        /// The number of the first point that is new.
        first: usize,
        /// Each as a point of either direction, and whether its packets begin
        /// with an Ethernet header.
        interfaces: Vec<(Point, bool)>,
        /// What else is to be told.
        change: Change,
    },
    /// Nothing new: what others have attached meanwhile is to be asked for.
    Others {
        /// As above.
        first: usize,
    },
    /// Where drops are to be seen, besides the node's own namespace.
    Namespaces {
        /// All of them.
        pods: Vec<PodNamespace>,
        /// The node's interfaces, by index and name, that are observed.
        devices: Vec<(u32, Arc<str>)>,
    },
}

impl Found {
    /// Whether numbers in records may mean something else from then on.
    pub(super) const fn is_elsewhere(&self) -> bool {
        match self {
            Self::Interfaces { netns, .. } => netns.is_some(),
            Self::Others { .. } | Self::Namespaces { .. } => true,
        }
    }
}

/// A pod's network namespace, as far as drops in it are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodNamespace {
    /// By which the kernel knows it.
    pub(super) inode: u32,
    /// The pod.
    pub(super) name: Arc<str>,
    /// A file that stands for it.
    pub(super) path: PathBuf,
    /// Whether the follow is about this pod; else its drops are watched
    /// because what is meant for another may end there.
    pub(super) followed: bool,
}
