//! Services whose packets may go only to endpoints on the packets' own node.

use std::collections::BTreeSet;

use super::End;

/// A Service with such a traffic policy.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Local {
    /// `service namespace/name`.
    pub(super) service: String,
    /// The nodes that have ready endpoints.
    pub(super) nodes: BTreeSet<String>,
    /// Whether the policy holds for packets of pods: `internalTrafficPolicy: Local`.
    pub(super) inside: bool,
    /// Whether the policy holds for packets from outside: `externalTrafficPolicy: Local`.
    pub(super) outside: bool,
}

impl Local {
    /// The consequences for packets of these sources, one sentence each. `is_outside` says whether
    /// an end is a node, or outside of the cluster.
    pub(in crate::cli) fn warnings(
        &self,
        sources: &[End],
        is_outside: impl Fn(&End) -> bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.inside {
            warnings.extend(self.far_from_endpoints(sources));
        }
        let comes_in = |end: &End| end.node.is_none() && is_outside(end);
        // A Service without any ready endpoint has a warning of its own.
        if self.outside && !self.nodes.is_empty() && sources.iter().any(comes_in) {
            let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
            warnings.push(format!(
                "{} has externalTrafficPolicy Local: nodes without an endpoint drop packets from \
                 outside (ready endpoints are on {})",
                self.service,
                nodes.join(", ")
            ));
        }
        warnings
    }

    /// A sentence for each node of the sources that has no ready endpoint.
    fn far_from_endpoints(&self, sources: &[End]) -> impl Iterator<Item = String> {
        let Self { service, nodes, .. } = self;
        let without: BTreeSet<&String> = sources
            .iter()
            .filter_map(|source| source.node.as_ref())
            .filter(|node| !nodes.contains(*node))
            .collect();
        without.into_iter().map(move |node| {
            format!(
                "{service} has internalTrafficPolicy Local and no ready endpoint on {node}: \
                 packets to the Service from {node} are dropped"
            )
        })
    }
}
