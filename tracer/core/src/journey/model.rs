//! The results of the engine: journeys, on a scene.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    Drop,
    destination::destination,
    nodes::{self, Nodes},
};
use crate::model::{Encap, Ends, Hello, Hop, Mac, Names, Owner, OwnerKind, Owners, Packet, Point};

/// What journeys refer to: the agents' points, and the owners of addresses.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// One entry per agent. [`Step::node`] is an index into these.
    pub nodes: Nodes,
    /// The owners of addresses, with times.
    pub owners: Owners,
    /// Time from which all points are observed: Unix time, ns.
    pub since: i64,
    /// Addresses on the asking side of the follow. These tell requests from replies.
    pub sources: Vec<IpNet>,
    /// Addresses where packets of the follow end, if agents watch more than was asked for. If
    /// empty, agents watch only what was asked for.
    pub asked: Vec<IpNet>,
    /// Names that DNS answers gave. Verdicts do not depend on them.
    pub names: Names,
}

impl Scene {
    /// Approximate memory of a clone, in bytes.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        /// Bytes of a point with its names.
        const POINT: usize = 512;
        /// Bytes of an address and its owner.
        const OWNED: usize = 256;
        /// Bytes of an address and its names.
        const NAMED: usize = 128;

        let points: usize = self.nodes.iter().map(|hello| hello.points.len()).sum();
        points * POINT + self.owners.iter().count() * OWNED + self.names.len() * NAMED
    }

    /// The name that a DNS answer gave to an address before `time`: Unix time, ns. `None` for an
    /// address of the cluster.
    #[must_use]
    pub fn dns_name(&self, address: IpAddr, time: i64) -> Option<&str> {
        let name = self.names.at(address, time)?;
        let is_local = |hello: &Hello| hello.local.contains(&address);
        let is_inside = self.owner(address, time).is_some() || self.nodes.iter().any(is_local);
        (!is_inside).then_some(name)
    }

    /// The observation point of a step.
    #[must_use]
    pub fn point(&self, step: &Step) -> &Point {
        &self.nodes[step.node].points[step.point]
    }

    /// Time from which an agent's point is observed: Unix time, ns.
    #[must_use]
    pub fn since(&self, node: usize, point: &Point) -> i64 {
        match point.since {
            0 => self.since,
            since => self.since.max(self.unix(node, since)),
        }
    }

    /// Time until which an agent's point is observed, as far as the agent noticed: Unix time, ns.
    /// `i64::MAX` if that point still exists.
    #[must_use]
    pub fn until(&self, node: usize, point: &Point) -> i64 {
        point.until.map_or(i64::MAX, |until| self.unix(node, until))
    }

    /// Whether an agent's point is observed at `time` (Unix time, ns), as far as is known. A point
    /// from the beginning counts as observed at any time before its end.
    #[must_use]
    pub fn observes(&self, node: usize, point: &Point, time: i64) -> bool {
        let began = point.since == 0 || self.since(node, point) <= time;
        began && time < self.until(node, point)
    }

    /// The tc point of an agent, observed at `time`, where the same interface's packets go in the
    /// other direction.
    pub(crate) fn opposite(&self, node: usize, point: usize, time: i64) -> Option<usize> {
        let points = &self.nodes[node].points;
        let mut opposites = self.nodes.opposites(node, point).iter();
        let is_there = |index: &&usize| self.observes(node, &points[**index], time);
        opposites.find(is_there).copied()
    }

    /// The point where other tools' programs were found: this point, or the next number of its
    /// place. Agents look for such programs from time to time, so the programs may have run under
    /// this number already.
    pub(crate) fn with_others(&self, node: usize, point: usize) -> Option<usize> {
        let points = &self.nodes[node].points;
        let numbers = self.nodes.at_place(node, point).iter();
        let mut numbers = numbers
            .copied()
            .skip_while(|number| *number != point)
            .take(2);
        numbers.find(|number| !points[*number].foreign.is_empty())
    }

    /// Whether an agent watches drops in a pod's own network namespace at `time`: Unix time, ns.
    #[must_use]
    pub fn watches(&self, node: usize, pod: &str, time: i64) -> bool {
        let hello = &self.nodes[node];
        let mut later = hello.drops_later.iter();
        let pods = match later.rfind(|(since, _)| self.unix(node, *since) <= time) {
            Some((_, pods)) => Some(pods),
            None => hello.drops.as_ref(),
        };
        pods.is_some_and(|pods| pods.iter().any(|watched| **watched == *pod))
    }

    /// Whether all points that exist now were observed at `time`: Unix time, ns.
    #[must_use]
    pub fn is_complete(&self, time: i64) -> bool {
        time >= self.since && self.nodes.latest().is_none_or(|since| since <= time)
    }

    pub(crate) fn unix(&self, node: usize, time: u64) -> i64 {
        nodes::unix(&self.nodes[node], time)
    }

    /// The pod or node that has `address` at `time`, Unix time, ns. `None` for a Service's address,
    /// because no interface has it. `None` too for an endpoint that is not a pod, because nobody
    /// knows whether an interface has its address.
    #[must_use]
    pub fn owner(&self, address: IpAddr, time: i64) -> Option<&Owner> {
        let owner = self.owners.at(address, time);
        owner.filter(|owner| matches!(owner.kind, OwnerKind::Pod | OwnerKind::Node))
    }

    /// The pod that has `address` at `time`, Unix time, ns, as `namespace/name`.
    #[must_use]
    pub fn pod(&self, address: IpAddr, time: i64) -> Option<&str> {
        self.owner(address, time)
            .filter(|owner| owner.kind == OwnerKind::Pod)
            .map(|owner| owner.name.as_str())
    }

    /// The Service that has `address` at `time`, Unix time, ns, as `namespace/name`.
    #[must_use]
    pub fn service(&self, address: IpAddr, time: i64) -> Option<&str> {
        self.owners
            .at(address, time)
            .filter(|owner| owner.kind.is_service())
            .map(|owner| owner.name.as_str())
    }

    /// The Service that has an endpoint with `address` at `time`, Unix time, ns, as
    /// `namespace/name`, if that endpoint is not a pod.
    #[must_use]
    pub fn served_at(&self, address: IpAddr, time: i64) -> Option<&str> {
        let owner = self.owners.at(address, time);
        let endpoint = owner.filter(|owner| owner.kind == OwnerKind::Endpoint);
        endpoint.map(|owner| owner.name.as_str())
    }

    /// Whether two agents are known to share a kernel, and so its clock.
    #[must_use]
    pub fn one_clock(&self, one: usize, other: usize) -> bool {
        let (a, b) = (&self.nodes[one].boot_id, &self.nodes[other].boot_id);
        one == other || (!a.is_empty() && a == b)
    }

    /// Whether all agents are known to share a kernel.
    #[must_use]
    pub fn is_one_clock(&self) -> bool {
        (1..self.nodes.len()).all(|node| self.one_clock(0, node))
    }

    /// Whether an agent watches its node at `time`, Unix time, ns. An agent whose points are all
    /// gone has left.
    pub(crate) fn is_there(&self, node: usize, time: i64) -> bool {
        let points = &self.nodes[node].points;
        let mut lasting = points.iter().filter(|point| time < self.until(node, point));
        points.is_empty() || lasting.next().is_some()
    }

    /// Whether an agent watches the node with this name at `time`, Unix time, ns.
    pub(crate) fn is_watched(&self, name: &str, time: i64) -> bool {
        let mut agents = self.nodes.iter().enumerate();
        agents.any(|(node, hello)| hello.node == name && self.is_there(node, time))
    }

    /// The agent of the node with this name.
    #[must_use]
    pub fn agent(&self, node: &str) -> Option<&Hello> {
        self.nodes.iter().find(|hello| hello.node == node)
    }
}

