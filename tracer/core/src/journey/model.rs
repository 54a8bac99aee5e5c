//! What the engine makes of hops: journeys, on a scene.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use smallvec::SmallVec;

use super::{
    Drop,
    arrival::destination,
    nodes::{self, Nodes},
};
use crate::model::{Encap, Ends, Hello, Hop, Mac, Owner, OwnerKind, Owners, Packet, Point};

/// The stage: the agents' points, and who owns which address.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// One per agent; [`Step::node`] is an index into these.
    pub nodes: Nodes,
    /// Who owns which address, and when.
    pub owners: Owners,
    /// From when on all points are observed, Unix time, ns.
    pub since: i64,
    /// Addresses on the asking side of the follow, to tell requests from
    /// replies.
    pub sources: Vec<IpNet>,
    /// Where packets of the follow end, if more is watched than was asked for; empty: all
    /// that is watched was.
    pub asked: Vec<IpNet>,
}

impl Scene {
    /// About how many bytes a clone takes.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        /// A point with its names.
        const POINT: usize = 512;
        /// An address, and who has it.
        const OWNED: usize = 256;

        let points: usize = self.nodes.iter().map(|hello| hello.points.len()).sum();
        points * POINT + self.owners.iter().count() * OWNED
    }

    /// The observation point of a step.
    #[must_use]
    pub fn point(&self, step: &Step) -> &Point {
        &self.nodes[step.node].points[step.point]
    }

    /// From when on an agent's point is observed, Unix time, ns.
    #[must_use]
    pub fn since(&self, node: usize, point: &Point) -> i64 {
        match point.since {
            0 => self.since,
            since => self.since.max(self.unix(node, since)),
        }
    }

    /// Until when it is, as far as was noticed, likewise.
    #[must_use]
    pub fn until(&self, node: usize, point: &Point) -> i64 {
        point.until.map_or(i64::MAX, |until| self.unix(node, until))
    }

    /// Whether it is there at `time`, as far as is known: one that has been
    /// there since the beginning counts from then on.
    #[must_use]
    pub fn observes(&self, node: usize, point: &Point, time: i64) -> bool {
        let began = point.since == 0 || self.since(node, point) <= time;
        began && time < self.until(node, point)
    }

    /// The point of an agent where, at `time`, the packets of an interface go the other way.
    pub(crate) fn opposite(&self, node: usize, point: usize, time: i64) -> Option<usize> {
        let points = &self.nodes[node].points;
        let mut opposites = self.nodes.opposites(node, point).iter();
        let is_there = |index: &&usize| self.observes(node, &points[**index], time);
        opposites.find(is_there).copied()
    }

    /// The point where programs of others were found: this one, or the next number of its place.
    /// Agents look for them from time to time, so they may have run under this number already.
    pub(crate) fn with_others(&self, node: usize, point: usize) -> Option<usize> {
        let points = &self.nodes[node].points;
        let numbers = self.nodes.at_place(node, point).iter();
        let mut numbers = numbers
            .copied()
            .skip_while(|number| *number != point)
            .take(2);
        numbers.find(|number| !points[*number].foreign.is_empty())
    }

    /// Whether drops in a pod's own namespace are seen by an agent at `time`.
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

    /// Whether every point was observed from `time` on that there is now.
    #[must_use]
    pub fn is_complete(&self, time: i64) -> bool {
        time >= self.since && self.nodes.latest().is_none_or(|since| since <= time)
    }

    pub(crate) fn unix(&self, node: usize, time: u64) -> i64 {
        nodes::unix(&self.nodes[node], time)
    }

    /// The pod or node that has `address` at `time`, Unix time, ns. A Service has
    /// none in this sense: its address is no interface's. An endpoint that is no pod is not an
    /// owner either, because nobody knows whether an interface has that address.
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
    /// `namespace/name`, if that endpoint is no pod.
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

    /// Whether all agents are known to.
    #[must_use]
    pub fn is_one_clock(&self) -> bool {
        (1..self.nodes.len()).all(|node| self.one_clock(0, node))
    }

    /// Whether an agent watches the node with this name at `time`, Unix time, ns. An agent whose
    /// points are all gone has left.
    pub(crate) fn is_watched(&self, node: &str, time: i64) -> bool {
        let agents = self.nodes.iter().enumerate();
        let mut there = agents.filter(|(_, hello)| hello.node == node);
        there.any(|(node, hello)| {
            let mut points = hello.points.iter();
            hello.points.is_empty() || points.any(|point| time < self.until(node, point))
        })
    }

    /// The agent of the node with this name.
    #[must_use]
    pub fn agent(&self, node: &str) -> Option<&Hello> {
        self.nodes.iter().find(|hello| hello.node == node)
    }
}

