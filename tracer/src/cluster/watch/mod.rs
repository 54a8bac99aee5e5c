//! Watches the objects of a session for changes.
//!
//! A follow watches each end's pods, and the Services that lead to them with their
//! EndpointSlices. `tracer drops` watches the pods on the watched nodes, and the nodes if it
//! watches all. Most changes of a pod do not change where it is, so only changes of names,
//! addresses, ports, nodes or ends are reported.
//!
//! A watch that expired (410) begins again by itself. While the server does not answer, the
//! known objects stay, and one message says so.

mod seen;
mod tries;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    net::IpAddr,
    time::Duration,
};

use futures::{
    Stream, StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

pub use self::seen::PodPlace;
use self::{
    seen::{Place, Seen, Watches},
    tries::{Refused, tries},
};
use super::{Cluster, ClusterError};
use crate::inventory::{Group, SERVICE_LABEL};

/// How long nothing more may change before a change is reported, up to a few times this long. A
/// rollout changes many pods within seconds.
const QUIET: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_millis(500);

/// Objects to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
    },
    /// A group of pods.
    Group(Group),
    /// A Service with its endpoints.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
    },
    /// The pods on a node.
    PodsOn(String),
    /// All pods.
    AllPods,
    /// All nodes, without their pods.
    AllNodes,
}

/// A report of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Objects changed, came or went.
    Changed,
    /// The server no longer answers, and the watch tries again. The text says why.
    Lost(String),
    /// The server answers again.
    Back,
    /// The server lists some objects, but does not tell of their changes. The text says why.
    Refused(String),
}

/// Time from which each address belongs to its pod, Unix time, ns.
pub type Pods = BTreeMap<IpAddr, i64>;

/// What a watch tells.
enum Told {
    Event(Event<Seen>),
    /// The watch failed, and tries again after a pause.
    Failed(watcher::Error),
    /// The watch tries again.
    TriedAgain,
    /// The server refuses the watch, which has ended.
    Refused(watcher::Error),
}

/// The watches of a session.
pub struct Watch {
    cluster: Cluster,
    /// What the watches tell, with each watch's index.
    events: SelectAll<BoxStream<'static, (usize, Told)>>,
    watches: Watches,
    /// Reports that wait to be taken.
    reports: VecDeque<Heard>,
}

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            events: SelectAll::new(),
            watches: Watches::default(),
            reports: VecDeque::new(),
        }
    }

    /// The cluster whose objects are watched.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Watches more objects.
    ///
    /// # Errors
    /// If the watch cannot begin because a named object does not exist.
    pub async fn add(&mut self, subject: &Subject) -> Result<(), ClusterError> {
        let client = || self.cluster.client.clone();
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        match subject {
            Subject::Pod { namespace, name } => {
                let pods = Api::namespaced(client(), namespace);
                self.push(Refused::TryAgain, events(pods, named(name), Seen::pod));
            }
            Subject::Group(group) => {
                let labels = self.cluster.labels(group).await?;
                let pods = Api::namespaced(client(), &group.namespace);
                let config = Config::default().labels(&labels);
                self.push(Refused::TryAgain, events(pods, config, Seen::pod));
            }
            Subject::Service { namespace, name } => {
                let services = Api::namespaced(client(), namespace);
                let slices = Api::namespaced(client(), namespace);
                let config = Config::default().labels(&format!("{SERVICE_LABEL}={name}"));
                let services = events(services, named(name), Seen::service);
                let slices = events(slices, config, Seen::slice);
                self.push(Refused::End, services);
                self.push(Refused::End, slices);
            }
            Subject::PodsOn(node) => {
                // The server's memory has an index of the nodes of pods, and etcd has none. kube asks
                // etcd for pages.
                let config = Config {
                    page_size: None,
                    ..Config::default().any_semantic()
                };
                let config = config.fields(&format!("spec.nodeName={node}"));
                let pods = events(Api::all(client()), config, Seen::pod);
                self.push(Refused::End, pods);
            }
            Subject::AllPods => {
                // From its memory, the server sends all of them at once. These come page by page.
                let pods = events(Api::all(client()), Config::default(), Seen::pod);
                self.push(Refused::End, pods);
            }
            Subject::AllNodes => {
                let nodes = events(Api::all(client()), Config::default(), Seen::node);
                self.push(Refused::End, nodes);
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        refused: Refused,
        events: impl Stream<Item = Result<Event<Seen>, watcher::Error>> + Send + 'static,
    ) {
        let index = self.watches.add();
        let told = tries(events, refused).map(move |told| (index, told));
        self.events.push(told.boxed());
    }

    /// The next report. The first state of each watch is reported, too, because it may have changed
    /// since it was read. `None` if nothing is watched.
    pub async fn next(&mut self) -> Option<Heard> {
        while self.reports.is_empty() {
            let told = self.events.next().await?;
            if !self.take(told) {
                continue;
            }
            let most = Instant::now() + MOST;
            while let Ok(Some(told)) =
                timeout_at(most.min(Instant::now() + QUIET), self.events.next()).await
            {
                self.take(told);
            }
            self.reports.push_back(Heard::Changed);
        }
        self.reports.pop_front()
    }

    /// Applies what a watch tells. Returns whether any place has changed.
    fn take(&mut self, (watch, told): (usize, Told)) -> bool {
        let (changed, report) = match told {
            Told::Event(event) => self.watches.take(watch, event),
            Told::Failed(error) => {
                let why = self.trouble(error);
                (false, why.and_then(|why| self.watches.lose(watch, why)))
            }
            Told::TriedAgain => {
                self.watches.try_again(watch);
                (false, None)
            }
            // If the server has not even listed the objects, a note at the start said so.
            Told::Refused(_) if self.watches.refuse(watch) => (true, None),
            Told::Refused(error) => (false, self.trouble(error).map(Heard::Refused)),
        };
        self.reports.extend(report);
        changed
    }

    /// Whether each watch has told its first state.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.watches.are_complete()
    }

    /// The known pods. Two watches may tell of the same pod.
    pub fn pods(&self) -> impl Iterator<Item = &PodPlace> {
        self.watches.places().filter_map(|place| match place {
            Place::Pod(pod) => Some(pod),
            Place::Node(_) | Place::Service(_) => None,
        })
    }

    /// Names of the known nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.watches.places().filter_map(|place| match place {
            Place::Node(name) => Some(&**name),
            Place::Pod(_) | Place::Service(_) => None,
        })
    }

    /// Times from which the pods have their addresses.
    #[must_use]
    pub fn since(&self) -> Pods {
        // A pod that has ended may name an address that another pod has by now.
        let pods = self.pods().filter(|place| place.pod.has_own_addresses());
        let since = pods.filter_map(|place| Some((place, place.since?)));
        let each = since.flat_map(|(place, since)| {
            let addresses = place.pod.addresses.iter();
            addresses.map(move |address| (*address, since))
        });
        each.collect()
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
        Some(self.cluster.explain(error).to_string())
    }
}

/// Events of objects.
fn events<K>(
    objects: Api<K>,
    config: Config,
    see: fn(&K) -> Seen,
) -> impl Stream<Item = Result<Event<Seen>, watcher::Error>> + Send + use<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(objects, config).map(move |event| {
        Ok(match event? {
            Event::Init => Event::Init,
            Event::InitApply(object) => Event::InitApply(see(&object)),
            Event::InitDone => Event::InitDone,
            Event::Apply(object) => Event::Apply(see(&object)),
            Event::Delete(object) => Event::Delete(see(&object)),
        })
    })
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
mod tests;
