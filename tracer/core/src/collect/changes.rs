//! What changes while a follow runs: points on nodes that come and go, and owners of
//! addresses.

use ipnet::IpNet;

use super::core::{Core, unix};
use crate::{
    input::{Change, Gained, OwnersChange},
    journal::Changed,
    model::{Hello, skew},
};

impl Core {
    /// Takes in what an agent has found to be different.
    pub(super) fn change(&mut self, agent: usize, change: Change) {
        let hello = &mut self.scene.nodes[agent];
        let time = unix(change.time, hello.realtime_offset);
        if change.begins_anew() {
            self.ledger.back(agent, change.streams, time);
            self.order.add(change.streams, time);
        }
        let (first, later) = (hello.points.len(), hello.drops_later.len());
        hello.change(&change);
        put_off(hello, self.skew, first, later);
        let changed = Changed {
            time,
            node: agent,
            points: first..hello.points.len(),
            gone: change.gone,
            notes: change.notes,
        };
        if !changed.is_empty() {
            self.changes.push_back(changed);
        }
    }

    /// Takes in another agent, which had started at `time`, Unix time, ns.
    pub(super) fn joined(&mut self, hello: Hello, time: i64) {
        let agent = self.scene.nodes.len();
        self.ledger.join(hello.streams, time);
        self.order.add(hello.streams, time);
        self.changes.push_back(Changed {
            time,
            node: agent,
            points: 0..hello.points.len(),
            gone: Vec::new(),
            notes: hello.notes.clone(),
        });
        self.scene.nodes.push(hello);
        // Its clock may differ by more than those of the others.
        let more = skew(&self.scene.nodes).saturating_sub(self.skew).max(0);
        self.skew += more;
        self.hold += more;
        self.engine.wait_longer(more);
        self.ledger.allow_for(self.skew);
        put_off(&mut self.scene.nodes[agent], self.skew, 0, 0);
    }

    /// Takes in who has got an address, and who has lost one. Packets from before that
    /// time keep the owners that they had.
    pub(super) fn owners_changed(&mut self, change: &OwnersChange) {
        change.apply(&mut self.scene.owners);
        // A pod of the follow stays in it with another address.
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

    /// Takes what is known of an agent, after rows of a recording are missing.
    pub(super) fn known(&mut self, agent: usize, hello: Hello) {
        // It may have begun anew meanwhile; what of that is missing, gaps tell.
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

    /// Minds from the beginning that the clocks of nodes differ.
    pub(super) fn allow_for_skew(&mut self) {
        let skew = self.skew;
        self.ledger.allow_for(skew);
        // Of a piece of a recording that is not the first.
        for hello in &mut self.scene.nodes {
            put_off(hello, skew, 0, 0);
        }
    }
}

/// Points from the number `first` on, and what is told of drops from `later`
/// on, count from `skew` later, ns.
fn put_off(hello: &mut Hello, skew: i64, first: usize, later: usize) {
    let points = hello.points[first..].iter_mut();
    let points = points.map(|point| &mut point.since);
    let drops = hello.drops_later[later..].iter_mut();
    let times = points.chain(drops.map(|(since, _)| since));
    for time in times.filter(|time| **time > 0) {
        *time = time.saturating_add_signed(skew);
    }
}
