//! A journey that is being judged, and what all rules ask of it.

use super::{Circumstances, Evidence, fates::Fates};
use crate::{
    journey::{Journey, Scene, Step},
    model::{Direction, Role},
};

/// A journey that is being judged, with the scene and what the agents vouch for.
pub(super) struct Case<'a> {
    pub(super) scene: &'a Scene,
    pub(super) journey: &'a Journey,
    pub(super) circumstances: &'a dyn Circumstances,
}

impl Case<'_> {
    /// The drop that decides, with its facts.
    pub(super) fn drop_evidence(&self, fates: &Fates<'_>) -> Vec<Evidence> {
        let Some(index) = fates.drop else {
            return Vec::new();
        };
        [Evidence::Drop(index)]
            .into_iter()
            .chain(Evidence::facts(&self.journey.drops[index].facts))
            .collect()
    }

    /// The last step, as evidence.
    pub(super) fn last_seen(&self) -> Evidence {
        let last = self.journey.steps.len().checked_sub(1);
        last.map_or(Evidence::NotSeen, Evidence::LastSeen)
    }

    /// A step's index.
    pub(super) fn index(&self, step: &Step) -> usize {
        let mut steps = self.journey.steps.iter();
        let found = steps.position(|other| std::ptr::eq(other, step));
        found.expect("a step of this journey")
    }

    /// Whether the first step is where the sender's packets are seen first.
    pub(super) fn starts_at_source(&self, first: &Step) -> bool {
        let point = self.scene.point(first);
        let local = &self.scene.nodes[first.node].local;
        match (point.role, point.direction) {
            (Role::Pod, Direction::Egress) | (Role::Veth, Direction::Ingress) => true,
            // Sent by the node itself.
            (_, Direction::Egress) => local.contains(&self.journey.packet.src),
            (_, Direction::Ingress) => false,
        }
    }
}
