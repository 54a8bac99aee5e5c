//! Makes a plan from settings: whose packets to follow, and each agent's part.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use tracer_common::hash::{HASHED_BYTES, Key, payload_hash};
use tracer_core::{
    journey::Limits,
    model::{OwnerKind, Owners},
    request::{Filter, OUTSIDE, Remote, Request, Start, Watch},
};

use crate::{
    cli::{self, AgentSpec, End, EndKind, Settings, selection},
    collector::{Plan, Targets},
    link::Place,
};

/// The addresses whose packets are followed.
pub(super) fn targets(settings: &Settings) -> Targets {
    let is_more = !settings.besides.is_empty() || !settings.masqueraded.is_empty();
    let asked = settings.destinations.iter();
    let asked = asked.filter(|end| is_more && (end.is_real() || end.kind == EndKind::Asked));
    Targets {
        pairs: settings.pairs.clone(),
        masqueraded: settings.masqueraded.clone(),
        asked: asked.map(|end| end.network).collect(),
    }
}

/// The key of the payload hash.
pub(super) fn key(settings: &Settings) -> Key {
    match &settings.key {
        Some(secret) => secret_key(secret),
        None => Key([crate::random(), crate::random()]),
    }
}

/// The whole plan, with every agent's part.
pub(super) fn plan(settings: &Settings, utc: bool, key: Key) -> Plan {
    let Targets {
        pairs,
        masqueraded,
        asked,
    } = targets(settings);
    let filter = Filter {
        generation: 1,
        pairs,
        next_hops: Vec::new(),
        neighbours: settings.proto.is_none() && !settings.dns,
    };
    let selection = selection(settings.query.as_ref(), utc, settings.count);
    Plan {
        description: describe(settings),
        sources: settings.sources.iter().map(|end| end.network).collect(),
        source_nodes: settings
            .sources
            .iter()
            .filter(|end| {
                end.address()
                    .is_some_and(|address| is_node(settings, address))
            })
            .filter_map(|end| end.node.clone())
            .collect(),
        asked,
        masqueraded,
        node_addresses: settings.node_addresses.clone(),
        limits: Limits {
            hold: i64::try_from(settings.hold.as_nanos()).unwrap_or(i64::MAX),
            open: open_at_once(settings.snaplen),
            ..Limits::default()
        },
        duration: settings.duration,
        // With a selection, the limit counts the journeys that are shown, while everything is
        // recorded.
        count: settings.count.filter(|_| selection.is_none()),
        selection,
        agents: settings
            .agents
            .iter()
            .filter(|agent| concerns(settings, agent))
            .map(|agent| start(settings, agent, key, &filter))
            .collect(),
        filter,
        owners: settings.owners.clone(),
        warnings: settings.warnings.clone(),
        write: settings.write.clone(),
    }
}

/// The key that everybody who knows the secret gets.
fn secret_key(secret: &str) -> Key {
    let mut bytes = [0; HASHED_BYTES];
    let mut key = Key([0, 0]);
    // The hash takes at most this many bytes at a time.
    for chunk in secret.as_bytes().chunks(HASHED_BYTES) {
        bytes[..chunk.len()].copy_from_slice(chunk);
        let Key([a, b]) = key;
        key = Key([
            payload_hash(Key([a, b]), &bytes, chunk.len()),
            payload_hash(Key([b, !a]), &bytes, chunk.len()),
        ]);
        bytes = [0; HASHED_BYTES];
    }
    key
}

/// An address that an end stands for.
struct Member<'a> {
    address: IpAddr,
    name: Option<&'a str>,
    /// The address's node, if it is known.
    node: Option<&'a str>,
    /// Whether the follow asks for this very address.
    named: bool,
}

/// The addresses by which agents look up the way of an end's packets. For a single address, this is
/// the address. For a network, these are the addresses of its pods, or any address of the network
/// if no pod is known.
fn members<'a>(settings: &'a Settings, end: &'a End) -> Vec<Member<'a>> {
    let one = |address, named| Member {
        address,
        name: end.name.as_deref(),
        node: end.node.as_deref(),
        named,
    };
    if let Some(address) = end.address() {
        // A slice may still have an endpoint that is gone, so only a named address has to exist.
        return vec![one(address, end.kind == EndKind::Named)];
    }
    let pods: Vec<Member<'_>> = settings
        .owners
        .all_at(Owners::LATEST)
        .filter(|(address, owner)| owner.kind == OwnerKind::Pod && end.network.contains(address))
        .map(|(address, owner)| Member {
            address,
            name: Some(&owner.name),
            node: Some(&owner.node),
            named: false,
        })
        .collect();
    if pods.is_empty() {
        let any = end.network.hosts().nth(1);
        vec![one(any.unwrap_or_else(|| end.network.addr()), false)]
    } else {
        pods
    }
}

/// Whether a node may see any of the packets.
pub(super) fn concerns(settings: &Settings, agent: &AgentSpec) -> bool {
    let mut ends = settings.sources.iter().chain(&settings.destinations);
    ends.any(|end| {
        if !end.is_real() {
            return end.node.as_ref() == Some(&agent.node);
        }
        let mut members = members(settings, end).into_iter();
        members.any(|member| member.node.is_none_or(|node| node == agent.node))
    })
}

fn is_node(settings: &Settings, address: IpAddr) -> bool {
    let owner = settings.owners.at(address, Owners::LATEST);
    owner.is_some_and(|owner| owner.kind == OwnerKind::Node)
}