/// One transmission of one packet (of TCP data: of one byte range, as first
/// observed), with the hops it was seen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journey {
    /// Number, from 1, in order of the first observation.
    pub id: u64,
    /// The packet as it was first observed.
    pub packet: Packet,
    /// The hops, in causal order; empty for a packet that was dropped before
    /// the first observation point.
    pub steps: Vec<Step>,
    /// Where kernels freed it or copies of it, in order of time.
    pub drops: Vec<Drop>,
    /// The same for both directions of a flow.
    pub conversation: u64,
    /// From a source of the follow, or back.
    pub direction: Course,
    /// The journey that this one answers, or refuses.
    pub answers: Option<u64>,
    /// Whether it asks what every receiver answers: echo request, SYN, DNS
    /// query.
    pub asks: bool,
    /// The first journey that answers what it asks.
    pub answered_by: Option<u64>,
    /// Whether another packet asks the same, as a retransmitted SYN does, and the
    /// answer may be to that one.
    pub asked_again: bool,
    /// Who else has the address that was asked, if the answer shows that.
    pub impostor: Option<Impostor>,
    /// Where a proxy answers or acknowledges the packet in the receiver's place.
    pub stand_in: Option<StandIn>,
    /// What refuses it.
    pub refusal: Option<Refusal>,
    /// Which of it its receiver acknowledged, where no other transmission can
    /// have brought that: offsets as in [`Step::parts`]. Of what is no TCP data, a
    /// SYN|ACK and a FIN are acknowledged.
    pub acked: SmallVec<[(u32, u32); 1]>,
    /// The journey that carried the same TCP bytes before, or asked DNS the same.
    pub retransmits: Option<u64>,
    /// How long its asker waited for it, if it answers: from where the question was seen
    /// first to where this was seen last, on one node, ns.
    pub took: Option<u64>,
    /// Whether another packet could not be told from this one, so that hops
    /// on another node were paired in order.
    pub ambiguous: bool,
    /// Whether its last step is of the whole datagram that it is a fragment of: that node
    /// reassembled the datagram.
    pub reassembled: bool,
    /// Through which ends the packets of its flow pass, if a translation of them was
    /// seen, of this packet or of another one.
    pub translated: Option<Box<Translated>>,
    /// Why the engine takes it for finished.
    pub closed: Closed,
}

/// Ends in front of all translations of a flow, and those behind, in the direction of a
/// journey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translated {
    /// Those that its sender gives it.
    pub first: Ends,
    /// Those that its receiver sees.
    pub last: Ends,
    /// The agent whose node's table of connections says so, and when it was read last, Unix
    /// time, ns; `None`: only packets showed it.
    pub told: Option<(usize, i64)>,
    /// Whether the packet goes the other way than the first one of its connection, where that
    /// is known.
    pub is_reply: Option<bool>,
}

/// Which way a journey goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// From the follow's source.
    Request,
    /// Towards it.
    Reply,
}

impl Course {
    /// In one word, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// Where an answer came from, if that is not where the question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impostor {
    /// The answer's journey.
    pub by: u64,
    /// Where it was seen first: index into [`Scene::nodes`], and into that agent's
    /// points.
    pub at: (usize, usize),
    /// Its MAC address, and the one that the question went to.
    pub macs: Option<(Mac, Mac)>,
}

/// The first point of packets that have the source address of a pod on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Index into [`Scene::nodes`].
    pub node: usize,
    /// Index into that agent's points.
    pub point: usize,
}

/// What tells a sender that its packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The journey of it.
    pub by: u64,
    /// Who sent it.
    pub from: IpAddr,
    /// An ICMP error's type and code; `None`: a reset.
    pub icmp: Option<(u8, u8)>,
    /// Whether it may have been another packet: the error quotes too little to
    /// tell them apart.
    pub alike: bool,
}

/// Why a journey is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// What became of all of it is known: it arrived, was dropped, or
    /// refused.
    Known,
    /// Nothing was heard of it, or of an answer, for the hold time.
    Silence,
    /// The follow ended while it was open.
    End,
    /// It was given up: memory was short, or so many packets share its bytes that not
    /// all of them were compared.
    Evicted,
}

