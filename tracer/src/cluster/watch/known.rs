//! Objects that are known before their watch tells of them.

use std::collections::BTreeMap;

use tracer_core::model::{OwnerKind, Owners};

use super::{
    Subject,
    seen::{Place, PodPlace},
};
use crate::inventory::{Pod, Pods};

/// Pods and nodes that were read before they are watched. Until a watch has told its first state,
/// they count as what the watch has told.
#[derive(Debug, Default)]
pub struct Known {
    pods: BTreeMap<String, PodPlace>,
    nodes: Vec<String>,
}

impl Known {
    /// The pods that have addresses now, and nodes.
    pub(crate) fn of(owners: &Owners, nodes: Vec<String>) -> Self {
        let mut pods: BTreeMap<String, PodPlace> = BTreeMap::new();
        for (address, owner) in owners.all_at(Owners::LATEST) {
            if owner.kind != OwnerKind::Pod {
                continue;
            }
            let (namespace, name) = owner.name.split_once('/').unwrap_or_default();
            let place = pods.entry(owner.name.clone()).or_insert_with(|| PodPlace {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                pod: Pod::on(&owner.node),
                since: None,
            });
            place.pod.addresses.push(address);
        }
        Self { pods, nodes }
    }

    /// What a watch of this subject would tell.
    pub(super) fn of_subject(&self, subject: &Subject) -> BTreeMap<String, Place> {
        let pods = self.pods.iter().filter(|(_, place)| match subject {
            Subject::Pod { namespace, name } => {
                (&place.namespace, &place.name) == (namespace, name)
            }
            Subject::Group(group) => group.pods == Pods::All && group.namespace == place.namespace,
            Subject::PodsOn(node) => place.pod.home() == Some(node),
            Subject::AllPods => true,
            Subject::Service { .. } | Subject::Node(_) | Subject::AllNodes => false,
        });
        let pods = pods.map(|(name, place)| (name.clone(), Place::Pod(place.clone())));
        let nodes = self.nodes.iter().filter(|node| match subject {
            Subject::Node(name) => name == *node,
            Subject::AllNodes => true,
            _ => false,
        });
        let nodes = nodes.map(|name| {
            let (name, uid) = (name.clone(), String::new());
            (name.clone(), Place::Node { name, uid })
        });
        pods.chain(nodes).collect()
    }
}