/// One transmission of one packet, with the hops that saw it. For TCP data, the packet is one byte
/// range, as first observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey {
    /// Number, from 1, in order of the first observation.
    pub id: u64,
    /// The packet as it was first observed.
    pub packet: Packet,
    /// The hops, in causal order. Empty if the packet was dropped before the first observation
    /// point.
    pub steps: Vec<Step>,
    /// Where kernels freed the packet or copies of it, in order of time.
    pub drops: Vec<Drop>,
    /// A number that is the same for both directions of a flow.
    pub conversation: u64,
    /// Whether the packet comes from a source of the follow, or goes back to it.
    pub direction: Course,
    /// The journey that this one answers, or refuses.
    pub answers: Option<u64>,
    /// Whether the packet asks a question that every receiver answers: echo request, SYN, DNS
    /// query.
    pub asks: bool,
    /// The first journey that answers the packet's question.
    pub answered_by: Option<u64>,
    /// Whether another packet has the same question, such as a retransmitted SYN, and the answer
    /// may be to that packet.
    pub asked_again: bool,
    /// Another owner of the address that was asked, if the answer shows one.
    pub impostor: Option<Impostor>,
    /// The point where a proxy answers or acknowledges the packet in the receiver's place.
    pub stand_in: Option<StandIn>,
    /// The reset or ICMP error that refuses the packet.
    pub refusal: Option<Refusal>,
    /// The parts of the packet that the receiver acknowledged, if no other transmission can have
    /// brought them. Offsets are as in [`Step::parts`]. Without TCP data, only a SYN-ACK and a FIN
    /// can be acknowledged.
    pub acked: SmallVec<[(u32, u32); 1]>,
    /// The journey that carried the same TCP bytes before, or asked the same DNS question before.
    pub retransmits: Option<u64>,
    /// How long the asker waited, if the packet is an answer: ns. The time runs from the first
    /// sighting of the question to the last sighting of the answer, both on one node.
    pub took: Option<u64>,
    /// Whether the engine could not tell another packet from this one. Then hops on other nodes
    /// were paired in order.
    pub ambiguous: bool,
    /// Whether the last step is of the whole datagram that the packet is a fragment of. That step's
    /// node reassembled the datagram.
    pub reassembled: bool,
    /// The ends that the flow's packets pass through, if a translation of this or another packet of
    /// the flow is known.
    pub translated: Option<Box<Translated>>,
    /// Why the engine closed the journey.
    pub closed: Closed,
}

