//! Hearing when a follow's ends change.
//!
//! Each end's pods are watched, and nothing else: most of what happens to a pod says
//! nothing about where it is, so only a change of names, addresses, nodes or ends is told.
//! What there is then is read anew.
//!
//! A watch that expired (410) begins again by itself. While the server does not answer, what
//! is known stays; that is said once.

use std::{collections::BTreeMap, mem, net::IpAddr, time::Duration};

use futures::{StreamExt as _, stream::select_all};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use tokio::time::{Instant, timeout_at};

use super::{Cluster, ClusterError, Wanted};

/// How long nothing more must change before it is told; but no longer than a few times
/// that. A rollout changes many pods within seconds.
const QUIET: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_millis(500);

/// What is told of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Pods are others than before, or elsewhere.
    Changed(Pods),
    /// The server does not tell any more, and it is tried again: why.
    Lost(String),
    /// It tells again.
    Back,
}

/// From when on addresses belong to pods, Unix time, ns.
pub type Pods = BTreeMap<IpAddr, i64>;

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    addresses: Vec<IpAddr>,
    node: Option<String>,
    has_ended: bool,
    /// Unix time, ns.
    since: Option<i64>,
}

impl Place {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let addresses = status.and_then(|status| status.pod_ips.as_ref());
        let addresses = addresses.into_iter().flatten();
        let phase = status.and_then(|status| status.phase.as_deref());
        let since = status.and_then(|status| status.start_time.as_ref());
        Self {
            addresses: addresses.filter_map(|ip| ip.ip.parse().ok()).collect(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            has_ended: matches!(phase, Some("Succeeded" | "Failed")),
            since: since.and_then(|time| i64::try_from(time.0.as_nanosecond()).ok()),
        }
    }
}

/// The pods of one watch, by their UIDs: one that comes back has another.
#[derive(Default)]
struct Watched {
    known: BTreeMap<String, Place>,
    /// Those that are listed anew, until all are.
    listing: Option<BTreeMap<String, Place>>,
}

impl Watched {
    /// Takes in an event: whether any pod is elsewhere now.
    fn take(&mut self, event: Event<Pod>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(pod) => {
                let listing = self.listing.get_or_insert_default();
                listing.insert(pod.uid().unwrap_or_default(), Place::of(&pod));
                false
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let before = mem::replace(&mut self.known, listed);
                before != self.known
            }
            Event::Apply(pod) => {
                let place = Place::of(&pod);
                let before = self
                    .known
                    .insert(pod.uid().unwrap_or_default(), place.clone());
                before != Some(place)
            }
            Event::Delete(pod) => self.known.remove(&pod.uid().unwrap_or_default()).is_some(),
        }
    }
}

impl Cluster {
    /// Watches the pods that are wanted, as long as `tell` says to go on. What is there at
    /// first is told, too, because it may have changed since it was read.
    ///
    /// # Errors
    /// If a watch cannot begin because something that was named is not there.
    pub async fn watch(
        &self,
        wanted: &[Wanted],
        mut tell: impl AsyncFnMut(&Self, Heard) -> bool,
    ) -> Result<(), ClusterError> {
        let mut streams = Vec::new();
        for one in wanted {
            let (namespace, config) = match one {
                Wanted::Pod { namespace, name } => {
                    let field = format!("metadata.name={name}");
                    (namespace, Config::default().fields(&field))
                }
                Wanted::Group(group) => {
                    let labels = self.labels(group).await?;
                    (&group.namespace, Config::default().labels(&labels))
                }
                Wanted::Node(_) | Wanted::Address(_) | Wanted::Service { .. } => continue,
            };
            let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
            let index = streams.len();
            let events = watcher(pods, config).default_backoff();
            streams.push(events.map(move |event| (index, event)).boxed());
        }
        let mut watched: Vec<Watched> = streams.iter().map(|_| Watched::default()).collect();
        let mut events = select_all(streams);
        let mut is_lost = false;
        while let Some((index, event)) = events.next().await {
            let mut changed = match event {
                Ok(event) => watched[index].take(event),
                Err(error) => {
                    if let Some(why) = self.trouble(error)
                        && !mem::replace(&mut is_lost, true)
                        && !tell(self, Heard::Lost(why)).await
                    {
                        return Ok(());
                    }
                    continue;
                }
            };
            if mem::take(&mut is_lost) && !tell(self, Heard::Back).await {
                return Ok(());
            }
            if !changed {
                continue;
            }
            let most = Instant::now() + MOST;
            while let Ok(Some((index, event))) =
                timeout_at(most.min(Instant::now() + QUIET), events.next()).await
            {
                match event {
                    Ok(event) => changed |= watched[index].take(event),
                    Err(_) => break,
                }
            }
            let all = watched.iter().flat_map(|watched| watched.known.values());
            let since = all.flat_map(|place| {
                let since = place.since;
                let addresses = place.addresses.iter();
                addresses.filter_map(move |address| Some((*address, since?)))
            });
            let pods = since.collect();
            if !tell(self, Heard::Changed(pods)).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What an error of a watch means; `None` if it expired, which is no trouble.
    fn trouble(&self, error: watcher::Error) -> Option<String> {
        let error = match error {
            watcher::Error::WatchError(status) if status.code == 410 => return None,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::NoResourceVersion => {
                return Some("the API server watches no pods".to_owned());
            }
        };
        if let kube::Error::Api(status) = &error
            && status.code == 410
        {
            return None;
        }
        Some(self.explain(error).to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{Event, Pod, Watched};

    fn pod(uid: &str, address: &str, ready: bool) -> Pod {
        from_value(json!({
            "metadata": {"name": "db-0", "namespace": "shop", "uid": uid},
            "spec": {"nodeName": "node-a", "containers": []},
            "status": {"phase": "Running", "podIPs": [{"ip": address}],
                       "conditions": [{"type": "Ready", "status": ready.to_string()}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn only_what_says_where_a_pod_is_is_told() {
        let mut watched = Watched::default();
        let listing = [
            Event::Init,
            Event::InitApply(pod("a", "10.244.1.5", false)),
            Event::InitDone,
        ];
        assert_eq!(
            listing.map(|event| watched.take(event)),
            [false, false, true]
        );
        assert!(!watched.take(Event::Apply(pod("a", "10.244.1.5", true))));
        assert!(watched.take(Event::Apply(pod("a", "10.244.1.6", true))));
        // Listed again after it expired: nothing is different.
        let again = [
            Event::Init,
            Event::InitApply(pod("a", "10.244.1.6", true)),
            Event::InitDone,
        ];
        assert_eq!(again.map(|event| watched.take(event)), [false; 3]);
        // Another one of that name is there before the first is gone.
        assert!(watched.take(Event::Apply(pod("b", "10.244.1.7", true))));
        assert!(watched.take(Event::Delete(pod("a", "10.244.1.6", true))));
        assert!(!watched.take(Event::Delete(pod("a", "10.244.1.6", true))));
        // It went while nothing was told.
        assert!([Event::Init, Event::InitDone].map(|event| watched.take(event))[1]);
    }
}
