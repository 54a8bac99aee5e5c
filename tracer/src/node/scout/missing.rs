//! Followed pods that are gone.
//!
//! The agent observes a pod again that restarts with its address. A pod that the owner starts
//! instead, on another node or with another address, is another pod. Only a collector that reads
//! the cluster's objects from the API learns of that one. When a pod has been gone for a while, the
//! agent says so, and whether tracer will follow another one.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use tracer_core::{
    model::{Point, Role},
    request::Start,
};

/// How long a pod is gone before the agent says so. A container runtime needs less time to restart
/// a pod that keeps its address.
const PATIENCE: Duration = Duration::from_secs(5);

/// The followed pods of a node, and whether each is there.
pub(super) struct Missing(Vec<Pod>);

struct Pod {
    name: String,
    addresses: Vec<IpAddr>,
    /// Index and name of the pod's veth peer on the host, once it was found.
    device: Option<(u32, String)>,
    /// Since when that interface is gone.
    since: Option<Instant>,
    told: bool,
}

impl Missing {
    /// `followed` has the addresses and names of pods, and `points` says where they were found.
    pub(super) fn new(followed: &[(IpAddr, String)], points: &[Point]) -> Self {
        let mut pods: Vec<Pod> = Vec::new();
        for (address, name) in followed {
            if let Some(pod) = pods.iter_mut().find(|pod| pod.name == *name) {
                pod.addresses.push(*address);
            } else {
                pods.push(Pod {
                    name: name.clone(),
                    addresses: vec![*address],
                    device: None,
                    since: None,
                    told: false,
                });
            }
        }
        let mut missing = Self(pods);
        let veths = points.iter().filter(|point| point.role == Role::Veth);
        for point in veths {
            missing.found(&point.addresses, point.ifindex, &point.interface);
        }
        missing
    }

    /// Notes the interface that leads to a pod with one of these addresses.
    pub(super) fn found(&mut self, addresses: &[IpAddr], ifindex: u32, interface: &str) {
        for pod in &mut self.0 {
            if pod.addresses.iter().any(|own| addresses.contains(own)) {
                pod.device = Some((ifindex, interface.to_owned()));
                (pod.since, pod.told) = (None, false);
            }
        }
    }

    /// Notes which interfaces are gone at `now`. `exists` says of an index and a name whether there
    /// is such an interface.
    pub(super) fn look(&mut self, now: Instant, exists: impl Fn(u32, &str) -> bool) {
        for pod in &mut self.0 {
            if let Some((index, name)) = &pod.device
                && !exists(*index, name)
            {
                pod.since.get_or_insert(now);
            }
        }
    }

    /// How long until there is a pod to tell of.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let waiting = self.0.iter().filter(|pod| !pod.told);
        let since = waiting.filter_map(|pod| pod.since).min()?;
        Some((since + PATIENCE).saturating_duration_since(now))
    }

    /// The sentences to tell at `now`, one for each pod that is due, and each only once. `start` is
    /// what the agent has begun with.
    pub(super) fn tell(&mut self, now: Instant, start: &Start) -> Vec<String> {
        let is_due = |pod: &&mut Pod| {
            let since = pod.since.filter(|_| !pod.told);
            since.is_some_and(|since| now >= since + PATIENCE)
        };
        let due = self.0.iter_mut().filter(is_due);
        due.map(|pod| {
            pod.told = true;
            pod.sentence(&start.node, start.goes_along)
        })
        .collect()
    }
}

impl Pod {
    /// `goes_along` says whether the collector follows pods that take the place of others.
    fn sentence(&self, node: &str, goes_along: bool) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
        let addresses = addresses.join(", ");
        let pod = if addresses == self.name {
            addresses
        } else {
            format!("{} ({addresses})", self.name)
        };
        if goes_along {
            return format!(
                "pod {pod} is gone from {node}: a pod that takes its place is followed once it is \
                 there"
            );
        }
        format!(
            "pod {pod} is gone from {node}: a pod that its owner starts instead has another \
             address and is not followed; start again with new cluster objects to follow that one"
        )
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::hash::Key;
    use tracer_core::request::{Filter, Request, Watch};

    use super::*;

    fn begun(goes_along: bool) -> Start {
        Start {
            node: "node-b".to_owned(),
            request: Request::default(),
            watch: Watch::Follow,
            filter: Filter::default(),
            pods: Vec::new(),
            bystanders: Vec::new(),
            vxlan_ports: Vec::new(),
            key: Key([0, 0]),
            ring_size: 0,
            budget: 0,
            explain: false,
            snaplen: 0,
            dns_names: false,
            goes_along,
        }
    }

    #[test]
    fn only_a_collector_that_goes_along_needs_no_restart() {
        for (goes_along, rest) in [(true, "once it is there"), (false, "to follow that one")] {
            let address = IpAddr::from([10, 244, 2, 7]);
            let mut missing = Missing::new(&[(address, "shop/cart".to_owned())], &[]);
            missing.found(&[address], 7, "veth7");
            let gone = Instant::now();
            missing.look(gone, |_, _| false);
            let told = missing.tell(gone + PATIENCE, &begun(goes_along));
            assert!(told[0].ends_with(rest), "{told:?}");
            assert_eq!(told[0].contains("start again"), !goes_along, "{told:?}");
        }
    }

    #[test]
    fn a_pod_that_stays_away_is_told_once() {
        let [v4, v6, other]: [IpAddr; 3] = ["10.244.2.7", "fd00::7", "10.244.2.8"]
            .map(|address| address.parse().expect("an address"));
        let named = |address, name: &str| (address, name.to_owned());
        let followed = [
            named(v4, "shop/cart"),
            named(v6, "shop/cart"),
            named(other, "10.244.2.8"),
        ];
        let mut missing = Missing::new(&followed, &[]);
        let begin = Instant::now();
        let gone = |_: u32, _: &str| false;
        missing.look(begin, gone);
        assert_eq!(missing.due(begin), None, "neither was ever found");

        missing.found(&[v4], 7, "veth7");
        missing.look(begin, |index, name| (index, name) == (7, "veth7"));
        assert_eq!(missing.due(begin), None);
        missing.look(begin, gone);
        let second = Duration::from_secs(1);
        missing.look(begin + second, gone);
        assert_eq!(missing.due(begin + second), Some(PATIENCE - second));
        assert_eq!(missing.tell(begin + second, &begun(false)), [""; 0]);
        // The pod comes back with its address.
        missing.found(&[v6], 9, "veth9");
        assert_eq!(missing.due(begin + PATIENCE), None);

        let later = begin + 2 * PATIENCE;
        missing.look(later, gone);
        let told = missing.tell(later + PATIENCE, &begun(false));
        assert_eq!(told.len(), 1);
        assert!(
            told[0].starts_with("pod shop/cart (10.244.2.7, fd00::7) is gone from node-b: "),
            "{told:?}"
        );
        assert_eq!(missing.due(later + PATIENCE), None);
        assert_eq!(missing.tell(later + 2 * PATIENCE, &begun(false)), [""; 0]);
        missing.found(&[other], 8, "veth8");
        missing.look(later, gone);
        let told = missing.tell(later + PATIENCE, &begun(false));
        assert!(
            told[0].starts_with("pod 10.244.2.8 is gone from node-b: "),
            "{told:?}"
        );
    }
}
