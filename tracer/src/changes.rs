//! Changes in the cluster while a session runs, for `tracer follow` and `tracer drops`.
//!
//! A separate thread asks the API, because the commands that give credentials block.

use std::{collections::BTreeMap, net::IpAddr, thread};

use tokio::{runtime::Runtime, sync::mpsc};
use tracer_core::{
    input::{Gained, Lost, OwnersChange},
    model::{Owner, OwnerKind, Owners},
};

use crate::{
    clock::unix_now,
    cluster::{ClusterError, Heard, Pods, Watch},
    collector::Update,
};

/// Limit of updates that wait for the session.
const WAITING: usize = 16;

/// Starts the thread. `work` sends updates until the session ends, and returns an error if it cannot
/// begin.
pub(crate) fn begin<W>(
    runtime: Runtime,
    work: impl FnOnce(mpsc::Sender<Update>) -> W + Send + 'static,
) -> mpsc::Receiver<Update>
where
    W: Future<Output = Result<(), ClusterError>>,
{
    let (sender, updates) = mpsc::channel(WAITING);
    // The thread ends with the process, or with the session.
    thread::spawn(move || {
        runtime.block_on(async {
            if let Err(error) = work(sender.clone()).await {
                let line = format!("changes in the cluster are not noticed: {error}");
                // A session that is over does not need the notice.
                drop(sender.send(Update::notice(line)).await);
            }
        });
    });
    updates
}

/// Sends what `changed` makes of each change, and sentences on the watch itself, until the session
/// ends.
pub(crate) async fn send(
    mut watch: Watch,
    to: &mpsc::Sender<Update>,
    mut changed: impl AsyncFnMut(&mut Watch) -> Update,
) {
    while let Some(heard) = watch.next().await {
        let update = match heard {
            Heard::Changed => changed(&mut watch).await,
            Heard::Lost(why) => Update::notice(format!(
                "cannot watch the cluster, so tracer keeps the last known names and addresses; \
                 trying again: {why}"
            )),
            Heard::Back => Update::notice("watching the cluster again".to_owned()),
            Heard::Refused(why) => Update::notice(format!(
                "tracer cannot notice some changes in the cluster, so names and addresses may be \
                 outdated: {why}"
            )),
        };
        let is_over = match update.is_empty() {
            true => to.is_closed(),
            false => to.send(update).await.is_err(),
        };
        if is_over {
            return;
        }
    }
}

/// The owners that have lost an address during the session: the last one of each address, and when,
/// Unix time, ns.
#[derive(Debug, Default)]
pub(crate) struct Losses(BTreeMap<IpAddr, (String, i64)>);

impl Losses {
    /// The differences in who has which address. A lost address counts as lost now. A pod has had
    /// its address since the pod was started, or since it lost the address for a while.
    pub(crate) fn differences(
        &mut self,
        before: &Owners,
        after: &Owners,
        pods: &Pods,
    ) -> Vec<OwnersChange> {
        let now = unix_now();
        let gained = without(after, before).into_iter();
        let gained = gained.map(|(address, owner)| {
            let since = pods.get(&address).filter(|_| owner.kind == OwnerKind::Pod);
            let mut time = since.map_or(now, |since| now.min(*since));
            if let Some((name, lost)) = self.0.get(&address)
                && *name == owner.name
            {
                time = time.max(*lost);
            }
            OwnersChange {
                time,
                gained: vec![Gained { address, owner }],
                ..OwnersChange::default()
            }
        });
        let mut changes: Vec<OwnersChange> = gained.collect();
        changes.sort_by_key(|change| change.time);
        // A pod that keeps its address on another node has not lost it.
        let keeps = |(address, owner): &(IpAddr, Owner)| {
            let now = after.at(*address, Owners::LATEST);
            now.is_some_and(|now| (now.kind, &now.name) == (owner.kind, &owner.name))
        };
        let lost = without(before, after).into_iter();
        let lost = lost.filter(|one| !keeps(one));
        let lost: Vec<Lost> = lost
            .map(|(address, Owner { name, kind, .. })| {
                self.0.insert(address, (name.clone(), now));
                Lost {
                    address,
                    name,
                    kind,
                }
            })
            .collect();
        if !lost.is_empty() {
            changes.push(OwnersChange {
                time: now,
                lost,
                ..OwnersChange::default()
            });
        }
        changes
    }
}