/// A packet, or the pieces it was in, at one observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Index into [`Scene::nodes`].
    pub node: usize,
    /// Index into that agent's points.
    pub point: usize,
    /// When the first piece was seen, Unix time, ns.
    pub time: i64,
    /// Bytes, from the frame's first header on, all pieces together.
    pub len: u32,
    /// Segments: those that the pieces were in and those they will be cut
    /// into.
    pub segments: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    /// MAC addresses of the frame, if it has an Ethernet header.
    pub src_mac: Option<Mac>,
    /// See `src_mac`.
    pub dst_mac: Option<Mac>,
    /// The VLAN beside the frame.
    pub vlan: Option<u16>,
    /// The tunnel around the packet at this point.
    pub encap: Option<Encap>,
    /// The packet's ends at this point, where they are not those of [`Journey::packet`]: a
    /// translation came before.
    pub ends: Option<Box<Ends>>,
    /// How much of the journey was seen here: payload bytes of TCP data,
    /// else 1.
    pub seen: u32,
    /// Which of it: offsets of payload bytes, from and to; 0 and 1 of what is
    /// no TCP data.
    pub parts: SmallVec<[(u32, u32); 1]>,
    /// What was captured here, if anything.
    pub captured: Option<Box<Captured>>,
}

/// What was captured of the pieces of a packet at an observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// In the order in which they came.
    pub frames: Vec<CapturedFrame>,
}

/// The first bytes of a frame. It may hold more than the journey's part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedFrame {
    /// When it was seen, Unix time, ns.
    pub time: i64,
    /// Bytes on the wire, all segments together.
    pub len: u32,
    /// Segments that it will be cut into, 1 if it is whole.
    pub segments: u32,
    /// As on the wire.
    pub bytes: Arc<[u8]>,
}

impl CapturedFrame {
    /// That of a hop, if it was captured.
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
    /// What was captured here.
    #[must_use]
    pub fn frames(&self) -> &[CapturedFrame] {
        self.captured
            .as_ref()
            .map_or(&[], |captured| &captured.frames)
    }
}

impl Journey {
    /// When it was first heard of, Unix time, ns.
    #[must_use]
    pub fn start(&self) -> i64 {
        let hops = self.steps.iter().map(|step| step.time);
        let drops = self.drops.iter().map(|drop| drop.time);
        hops.chain(drops).min().unwrap_or(i64::MIN)
    }

    /// When it was last heard of, Unix time, ns.
    #[must_use]
    pub fn last(&self) -> i64 {
        let hops = self.steps.iter().map(|step| step.time);
        let drops = self.drops.iter().map(|drop| drop.time);
        hops.chain(drops).max().unwrap_or(i64::MAX)
    }

    /// How long the way was that was seen of it, ns; negative where clocks of
    /// two nodes disagree by more.
    #[must_use]
    pub fn way(&self) -> i64 {
        match (self.steps.first(), self.steps.last()) {
            (Some(first), Some(last)) => last.time.saturating_sub(first.time),
            _ => 0,
        }
    }

    /// Its ends at one of its steps; `None` of what nothing translates.
    #[must_use]
    pub fn ends_at(&self, step: &Step) -> Option<Ends> {
        step.ends.as_deref().copied().or_else(|| self.packet.ends())
    }

    /// The packet with the ends that it has at one of its steps.
    #[must_use]
    pub fn packet_at(&self, step: &Step) -> Cow<'_, Packet> {
        match &step.ends {
            Some(ends) => Cow::Owned(self.packet.with_ends(ends)),
            None => Cow::Borrowed(&self.packet),
        }
    }

    /// The address whose owner is to have it in the end, behind all translations that are
    /// known of its flow; `None` for a packet to a group.
    #[must_use]
    pub fn destination(&self) -> Option<IpAddr> {
        match &self.translated {
            Some(translated) => Some(translated.last.dst),
            None => destination(&self.packet),
        }
    }

    /// Whether an address is the one that it was sent to, in front of its translations or
    /// behind them.
    #[must_use]
    pub fn is_sent_to(&self, address: IpAddr) -> bool {
        self.packet.dst == address || self.destination() == Some(address)
    }

    /// How much is on its way: payload bytes of TCP data, else 1.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.packet.stream_data().map_or(1, |tcp| tcp.payload_len)
    }
}