/// The ends before and after all translations of a flow, in the direction of a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The ends that the sender gives the packet.
    pub first: Ends,
    /// The ends that the receiver sees.
    pub last: Ends,
    /// Index of the agent whose node's conntrack table has this translation, and the time when the
    /// agent last read it: Unix time, ns. `None` if only packets showed the translation.
    pub told: Option<(usize, i64)>,
    /// Whether the packet goes in the other direction than the first packet of its connection, if
    /// that is known.
    pub is_reply: Option<bool>,
}

/// The direction of a journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// From the follow's source.
    Request,
    /// Towards the follow's source.
    Reply,
}

impl Course {
    /// The direction in one word, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// An answer that did not come from where the question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impostor {
    /// The answer's journey.
    pub by: u64,
    /// Where the answer was seen first: index into [`Scene::nodes`], and into that agent's points.
    pub at: (usize, usize),
    /// The answer's source MAC address, and the MAC address that the question went to.
    pub macs: Option<(Mac, Mac)>,
}

/// The first point of packets that have a pod's address as source and did not come from that pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Index into [`Scene::nodes`].
    pub node: usize,
    /// Index into that agent's points.
    pub point: usize,
}

/// A reset or ICMP error, which tells a sender that its packet was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The journey of the reset or error.
    pub by: u64,
    /// The source address of the reset or error.
    pub from: IpAddr,
    /// Type and code of the ICMP error. `None` for a reset.
    pub icmp: Option<(u8, u8)>,
    /// Whether the refused packet may be another one: the error quotes too little to tell them
    /// apart.
    pub alike: bool,
}

/// Why a journey was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The fate of the whole packet is known: it arrived, was dropped, or was refused.
    Known,
    /// No event of the packet, nor of an answer, came for the hold time.
    Silence,
    /// The follow ended while the journey was open.
    End,
    /// The engine gave the journey up. Memory was short, or too many packets share its bytes to
    /// compare all of them.
    Evicted,
}

