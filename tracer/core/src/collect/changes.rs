//! Changes while a follow runs: observation points come and go, and addresses change owners.

use ipnet::IpNet;

use super::core::{Core, unix};
use crate::{
    input::{Change, Gained, OwnersChange},
    journal::Changed,
    model::{Hello, Point, skew},
};

impl Core {
    /// Applies a change on an agent's node.
    pub(super) fn change(&mut self, agent: usize, change: Change) {
        let hello = &mut self.scene.nodes[agent];
        let time = unix(change.time, hello.realtime_offset);
        if change.leaves {
            self.ledger.close_gap(agent, time);
        }
        if change.begins_anew() {
            self.ledger.back(agent, change.streams, time);
            self.order.add(change.streams, time);
        }
        let (first, later) = (hello.points.len(), hello.drops_later.len());
        hello.change(&change);
        // Namespaces are not watched for longer than by any clock.
        let later = if change.leaves {
            hello.drops_later.len()
        } else {
            later
        };
        put_off(hello, self.skew, first, later);
        // What an agent finds while it leaves is not observed.
        let is_observed = |point: &Point| point.until.is_none();
        let added = if hello.points[first..].iter().any(is_observed) {
            first..hello.points.len()
        } else {
            first..first
        };
        let changed = Changed {
            time,
            node: agent,
            points: added,
            // An agent that is lost while it leaves says so again.
            leaves: change.leaves && !change.gone.is_empty(),
            gone: change.gone,
            notes: change.notes,
        };
        if !changed.is_empty() {
            self.changes.push_back(changed);
        }
    }

    /// Adds an agent that had started at `time`, Unix time, ns.
    pub(super) fn joined(&mut self, hello: Hello, time: i64) {
        let agent = self.scene.nodes.len();
        self.ledger.join(hello.streams, time);
        self.order.add(hello.streams, time);
        self.changes.push_back(Changed {
            time,
            node: agent,
            points: 0..hello.points.len(),
            gone: Vec::new(),
            leaves: false,
            notes: hello.notes.clone(),
        });
        self.scene.nodes.push(hello);
        // The new node's clock may differ by more than the clocks of the other nodes.
        let more = skew(&self.scene.nodes).saturating_sub(self.skew).max(0);
        self.skew += more;
        self.engine.wait_longer(more);
        self.ledger.allow_for(self.skew);
        put_off(&mut self.scene.nodes[agent], self.skew, 0, 0);
    }

    /// Applies a change of owners. Packets from before its time keep their owners.
    pub(super) fn owners_changed(&mut self, change: &OwnersChange) {
        change.apply(&mut self.scene.owners);
        // If a pod of the follow gets another address, the pod stays in the follow.
        for Gained { address, owner } in &change.gained {
            let owners = &self.scene.owners;
            let was_there = |known: &[IpNet]| {
                let known = known.iter();
                let mut before = known
                    .filter(|network| network.prefix_len() == network.max_prefix_len())
                    .flat_map(|network| owners.of(network.addr()));
                before.any(|known| known.owner.kind == owner.kind && known.owner.name == owner.name)
            };
            let network = IpNet::from(*address);
            for side in [&mut self.scene.sources, &mut self.scene.asked] {
                if was_there(side) && !side.contains(&network) {
                    side.push(network);
                }
            }
        }
        for network in &change.asked {
            if !self.scene.asked.contains(network) {
                self.scene.asked.push(*network);
            }
        }
    }

    /// Applies the state of an agent after missing rows of a recording.
    pub(super) fn known(&mut self, agent: usize, hello: Hello) {
        // The agent may have begun anew in the gap. Records of gaps say what is missing then.
        let more = hello
            .streams
            .saturating_sub(self.scene.nodes[agent].streams);
        self.ledger.add(agent, more, i64::MIN);
        self.order.add(more, i64::MIN);
        let known = &mut self.scene.nodes[agent];
        let realtime_offset = known.realtime_offset;
        *known = Hello {
            realtime_offset,
            ..hello
        };
        put_off(known, self.skew, 0, 0);
    }

    /// Allows from the beginning for a difference of the nodes' clocks.
    pub(super) fn allow_for_skew(&mut self) {
        let skew = self.skew;
        self.ledger.allow_for(skew);
        // In a later file of a recording, points may have come after the beginning.
        for hello in &mut self.scene.nodes {
            put_off(hello, skew, 0, 0);
        }
    }
}

/// Counts points from the index `first` on, and entries of `drops_later` from the index `later`
/// on, from `skew` later, ns.
fn put_off(hello: &mut Hello, skew: i64, first: usize, later: usize) {
    let points = hello.points[first..].iter_mut();
    let points = points.map(|point| &mut point.since);
    let drops = hello.drops_later[later..].iter_mut();
    let times = points.chain(drops.map(|(since, _)| since));
    for time in times.filter(|time| **time > 0) {
        *time = time.saturating_add_signed(skew);
    }
}
