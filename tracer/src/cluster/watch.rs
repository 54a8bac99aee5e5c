//! Watches a follow's ends for changes.
//!
//! Each end's pods are watched, and the Services that lead to them with their EndpointSlices,
//! and nothing else. Most changes of a pod do not change where it is, so only changes of names,
//! addresses, ports, nodes or ends are reported. Then the present objects are read again.
//!
//! A watch that expired (410) begins again by itself. While the server does not answer, the
//! known objects stay, and one message says so.

use std::{collections::BTreeMap, fmt::Debug, mem, net::IpAddr, time::Duration};

use futures::{Stream, StreamExt as _, future, stream::select_all};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Pod, Service},
        discovery::v1::EndpointSlice,
    },
};
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{Cluster, ClusterError, Wanted};
use crate::inventory::SERVICE_LABEL;

/// How long nothing more may change before a change is reported, up to a few times this long. A
/// rollout changes many pods within seconds.
const QUIET: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_millis(500);

/// A report of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Pods changed, or moved.
    Changed(Pods),
    /// The server no longer answers, and the watch tries again. The text says why.
    Lost(String),
    /// The server answers again.
    Back,
}

/// Time from which each address belongs to its pod, Unix time, ns.
pub type Pods = BTreeMap<IpAddr, i64>;

/// The relevant part of an object, and its UID, which differs after the object was created
/// again.
#[derive(Clone, Debug)]
struct Seen {
    uid: String,
    place: Place,
}

/// The place of a pod, or the endpoints of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Pod {
        addresses: Vec<IpAddr>,
        node: Option<String>,
        has_ended: bool,
        /// Time from which the pod has its addresses, Unix time, ns.
        since: Option<i64>,
    },
    /// Addresses and ports, as text for comparison.
    Service(String),
}

impl Seen {
    fn pod(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let addresses = status.and_then(|status| status.pod_ips.as_ref());
        let addresses = addresses.into_iter().flatten();
        let phase = status.and_then(|status| status.phase.as_deref());
        let since = status.and_then(|status| status.start_time.as_ref());
        let place = Place::Pod {
            addresses: addresses.filter_map(|ip| ip.ip.parse().ok()).collect(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            has_ended: matches!(phase, Some("Succeeded" | "Failed")),
            since: since.and_then(|time| i64::try_from(time.0.as_nanosecond()).ok()),
        };
        let uid = pod.uid().unwrap_or_default();
        Self { uid, place }
    }

    fn service(service: &Service) -> Self {
        let spec = service.spec.as_ref().map(|spec| {
            let addresses = (&spec.cluster_ips, &spec.external_ips, &spec.external_name);
            (addresses, &spec.ports)
        });
        let status = service.status.as_ref();
        let balancer = status.and_then(|status| status.load_balancer.as_ref());
        let uid = service.uid().unwrap_or_default();
        let place = Place::Service(format!("{spec:?} {balancer:?}"));
        Self { uid, place }
    }

    fn slice(slice: &EndpointSlice) -> Self {
        let endpoints = slice.endpoints.iter();
        let endpoints = endpoints.map(|endpoint| (&endpoint.addresses, &endpoint.node_name));
        let mut endpoints: Vec<_> = endpoints.collect();
        endpoints.sort_unstable();
        let uid = slice.uid().unwrap_or_default();
        let place = Place::Service(format!("{endpoints:?} {:?}", slice.ports));
        Self { uid, place }
    }
}

/// Objects of one watch, by UID.
#[derive(Default)]
struct Watched {
    known: BTreeMap<String, Place>,
    /// Objects of a new listing, until it is complete.
    listing: Option<BTreeMap<String, Place>>,
}

impl Watched {
    /// Applies an event. Returns whether any place has changed.
    fn take(&mut self, event: Event<Seen>) -> bool {
        match event {
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(Seen { uid, place }) => {
                self.listing.get_or_insert_default().insert(uid, place);
                false
            }
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let before = mem::replace(&mut self.known, listed);
                before != self.known
            }
            Event::Apply(Seen { uid, place }) => {
                let before = self.known.insert(uid, place.clone());
                before != Some(place)
            }
            Event::Delete(Seen { uid, .. }) => self.known.remove(&uid).is_some(),
        }
    }
}

