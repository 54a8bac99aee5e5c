//! Watches the objects of a session for changes.
//!
//! A follow watches each end's pods, and the Services that lead to them with their
//! EndpointSlices. `tracer drops` watches the nodes and the pods on them. Most changes of a pod do not change where it is, so only changes of names,
//! addresses, ports, nodes or ends are reported.
//!
//! A watch that expired (410) begins again by itself. While the server does not answer, the
//! known objects stay, and one message says so.

mod answers;
mod known;
mod seen;
mod tries;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Debug,
    net::IpAddr,
    time::Duration,
};

use futures::{
    Stream, StreamExt as _,
    stream::{BoxStream, SelectAll},
};
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use self::{
    answers::noted,
    seen::{Place, Seen, Watches},
    tries::{Refused, tries},
};
pub use self::{known::Known, seen::PodPlace};
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
    /// A node, without its pods.
    Node(String),
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
    /// The server has begun to answer a request of the watch.
    Answered,
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
    /// The refusals that were reported.
    refusals: BTreeSet<String>,
    /// When to report a change even if there is none.
    due: Option<Instant>,
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
            refusals: BTreeSet::new(),
            due: None,
        }
    }

    /// The cluster whose objects are watched.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Watches more objects. Those that are `known` count until the watch has told its first state.
    ///
    /// # Errors
    /// If the watch cannot begin because a named object does not exist.
    pub async fn add(&mut self, subject: &Subject, known: &Known) -> Result<(), ClusterError> {
        let known = known.of_subject(subject);
        let named = |name: &str| Config::default().fields(&format!("metadata.name={name}"));
        match subject {
            Subject::Pod { namespace, name } => {
                let pods = |client| Api::namespaced(client, namespace);
                self.push(known, Refused::TryAgain, (pods, named(name), Seen::pod));
            }
            Subject::Group(group) => {
                let labels = self.cluster.labels(group).await?;
                let pods = |client| Api::namespaced(client, &group.namespace);
                let config = Config::default().labels(&labels);
                self.push(known, Refused::TryAgain, (pods, config, Seen::pod));
            }
            Subject::Service { namespace, name } => {
                let services = |client| Api::namespaced(client, namespace);
                let slices = |client| Api::namespaced(client, namespace);
                let config = Config::default().labels(&format!("{SERVICE_LABEL}={name}"));
                let first = known.clone();
                self.push(first, Refused::End, (services, named(name), Seen::service));
                self.push(known, Refused::End, (slices, config, Seen::slice));
            }
            Subject::PodsOn(node) => {
                // The server's memory has an index of the nodes of pods, and etcd has none. kube asks
                // etcd for pages.
                let config = Config {
                    page_size: None,
                    ..Config::default().any_semantic()
                };
                let config = config.fields(&format!("spec.nodeName={node}"));
                self.push(known, Refused::End, (Api::all, config, Seen::pod));
            }
            Subject::AllPods => {
                // From its memory, the server sends all of them at once. These come page by page.
                let config = Config::default();
                self.push(known, Refused::End, (Api::all, config, Seen::pod));
            }
            Subject::Node(name) => {
                self.push(known, Refused::End, (Api::all, named(name), Seen::node));
            }
            Subject::AllNodes => {
                let config = Config::default();
                self.push(known, Refused::End, (Api::all, config, Seen::node));
            }
        }
        Ok(())
    }

    /// Watches the objects that the client and the configuration choose.
    fn push<K>(
        &mut self,
        known: BTreeMap<String, Place>,
        refused: Refused,
        (objects, config, see): (impl FnOnce(Client) -> Api<K>, Config, fn(&K) -> Seen),
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let index = self.watches.add(known);
        let (client, answers) = noted(&self.cluster.client);
        let events = events(objects(client), config, see);
        let told = tries(events, answers, refused).map(move |told| (index, told));
        self.events.push(told.boxed());
    }

    /// The next report. The first state of each watch is reported, too, because it may have changed
    /// since it was read. `None` if nothing is watched.
    pub async fn next(&mut self) -> Option<Heard> {
        while self.reports.is_empty() {
            let told = match self.due {
                Some(due) => timeout_at(due, self.events.next()).await,
                None => Ok(self.events.next().await),
            };
            let has_changed = match told {
                Ok(told) => self.take(told?),
                Err(_) => {
                    self.due = None;
                    true
                }
            };
            if !has_changed {
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

    /// Reports a change at this time even if there is none.
    pub fn remind(&mut self, at: Instant) {
        self.due = Some(at);
    }

    /// Applies what a watch tells. Returns whether any place has changed.
    fn take(&mut self, (watch, told): (usize, Told)) -> bool {
        let (changed, report) = match told {
            Told::Event(event) => self.watches.take(watch, event),
            Told::Failed(error) => {
                let why = self.trouble(error);
                (false, why.and_then(|why| self.watches.lose(watch, why)))
            }
            Told::Answered => (false, self.watches.answered(watch)),
            // If the server has not even listed the objects, a note at the start said so.
            Told::Refused(_) if self.watches.refuse(watch) => (true, None),
            Told::Refused(error) => {
                // Each of many watches may be refused for the same reason.
                let why = self.trouble(error);
                let why = why.filter(|why| self.refusals.insert(why.clone()));
                (false, why.map(Heard::Refused))
            }
        };
        self.reports.extend(report);
        changed
    }

    /// The known pods. Two watches may tell of the same pod.
    pub fn pods(&self) -> impl Iterator<Item = &PodPlace> {
        self.watches.places().filter_map(|place| match place {
            Place::Pod(pod) => Some(pod),
            Place::Node { .. } | Place::Service(_) => None,
        })
    }

    /// Names and UIDs of the known nodes. A UID is empty until a watch has told it. Two watches may
    /// tell of the same node.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.watches.places().filter_map(|place| match place {
            Place::Node { name, uid } => Some((&**name, &**uid)),
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
