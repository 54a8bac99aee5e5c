//! A worker serves a source: loaded programs, and their events.

use std::{os::fd::BorrowedFd, path::PathBuf, sync::Arc};

use tracer_core::{
    input::{Batch, Change, Report},
    model::Point,
};

use super::{NodeError, conntrack::Due};
use tracer_core::request::Filter;

/// Programs in a namespace. A source belongs to the thread that created it.
pub(super) trait Source {
    /// Puts a filter into force.
    fn arm(&mut self, filter: &Filter) -> Result<(), NodeError>;
    /// Samples: lets `sample` of 2^32 packets through.
    fn sample(&mut self, sample: u32) -> Result<(), NodeError>;
    /// Starts or stops counting unmatched traffic by destination.
    fn explain(&mut self, explain: bool) -> Result<(), NodeError>;
    /// A descriptor that becomes readable when the ring buffer has events.
    fn readiness(&self) -> BorrowedFd<'_>;
    /// Takes records off the ring buffer. Returns false if the buffer may have more.
    fn drain(&mut self, batch: &mut Batch) -> bool;
    /// Reads the counters of the programs.
    fn report(&mut self) -> Result<Report, NodeError>;
    /// When a report with the translation of new connections is due; `None` without such
    /// connections.
    fn due(&self) -> Option<Due>;
    /// Observes what a search found on the node. Returns the change; its notes name the points that
    /// cannot be observed.
    fn take_in(&mut self, found: Found) -> Result<Change, NodeError>;
    /// Detaches all programs. The ring buffer stays readable.
    fn detach(&mut self) -> Result<(), NodeError>;
}

/// The result of a search while programs run.
pub(super) enum Found {
    /// Interfaces to observe. Points that exist already stay.
    Interfaces {
        /// The namespace of the interfaces; `None` for the thread's own.
        netns: Option<PathBuf>,
        /// The number of the first new point.
        first: usize,
        /// Each interface as a point of either direction, and whether its packets begin with an
        /// Ethernet header.
        interfaces: Vec<(Point, bool)>,
        /// The rest of the change to report.
        change: Change,
    },
    /// Nothing new. The source checks which programs other tools have attached meanwhile.
    Others {
        /// The number of the first point that a change may add.
        first: usize,
    },
    /// The namespaces in which to watch drops, besides the node's own.
    Namespaces {
        /// All watched namespaces of pods.
        pods: Vec<PodNamespace>,
        /// The observed interfaces of the node, by index and name.
        devices: Vec<(u32, Arc<str>)>,
    },
}

impl Found {
    /// Whether interface numbers in later records may mean other interfaces.
    pub(super) const fn is_elsewhere(&self) -> bool {
        match self {
            Self::Interfaces { netns, .. } => netns.is_some(),
            Self::Others { .. } | Self::Namespaces { .. } => true,
        }
    }
}

/// A pod's network namespace in which an agent watches drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodNamespace {
    /// The namespace's inode number.
    pub(super) inode: u32,
    /// The name of the pod.
    pub(super) name: Arc<str>,
    /// A file that stands for the namespace.
    pub(super) path: PathBuf,
    /// Whether the follow has this pod as an end. The drops of other pods are watched, because a
    /// packet for a followed pod may end there.
    pub(super) followed: bool,
}