/// The present owners that are not the same among others.
fn without(owners: &Owners, others: &Owners) -> Vec<(IpAddr, Owner)> {
    let all = owners.all_at(Owners::LATEST);
    let only = all.filter(|(address, owner)| others.at(*address, Owners::LATEST) != Some(owner));
    only.map(|(address, owner)| (address, owner.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_comes_back_has_its_address_since_it_started() {
        let pod = |name: &str, node: &str| Owner {
            name: name.to_owned(),
            kind: OwnerKind::Pod,
            node: node.to_owned(),
        };
        let [old, new, same] = [[10, 1, 0, 5], [10, 2, 0, 7], [10, 1, 0, 9]].map(IpAddr::from);
        let before = [(old, pod("shop/db-0", "a")), (same, pod("shop/web", "a"))];
        let after = [(new, pod("shop/db-0", "b")), (same, pod("shop/web", "a"))];
        let (before, after) = (Owners::from_iter(before), Owners::from_iter(after));
        let started = unix_now() - 5;
        let changes = Losses::default().differences(&before, &after, &Pods::from([(new, started)]));
        let mut known = before;
        for change in &changes {
            change.apply(&mut known);
        }
        let name_at = |address, time| known.at(address, time).map(|owner| owner.name.as_str());
        assert_eq!(name_at(new, started - 1), None);
        assert_eq!(name_at(new, started), Some("shop/db-0"));
        assert_eq!(name_at(old, started), Some("shop/db-0"));
        assert_eq!(name_at(old, Owners::LATEST), None);
        assert_eq!(name_at(same, Owners::LATEST), Some("shop/web"));
        assert_eq!(
            Losses::default().differences(&after, &after, &Pods::new()),
            []
        );
    }

    /// For example, somebody deletes the object of a node that runs on.
    #[test]
    fn a_pod_that_was_not_known_for_a_while_has_its_address_again() {
        let pod = IpAddr::from([10, 1, 0, 5]);
        let owner = Owner {
            name: "shop/web".to_owned(),
            kind: OwnerKind::Pod,
            node: "a".to_owned(),
        };
        let there = Owners::from_iter([(pod, owner)]);
        let (gone, since) = (Owners::default(), Pods::from([(pod, 5)]));
        let mut losses = Losses::default();
        let mut known = there.clone();
        let states = [(&there, &gone), (&gone, &there), (&there, &gone)];
        for (before, after) in states {
            for change in losses.differences(before, after, &since) {
                change.apply(&mut known);
            }
            let is_there = known.at(pod, Owners::LATEST).is_some();
            assert_eq!(is_there, !after.is_empty());
        }
    }

    /// For example, a virtual machine that moves.
    #[test]
    fn a_pod_that_keeps_its_address_on_another_node_has_not_lost_it() {
        let pod = IpAddr::from([10, 1, 0, 5]);
        let on = |node: &str| {
            let owner = Owner {
                name: "shop/machine".to_owned(),
                kind: OwnerKind::Pod,
                node: node.to_owned(),
            };
            Owners::from_iter([(pod, owner)])
        };
        let mut known = on("a");
        let changes = Losses::default().differences(&on("a"), &on("b"), &Pods::from([(pod, 5)]));
        for change in changes {
            change.apply(&mut known);
        }
        let owner = known.at(pod, Owners::LATEST).expect("it has one");
        assert_eq!(owner.node, "b");
    }
}
