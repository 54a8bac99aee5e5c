//! What watches have told of, reduced to what decides where packets go.

use std::{collections::BTreeMap, mem};

use k8s_openapi::api::{
    core::v1::{Node, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{ResourceExt as _, core::PartialObjectMeta, runtime::watcher::Event};

use super::Heard;
use crate::inventory;

/// The relevant part of an object, and its UID, which differs after the object was created
/// again.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    uid: String,
    place: Place,
}

/// What a watch tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Where a pod is.
    Pod(PodPlace),
    /// A node that exists. Its UID differs after the node was created again.
    Node {
        /// The node's name.
        name: String,
        /// The node's UID; empty if it is not known.
        uid: String,
    },
    /// Addresses and ports of a Service or its endpoints, as text for comparison.
    Service(String),
}

/// Where a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlace {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's addresses and node.
    pub pod: inventory::Pod,
    /// Time from which the pod has its addresses, Unix time, ns.
    pub since: Option<i64>,
}

impl Seen {
    pub(super) fn pod(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let since = status.and_then(|status| status.start_time.as_ref());
        let place = Place::Pod(PodPlace {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            pod: pod.into(),
            since: since.and_then(|time| i64::try_from(time.0.as_nanosecond()).ok()),
        });
        let uid = pod.uid().unwrap_or_default();
        Self { uid, place }
    }

    /// A node's metadata: its status is long, and changes often.
    pub(super) fn node(node: &PartialObjectMeta<Node>) -> Self {
        let (name, uid) = (node.name_any(), node.uid().unwrap_or_default());
        Self {
            uid: uid.clone(),
            place: Place::Node { name, uid },
        }
    }

    pub(super) fn service(service: &Service) -> Self {
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

    pub(super) fn slice(slice: &EndpointSlice) -> Self {
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
pub(super) struct Watched {
    known: BTreeMap<String, Place>,
    /// Objects of a new listing, until it is complete.
    listing: Option<BTreeMap<String, Place>>,
    /// Whether the watch has told its first state, or never will.
    is_listed: bool,
    loss: Option<Loss>,
}

/// Why a watch does not tell of changes for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Its list failed. The end of the next list says that the watch works again.
    List,
    /// Its changes failed. The server's answer to the next try says that the watch works again. The
    /// watch itself says nothing until the next change.
    Changes,
}

impl Watched {
    /// Applies an event. Returns whether any place has changed, or is known for the first time.
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
                let is_first = !mem::replace(&mut self.is_listed, true);
                is_first || before != self.known
            }
            Event::Apply(Seen { uid, place }) => {
                let before = self.known.insert(uid, place.clone());
                before != Some(place)
            }
            Event::Delete(Seen { uid, .. }) => self.known.remove(&uid).is_some(),
        }
    }
}

/// All watches of a session.
#[derive(Default)]
pub(super) struct Watches {
    watched: Vec<Watched>,
    /// Whether the user knows that some watch does not tell of changes.
    is_lost: bool,
}

impl Watches {
    /// Adds a watch, with what is known until it has told its first state. Returns its index.
    pub(super) fn add(&mut self, known: BTreeMap<String, Place>) -> usize {
        self.watched.push(Watched {
            known,
            ..Watched::default()
        });
        self.watched.len() - 1
    }

    /// Applies an event of a watch. Returns whether any place has changed, and whether all watches
    /// work again.
    pub(super) fn take(&mut self, watch: usize, event: Event<Seen>) -> (bool, Option<Heard>) {
        let is_whole = !matches!(event, Event::Init | Event::InitApply(_));
        let watched = &mut self.watched[watch];
        let changed = watched.take(event);
        if is_whole {
            watched.loss = None;
        }
        (changed, self.back())
    }

    /// Notes that the server has begun to answer a request of a watch. Returns whether all watches
    /// work again.
    pub(super) fn answered(&mut self, watch: usize) -> Option<Heard> {
        let watched = &mut self.watched[watch];
        // kube begins a list before it asks the server, and the list may still fail.
        if watched.listing.is_none() {
            watched.loss.take_if(|loss| *loss == Loss::Changes);
        }
        self.back()
    }

    /// That all watches work again, if the user does not know it.
    fn back(&mut self) -> Option<Heard> {
        let works = self.watched.iter().all(|watched| watched.loss.is_none());
        (works && mem::take(&mut self.is_lost)).then_some(Heard::Back)
    }

    /// Notes that a watch has failed. Returns that, if the user does not know it.
    pub(super) fn lose(&mut self, watch: usize, why: String) -> Option<Heard> {
        let watched = &mut self.watched[watch];
        watched.loss = Some(match watched.listing {
            Some(_) => Loss::List,
            None => Loss::Changes,
        });
        let was_lost = mem::replace(&mut self.is_lost, true);
        (!was_lost).then_some(Heard::Lost(why))
    }

    /// Notes that the server refuses a watch, so that what the watch has told stays as it is.
    /// Returns whether the watch had told nothing. Then the first read was refused as well.
    pub(super) fn refuse(&mut self, watch: usize) -> bool {
        let watched = &mut self.watched[watch];
        watched.loss = None;
        let is_unlisted = !mem::replace(&mut watched.is_listed, true);
        if is_unlisted {
            // Nobody would tell when a pod goes. A node and its addresses seldom change.
            watched
                .known
                .retain(|_, place| matches!(place, Place::Node { .. }));
        }
        is_unlisted
    }

