//! The task of an agent.

use std::{collections::HashSet, net::IpAddr, ops::Deref, path::PathBuf};

use tracer_core::request::Start;

/// The task of an agent in this process, and its namespace.
#[derive(Clone, Debug)]
pub struct Task {
    /// The first message to the agent.
    pub start: Start,
    /// Path of the node's host namespace; `None`: the process's own one.
    pub netns: Option<PathBuf>,
}

impl Deref for Task {
    type Target = Start;

    fn deref(&self) -> &Start {
        &self.start
    }
}

impl Task {
    /// Addresses of pods whose changes matter.
    pub(super) fn every_pod(&self) -> HashSet<IpAddr> {
        let named = self.pods.iter().chain(&self.bystanders);
        let asked = self.request.pods.iter().chain(&self.request.unplaced);
        named
            .map(|(address, _)| address)
            .chain(asked)
            .copied()
            .collect()
    }

    /// Name of the pod with this address.
    pub(super) fn pod_name(&self, pod: IpAddr) -> String {
        let named = self.pods.iter().find(|(address, _)| *address == pod);
        named.map_or_else(|| pod.to_string(), |(_, name)| name.clone())
    }
}