/// A packet, or its pieces, at one observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index into [`Scene::nodes`].
    pub node: usize,
    /// Index into that agent's points.
    pub point: usize,
    /// Time when the first piece was seen: Unix time, ns.
    pub time: i64,
    /// Bytes of all pieces together, from the frame's first header on.
    pub len: u32,
    /// Number of segments: those that the pieces were in, and those that GSO will cut them into.
    pub segments: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Source MAC address of the frame, if it has an Ethernet header.
    pub src_mac: Option<Mac>,
    /// Destination MAC address of the frame, if it has an Ethernet header.
    pub dst_mac: Option<Mac>,
    /// The VLAN identifier, if the tag is not in the frame but beside it (`vlan_tci`).
    pub vlan: Option<u16>,
    /// The tunnel around the packet at this point.
    pub encap: Option<Encap>,
    /// The packet's ends at this point, if these differ from those of [`Journey::packet`] after a
    /// translation.
    pub ends: Option<Box<Ends>>,
    /// How much of the packet was seen here: payload bytes of TCP data, else 1.
    pub seen: u32,
    /// The parts of the packet that were seen here: start and end offsets of payload bytes. Without
    /// TCP data, 0 and 1.
    pub parts: SmallVec<[(u32, u32); 1]>,
    /// The captured frames of this point, if any.
    pub captured: Option<Box<Captured>>,
}

/// The frames that were captured of a packet's pieces at an observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Frames, in the order in which they came.
    pub frames: Vec<CapturedFrame>,
}

/// The first bytes of a frame. The frame may contain more than the journey's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedFrame {
    /// Time when the frame was seen: Unix time, ns.
    pub time: i64,
    /// Bytes on the wire, all segments together.
    pub len: u32,
    /// Number of segments that GSO will cut the frame into; 1 for a single packet.
    pub segments: u32,
    /// The captured bytes, as on the wire.
    pub bytes: Arc<[u8]>,
}

impl CapturedFrame {
    /// The captured frame of a hop, if there is one.
    pub(crate) fn of(hop: &Hop, time: i64) -> Option<Self> {
        let bytes = hop.frame.as_ref()?;
        Some(Self {
            time,
            len: hop.wire_len(),
            segments: hop.segments,
            bytes: Arc::clone(bytes),
        })
    }
}

impl Step {
    /// The captured frames of this step.
    #[must_use]
    pub fn frames(&self) -> &[CapturedFrame] {
        self.captured
            .as_ref()
            .map_or(&[], |captured| &captured.frames)
    }
}

impl Journey {
    /// Time of the first event of the packet: Unix time, ns.
    #[must_use]
    pub fn start(&self) -> i64 {
        let hops = self.steps.iter().map(|step| step.time);
        let drops = self.drops.iter().map(|drop| drop.time);
        hops.chain(drops).min().unwrap_or(i64::MIN)
    }

    /// Time of the last event of the packet: Unix time, ns.
    #[must_use]
    pub fn last(&self) -> i64 {
        let hops = self.steps.iter().map(|step| step.time);
        let drops = self.drops.iter().map(|drop| drop.time);
        hops.chain(drops).max().unwrap_or(i64::MAX)
    }

    /// Time from the first step to the last, ns. Negative if the clocks of two nodes disagree by
    /// more than that.
    #[must_use]
    pub fn way(&self) -> i64 {
        match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => last.time.saturating_sub(first.time),
            _ => 0,
        }
    }

    /// The packet's ends at one of its steps. `None` for packets that are never translated.
    #[must_use]
    pub fn ends_at(&self, step: &Step) -> Option<Ends> {
        step.ends.as_deref().copied().or_else(|| self.packet.ends())
    }

    /// The packet, with its ends at one of its steps.
    #[must_use]
    pub fn packet_at(&self, step: &Step) -> Cow<'_, Packet> {
        match &step.ends {
            Some(ends) => Cow::Owned(self.packet.with_ends(ends)),
            None => Cow::Borrowed(&self.packet),
        }
    }

    /// The address whose owner is to get the packet, after all known translations of its flow.
    /// `None` for a multicast packet.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        match &self.translated {
            Some(translated) => Some(translated.last.dst),
            None => destination(&self.packet),
        }
    }

    /// Whether the packet was sent to this address, before or after its translations.
    #[must_use]
    pub fn is_sent_to(&self, address: IpAddr) -> bool {
        self.packet.dst == address || self.destination() == Some(address)
    }

    /// Size of the packet: payload bytes of TCP data, else 1.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.packet.stream_data().map_or(1, |tcp| tcp.payload_len)
    }
}