    /// Whether each watch has told its first state.
    #[cfg(test)]
    pub(super) fn are_complete(&self) -> bool {
        self.watched.iter().all(|watched| watched.is_listed)
    }

    /// All known places. Of an object that several watches tell of, there are several.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        let all = self.watched.iter();
        all.flat_map(|watched| watched.known.values())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

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

    fn node(name: &str, resource: &str) -> Seen {
        let node: PartialObjectMeta<Node> = from_value(json!({
            "metadata": {"name": name, "uid": name, "resourceVersion": resource},
        }))
        .expect("a node's metadata");
        Seen::node(&node)
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

    fn two() -> Watches {
        let mut watches = Watches::default();
        assert_eq!([(); 2].map(|()| watches.add(BTreeMap::new())), [0, 1]);
        watches
    }

    fn lost(why: &str) -> Option<Heard> {
        Some(Heard::Lost(why.to_owned()))
    }

    /// A list that fails again and again begins again and again, while another watch works.
    #[test]
    fn a_watch_whose_list_failed_is_back_with_the_next_list() {
        let mut watches = two();
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.lose(0, "first".to_owned()), lost("first"));
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.take(1, Event::InitDone).1, None);
        assert_eq!(watches.lose(0, "again".to_owned()), None);
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.answered(0), None);
        let page = Event::InitApply(pod("a", "10.244.1.5", true));
        assert_eq!(watches.take(0, page).1, None);
        assert_eq!(watches.take(0, Event::InitDone).1, Some(Heard::Back));
        assert_eq!(watches.take(1, Event::InitDone).1, None);
        assert_eq!(watches.lose(0, "later".to_owned()), lost("later"));
    }

    #[test]
    fn a_watch_whose_changes_failed_is_back_once_the_server_answers_it() {
        let mut watches = two();
        let change = || Event::Apply(pod("a", "10.244.1.5", true));
        assert_eq!(watches.lose(0, "first".to_owned()), lost("first"));
        // The other watch works, which says nothing of this one.
        assert_eq!(watches.take(1, change()).1, None);
        assert_eq!(watches.answered(1), None);
        assert_eq!(watches.lose(1, "second".to_owned()), None);
        assert_eq!(watches.answered(0), None);
        assert_eq!(watches.take(1, change()).1, Some(Heard::Back));
        assert_eq!(watches.answered(1), None);
    }

    /// The watch has expired, and its list may still fail.
    #[test]
    fn a_page_of_a_list_is_no_answer_to_a_watch() {
        let mut watches = two();
        assert_eq!(watches.lose(0, "first".to_owned()), lost("first"));
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.answered(0), None);
        assert_eq!(watches.take(0, Event::InitDone).1, Some(Heard::Back));
    }

    #[test]
    fn a_refused_watch_keeps_nobody_waiting() {
        let mut watches = two();
        assert_eq!(watches.take(0, Event::Init).1, None);
        assert_eq!(watches.lose(0, "first".to_owned()), lost("first"));
        watches.refuse(0);
        assert_eq!(watches.take(1, Event::InitDone).1, Some(Heard::Back));
    }

    /// Until then, a pod that is not known may be one that no watch has told of yet.
    #[test]
    fn watches_are_complete_once_each_has_told_its_state_or_is_refused() {
        let mut watches = two();
        watches.take(0, Event::Init);
        watches.take(0, Event::InitApply(pod("a", "10.244.1.5", true)));
        assert!(watches.take(0, Event::InitDone).0);
        assert!(!watches.are_complete());
        watches.take(1, Event::Init);
        assert!(watches.take(1, Event::InitDone).0, "nothing is known now");
        assert!(watches.are_complete());

        // A watch that is added later, and that the server refuses at once.
        let later = watches.add(BTreeMap::new());
        assert!(!watches.are_complete());
        assert!(watches.refuse(later));
        assert!(watches.are_complete());
        // The server refuses a watch only after it has listed. The list stays.
        assert!(!watches.refuse(0));
        assert_eq!(watches.places().count(), 1);
    }

    /// One watch that has not told its state does not hold back the others.
    #[test]
    fn what_is_known_counts_until_a_watch_has_told_its_state_or_is_refused() {
        let mut watches = Watches::default();
        let known = |seen: Seen| BTreeMap::from([("known".to_owned(), seen.place)]);
        let known = [
            known(pod("", "10.244.1.5", true)),
            known(pod("", "10.244.1.6", true)),
            known(node("node-a", "")),
        ];
        for known in known {
            watches.add(known);
        }
        assert_eq!(watches.places().count(), 3);
        watches.take(0, Event::Init);
        assert!(watches.take(0, Event::InitDone).0, "the pod is gone");
        assert_eq!(watches.places().count(), 2);
        assert!(watches.refuse(1) && watches.refuse(2));
        let left: Vec<_> = watches.places().collect();
        assert!(matches!(left[..], [Place::Node { .. }]), "{left:?}");
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
    fn a_node_is_told_when_it_comes_and_when_it_goes() {
        let mut watched = Watched::default();
        assert!(watched.take(Event::Apply(node("node-a", "1"))));
        assert!(!watched.take(Event::Apply(node("node-a", "2"))));
        assert!(watched.take(Event::Delete(node("node-a", "3"))));
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
