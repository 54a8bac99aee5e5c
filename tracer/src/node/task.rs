//! What an agent is to do.

use std::{collections::HashSet, net::IpAddr, ops::Deref, path::PathBuf};

use tracer_core::request::Start;

/// What an agent in this process is to do, and where.
#[derive(Clone, Debug)]
pub struct Task {
    /// What it was told.
    pub start: Start,
    /// The node's own namespace; `None` for the one the process is in.
    pub netns: Option<PathBuf>,
}

impl Deref for Task {
    type Target = Start;

    fn deref(&self) -> &Start {
        &self.start
    }
}

impl Task {
    /// The pods whose coming and going matters.
    pub(super) fn every_pod(&self) -> HashSet<IpAddr> {
        let named = self.pods.iter().chain(&self.bystanders);
        let asked = self.request.pods.iter().chain(&self.request.unplaced);
        named
            .map(|(address, _)| address)
            .chain(asked)
            .copied()
            .collect()
    }

    /// The name of the pod with this address.
    pub(super) fn pod_name(&self, pod: IpAddr) -> String {
        let named = self.pods.iter().find(|(address, _)| *address == pod);
        named.map_or_else(|| pod.to_string(), |(_, name)| name.clone())
    }
}