/// All watches of a follow.
struct Watches {
    watched: Vec<Watched>,
    /// Whether the server does not answer to some watch, as far as is known.
    is_lost: bool,
}

impl Watches {
    /// Applies an event of a watch. Returns whether any place has changed, and whether the server
    /// answers again.
    fn take(&mut self, watch: usize, event: Event<Seen>) -> (bool, Option<Heard>) {
        // The list that begins with this event may still fail.
        let begins = matches!(event, Event::Init);
        let changed = self.watched[watch].take(event);
        // A watch that resumes without a change says nothing, so any answer counts.
        let is_back = !begins && mem::take(&mut self.is_lost);
        (changed, is_back.then_some(Heard::Back))
    }

    /// Notes that the server does not answer. Returns that, if it answered before.
    fn lose(&mut self, why: String) -> Option<Heard> {
        let was_lost = mem::replace(&mut self.is_lost, true);
        (!was_lost).then_some(Heard::Lost(why))
    }
}

impl Cluster {
    /// Watches the wanted pods, and Services by namespace and name, as long as `tell` says to
    /// go on. The first state is reported, too, because it may have changed since it was read.
    ///
    /// # Errors
    /// If a watch cannot begin because a named object does not exist.
    pub async fn watch(
        &self,
        wanted: &[Wanted],
        services: &[(String, String)],
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
                Wanted::Node(_)
                | Wanted::AllNodes
                | Wanted::Address(_)
                | Wanted::Service { .. }
                | Wanted::Dns => continue,
            };
            streams.push(self.changes(namespace, config, Seen::pod).boxed());
        }
        for (namespace, name) in services {
            let named = Config::default().fields(&format!("metadata.name={name}"));
            let slices = Config::default().labels(&format!("{SERVICE_LABEL}={name}"));
            let services = self.changes(namespace, named, Seen::service).boxed();
            let slices = self.changes(namespace, slices, Seen::slice).boxed();
            // A note said before that the user may not read them.
            for events in [services, slices] {
                let is_allowed = |event: &Result<_, _>| !event.as_ref().is_err_and(is_forbidden);
                let allowed = events.take_while(move |event| future::ready(is_allowed(event)));
                streams.push(allowed.boxed());
            }
        }
        let mut watches = Watches {
            watched: streams.iter().map(|_| Watched::default()).collect(),
            is_lost: false,
        };
        let streams = streams.into_iter().enumerate();
        let mut events =
            select_all(streams.map(|(index, events)| events.map(move |event| (index, event))));
        let take = |watches: &mut Watches, index, event| match event {
            Ok(event) => watches.take(index, event),
            Err(error) => {
                let trouble = self.trouble(error);
                (false, trouble.and_then(|why| watches.lose(why)))
            }
        };
        while let Some((index, event)) = events.next().await {
            let (changed, told) = take(&mut watches, index, event);
            let mut told: Vec<Heard> = told.into_iter().collect();
            let most = Instant::now() + MOST;
            while changed
                && let Ok(Some((index, event))) =
                    timeout_at(most.min(Instant::now() + QUIET), events.next()).await
            {
                told.extend(take(&mut watches, index, event).1);
            }
            for heard in told {
                if !tell(self, heard).await {
                    return Ok(());
                }
            }
            if !changed {
                continue;
            }
            let all = watches.watched.iter();
            let all = all.flat_map(|watched| watched.known.values());
            let mut pods = Pods::new();
            for place in all {
                if let Place::Pod {
                    addresses,
                    since: Some(since),
                    ..
                } = place
                {
                    pods.extend(addresses.iter().map(|address| (*address, *since)));
                }
            }
            if !tell(self, Heard::Changed(pods)).await {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Events of objects in a namespace.
    fn changes<K>(
        &self,
        namespace: &str,
        config: Config,
        see: fn(&K) -> Seen,
    ) -> impl Stream<Item = Result<Event<Seen>, watcher::Error>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let objects = Api::<K>::namespaced(self.client.clone(), namespace);
        let events = watcher(objects, config).default_backoff();
        events.map(move |event| {
            Ok(match event? {
                Event::Init => Event::Init,
                Event::InitApply(object) => Event::InitApply(see(&object)),
                Event::InitDone => Event::InitDone,
                Event::Apply(object) => Event::Apply(see(&object)),
                Event::Delete(object) => Event::Delete(see(&object)),
            })
        })
    }

    /// The text for an error of a watch; `None` if the watch expired, which is normal.
    fn trouble(&self, error: watcher::Error) -> Option<String> {
        if has_code(&error, 410) {
            return None;
        }
        let error = match error {
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::NoResourceVersion => {
                return Some("the API server watches no pods".to_owned());
            }
        };
        Some(self.explain(error).to_string())
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    has_code(error, 403)
}

/// Whether the server answered with this HTTP status.
fn has_code(error: &watcher::Error, code: u16) -> bool {
    let status = match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    status.code == code
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::{EndpointSlice, Event, Heard, Pod, Seen, Watched, Watches};

    fn pod(uid: &str, address: &str, ready: bool) -> Seen {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "db-0", "namespace": "shop", "uid": uid},
            "spec": {"nodeName": "node-a", "containers": []},
            "status": {"phase": "Running", "podIPs": [{"ip": address}],
                       "conditions": [{"type": "Ready", "status": ready.to_string()}]},
        }))
        .expect("a pod");
        Seen::pod(&pod)
    }

    fn slice(addresses: &[&str], ready: bool) -> Seen {
        let endpoints = addresses.iter().map(|address| {
            json!({"addresses": [address], "conditions": {"ready": ready}, "nodeName": "a"})
        });
        let endpoints: Vec<_> = endpoints.collect();
        let slice: EndpointSlice = from_value(json!({
            "metadata": {"name": "db-1", "namespace": "shop", "uid": "s"},
            "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
        }))
        .expect("a slice");
        Seen::slice(&slice)
    }

    /// A list that fails again and again begins again and again.
    #[test]
    fn a_server_answers_again_with_the_first_answer_to_any_watch() {
        let mut watches = Watches {
            watched: vec![Watched::default(), Watched::default()],
            is_lost: false,
        };
        let lost = |why: &str| Some(Heard::Lost(why.to_owned()));
        assert_eq!(watches.lose("first".to_owned()), lost("first"));
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.lose("again".to_owned()), None);
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.take(1, Event::InitDone).1, Some(Heard::Back));
        assert_eq!(watches.take(0, Event::InitDone).1, None);
        assert_eq!(watches.lose("later".to_owned()), lost("later"));
    }

    #[test]
    fn only_what_says_where_a_service_leads_is_told() {
        let mut watched = Watched::default();
        assert!(watched.take(Event::Apply(slice(&["10.244.1.5", "10.244.1.6"], true))));
        // Another order is no change, and neither is an endpoint that is not ready.
        assert!(!watched.take(Event::Apply(slice(&["10.244.1.6", "10.244.1.5"], true))));
        assert!(!watched.take(Event::Apply(slice(&["10.244.1.6", "10.244.1.5"], false))));
        assert!(watched.take(Event::Apply(slice(&["10.244.1.6"], false))));
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
        // The objects are listed again after the watch expired, and nothing differs.
        let again = [
            Event::Init,
            Event::InitApply(pod("a", "10.244.1.6", true)),
            Event::InitDone,
        ];
        assert_eq!(again.map(|event| watched.take(event)), [false; 3]);
        // A new object of that name exists before the old one is gone.
        assert!(watched.take(Event::Apply(pod("b", "10.244.1.7", true))));
        assert!(watched.take(Event::Delete(pod("a", "10.244.1.6", true))));
        assert!(!watched.take(Event::Delete(pod("a", "10.244.1.6", true))));
        // The object was deleted while the watch was interrupted.
        assert!([Event::Init, Event::InitDone].map(|event| watched.take(event))[1]);
    }
}
