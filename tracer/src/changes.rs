//! Changes in the cluster while a session runs, for `tracer follow` and `tracer drops`.
//!
//! A separate thread asks the API, because the commands that give credentials block.

use std::{net::IpAddr, thread};

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
                "the cluster does not tell of changes for now, so names and addresses are \
                 those that were known last; trying again: {why}"
            )),
            Heard::Back => Update::notice("the cluster tells of changes again".to_owned()),
            Heard::Refused(why) => Update::notice(format!(
                "some changes in the cluster are not noticed, so names and addresses may be \
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

/// The differences in who has which address. A lost address counts as lost now. A pod has had its
/// address since the pod was started.
pub(crate) fn owners(before: &Owners, after: &Owners, pods: &Pods) -> Vec<OwnersChange> {
    let now = unix_now();
    let without = |one: &Owners, other: &Owners| -> Vec<(IpAddr, Owner)> {
        let all = one.all_at(Owners::LATEST);
        let only = all.filter(|(address, owner)| other.at(*address, Owners::LATEST) != Some(owner));
        only.map(|(address, owner)| (address, owner.clone()))
            .collect()
    };
    let lost = without(before, after).into_iter();
    let lost: Vec<Lost> = lost
        .map(|(address, Owner { name, kind, .. })| Lost {
            address,
            name,
            kind,
        })
        .collect();
    let gained = without(after, before).into_iter();
    let gained = gained.map(|(address, owner)| {
        let since = pods.get(&address).filter(|_| owner.kind == OwnerKind::Pod);
        OwnersChange {
            time: since.map_or(now, |since| now.min(*since)),
            gained: vec![Gained { address, owner }],
            ..OwnersChange::default()
        }
    });
    let mut changes: Vec<OwnersChange> = gained.collect();
    changes.sort_by_key(|change| change.time);
    if !lost.is_empty() {
        changes.push(OwnersChange {
            time: now,
            lost,
            ..OwnersChange::default()
        });
    }
    changes
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
        let changes = owners(&before, &after, &Pods::from([(new, started)]));
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
        assert_eq!(owners(&after, &after, &Pods::new()), []);
    }
}
