//! Warms a lab up. The first packet between two pods waits for ARP or neighbour discovery, and a
//! wiring mistake shows only when packets flow. Every pod therefore sends to every other one, in
//! both families, until all have heard all.
//!
//! A large lab does less, because the kernel keeps the neighbours of all namespaces in one table,
//! of 1,024 entries by default. There each pod sends to two others, on other nodes if there are
//! any. This shows that the pod is wired, and makes the pod and its node know each other.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Lab, Pod, Wiring};
use crate::process;
use crate::traffic::Flow;

/// The time limit for all pods.
const LIMIT: Duration = Duration::from_secs(60);
/// How long to wait for a datagram before the missing ones are sent again.
const PATIENCE: Duration = Duration::from_millis(50);
/// The largest lab in which all pods send to all others, in pods.
const ACQUAINTED: usize = 16;

/// A pod's socket, and the pods that it has not heard yet.
struct Listener {
    socket: UdpSocket,
    address: SocketAddr,
    missing: HashSet<SocketAddr>,
}

pub(super) fn reach_each_other(pods: &[Pod], wiring: Wiring) -> Result<()> {
    // The first pod of each node, the second of each node, and so on. In this order, the next pod
    // is on another node.
    let mut pods_of_node: HashMap<usize, usize> = HashMap::new();
    let mut ring: Vec<&Pod> = pods.iter().collect();
    ring.sort_by_cached_key(|pod| {
        let slot = pods_of_node.entry(pod.node).or_default();
        *slot += 1;
        (*slot, pod.node)
    });
    let deadline = process::deadline(LIMIT);
    reach(&ring, |pod| pod.v4.into(), deadline)?;
    if wiring.carries_v6() {
        reach(&ring, |pod| pod.v6.into(), deadline)?;
    }
    Ok(())
}

/// Pairs of pods on different nodes, each pair once.
fn pairs_between_nodes(lab: &Lab) -> impl Iterator<Item = (&Pod, &Pod)> {
    let pairs = lab
        .pods
        .iter()
        .flat_map(|from| lab.pods.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from.node < to.node)
}

/// Warms up a lab whose nodes are machines: their pods ping each other until all are answered.
pub(super) fn reach_other_machines(lab: &Lab) -> Result<()> {
    for (from, to) in pairs_between_nodes(lab) {
        let flow = Flow::new(from, to);
        process::until("the machines' pods reach each other", || {
            Ok(flow.ping(1, Duration::ZERO)?.is_complete())
        })?;
    }
    Ok(())
}

fn reach(ring: &[&Pod], address: impl Fn(&Pod) -> IpAddr, deadline: Instant) -> Result<()> {
    let mut listeners = ring
        .iter()
        .map(|pod| listen(pod, address(pod)))
        .collect::<Result<Vec<_>>>()?;
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address).collect();
    for (own, listener) in listeners.iter_mut().enumerate() {
        listener.missing = acquaintances(own, addresses.len())
            .map(|other| addresses[other])
            .collect();
    }
    let mut refusal = None;
    while listeners.iter().any(|to| !to.missing.is_empty()) {
        if Instant::now() > deadline {
            let refusal = refusal
                .map(|error| format!(" ({error})"))
                .unwrap_or_default();
            bail!(
                "after {LIMIT:?} nothing arrived {}{refusal}",
                in_words(&listeners)
            );
        }
        for from in &listeners {
            for to in listeners
                .iter()
                .filter(|to| to.missing.contains(&from.address))
            {
                // Without a route yet, sending itself fails.
                refusal = from.socket.send_to(&[], to.address).err().or(refusal);
            }
        }
        for Listener {
            socket, missing, ..
        } in &mut listeners
        {
            while !missing.is_empty()
                && let Ok((_, sender)) = socket.recv_from(&mut [0; 1])
            {
                missing.remove(&sender);
            }
        }
    }
    Ok(())
}

fn listen(pod: &Pod, address: IpAddr) -> Result<Listener> {
    let socket = pod
        .netns
        .enter(|| UdpSocket::bind((address, 0)))
        .with_context(|| format!("cannot bind {address} in {}", pod.netns.name))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let address = socket.local_addr()?;
    Ok(Listener {
        socket,
        address,
        missing: HashSet::new(),
    })
}

/// The pods that the pod at the place `own` in a ring of `count` must hear.
fn acquaintances(own: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).filter(move |&other| {
        let distance = own.abs_diff(other);
        distance > 0 && (count <= ACQUAINTED || distance == 1 || distance == count - 1)
    })
}

/// Names some pairs that have not heard each other, and the number of further pairs.
fn in_words(listeners: &[Listener]) -> String {
    let mut pairs: Vec<_> = listeners
        .iter()
        .flat_map(|to| {
            to.missing
                .iter()
                .map(move |from| (from.ip(), to.address.ip()))
        })
        .map(|(from, to)| format!("from {from} to {to}"))
        .collect();
    pairs.sort();
    let more = pairs.len().saturating_sub(3);
    pairs.truncate(3);
    let rest = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    pairs.join(", ") + &rest
}