/// The address of some pod on a node.
fn pod_on(settings: &Settings, node: &str, v4: bool) -> Option<IpAddr> {
    let mut owners = settings.owners.all_at(Owners::LATEST);
    let pod = owners.find(|(address, owner)| {
        owner.kind == OwnerKind::Pod && owner.node == node && address.is_ipv4() == v4
    });
    pod.map(|(address, _)| address)
}

pub(super) fn start(
    settings: &Settings,
    agent: &AgentSpec,
    key: Key,
    filter: &Filter,
) -> (Place, Start) {
    let mut request = Request {
        pod_interfaces: settings.pod_interfaces,
        xdp: settings.xdp.clone(),
        ..Request::default()
    };
    let mut pods = Vec::new();
    let ends = settings.sources.iter().chain(&settings.destinations);
    let ends = ends.filter(|end| end.is_real());
    for member in ends.flat_map(|end| members(settings, end)) {
        let address = member.address;
        match member.node {
            Some(node) if node == agent.node => {
                // A pod of a network may have gone since the objects were listed. A pod that the
                // follow names has to exist.
                if member.named {
                    request.pods.push(address);
                } else {
                    request.unplaced.push(address);
                }
                if let Some(name) = member.name {
                    pods.push((address, name.to_owned()));
                }
            }
            Some(node) => {
                let remote = |address| Remote {
                    address,
                    node_addresses: settings
                        .node_addresses
                        .get(node)
                        .cloned()
                        .unwrap_or_default(),
                };
                request.remotes.push(remote(address));
                // A node's own packets to pods take the way of its pods' packets.
                if is_node(settings, address) {
                    let pod = pod_on(settings, node, address.is_ipv4());
                    request.remotes.extend(pod.map(remote));
                }
            }
            None => request.unplaced.push(address),
        }
    }
    add_besides(settings, agent, &mut request);
    if settings.dns {
        add_outside(settings, &mut request);
    }
    let others = settings.owners.all_at(Owners::LATEST);
    let others = others.filter(|(address, owner)| {
        owner.kind == OwnerKind::Pod
            && owner.node == agent.node
            && !pods.iter().any(|(known, _)| known == address)
    });
    let start = Start {
        bystanders: others
            .map(|(address, owner)| (address, owner.name.clone()))
            .collect(),
        node: agent.node.clone(),
        watch: Watch::Follow,
        filter: filter.clone(),
        request,
        pods,
        vxlan_ports: settings.vxlan_ports.clone(),
        key,
        ring_size: settings.ring_size,
        budget: settings.budget,
        explain: settings.explain,
        snaplen: settings.snaplen,
        dns_names: settings.dns_names,
        goes_along: settings.live.as_ref().is_some_and(cli::Live::goes_along),
    };
    (agent.place.clone(), start)
}

/// The limit of open journeys. With captured frames it is lower, because each journey holds its
/// frames.
fn open_at_once(snaplen: u32) -> usize {
    /// Memory for the frames of open journeys, in bytes.
    const ROOM: usize = 256 << 20;
    /// The number of observation points that a packet usually passes.
    const HOPS: usize = 8;
    let usual = Limits::default().open;
    let each = snaplen as usize * HOPS;
    ROOM.checked_div(each).map_or(usual, |most| most.min(usual))
}

/// Lets an agent see where packets to other endpoints leave. Endpoints on its node have their own
/// interfaces. For the others, one endpoint of each node stands for the way to that node.
fn add_besides(settings: &Settings, agent: &AgentSpec, request: &mut Request) {
    let mut ways = BTreeSet::new();
    for end in &settings.besides {
        let (address, node) = (end.network.addr(), end.node.as_ref());
        if node == Some(&agent.node) {
            request.unplaced.push(address);
        } else if ways.insert((node, address.is_ipv4())) {
            let known = node.and_then(|node| settings.node_addresses.get(node));
            request.remotes.push(Remote {
                address,
                node_addresses: known.cloned().unwrap_or_default(),
            });
        }
    }
}

/// Lets an agent see where packets leave the cluster.
fn add_outside(settings: &Settings, request: &mut Request) {
    let is_used = |address: &IpAddr| {
        let mut ends = settings.sources.iter();
        ends.any(|end| matches!(end.network, IpNet::V4(_)) == address.is_ipv4())
    };
    let outside = OUTSIDE.into_iter().filter(is_used);
    request.remotes.extend(outside.map(|address| Remote {
        address,
        node_addresses: Vec::new(),
    }));
}

fn describe(settings: &Settings) -> String {
    let names = |ends: &[End], service: &Option<String>| {
        if let Some(service) = service {
            return service.clone();
        }
        let named = ends.iter().filter(|end| end.is_real());
        let mut names: Vec<String> = named.map(ToString::to_string).collect();
        names.dedup();
        names.join(", ")
    };
    let [source, destination] = &settings.services;
    let port = |port: Option<u16>| port.map_or_else(String::new, |port| format!(" port {port}"));
    let proto = match settings.proto {
        None if settings.dns => "udp and tcp port 53".to_owned(),
        None => "any protocol".to_owned(),
        Some(number) => tracer_core::model::Proto::Ip(number).to_string(),
    };
    let captured = match settings.snaplen {
        0 => String::new(),
        bytes => format!(", with payload: the first {bytes} bytes of each frame"),
    };
    format!(
        "{}{} → {}{} ({proto}){captured}",
        names(&settings.sources, source),
        port(settings.src_port),
        names(&settings.destinations, destination),
        port(settings.dst_port)
    )
}
