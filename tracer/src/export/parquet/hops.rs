//! A row for each hop of a journey.

use std::borrow::Cow;

use tracer_core::{
    journey::{Journey, Scene, Step},
    model::{Packet, Point, Proto},
};

use super::column::{Column, Integer, Kind, Takes, Text, Texts, Time, table};
use crate::view::translation;

/// A hop of a journey.
pub(super) struct Hop<'a> {
    scene: &'a Scene,
    journey: &'a Journey,
    step: &'a Step,
    previous: Option<&'a Step>,
    at: &'a Point,
    /// The packet, with the ends that it has here.
    packet: Cow<'a, Packet>,
    /// From 1.
    number: usize,
    /// The point's.
    point: i64,
}

impl<'a> Hop<'a> {
    /// That of a number, from 0.
    pub(super) fn new(scene: &'a Scene, journey: &'a Journey, number: usize, point: i64) -> Self {
        let step = &journey.steps[number];
        Self {
            scene,
            journey,
            step,
            previous: number.checked_sub(1).map(|before| &journey.steps[before]),
            at: scene.point(step),
            packet: journey.packet_at(step),
            number: number + 1,
            point,
        }
    }

    fn translations(&self) -> impl Iterator<Item = String> {
        let changes = translation::of(self.scene, self.journey, self.previous, self.step);
        changes.into_iter().map(|change| match change.name {
            Some(name) => format!("{} {} → {} ({name})", change.kind, change.from, change.to),
            None => format!("{} {} → {}", change.kind, change.from, change.to),
        })
    }
}

table! {
    "Hops, by time.", hop: Hop<'_>;
    journey: Integer = hop.journey.id, "The journey.";
    hop: Integer = hop.number, "Which of its hops, from 1.";
    time: Time = hop.step.time, "When the packet was seen; of several segments the first.";
    since_previous_ns: Option<Integer> = hop.previous.map(|previous| hop.step.time.saturating_sub(previous.time)), "Since the hop before, ns; null of the first. Between clocks that differ it may be negative.";
    point: Integer = hop.point, "The observation point's number in `points`.";
    node: Text = &hop.scene.nodes[hop.step.node].node, "The node.";
    netns: Text = &hop.at.netns, "`host`, or the pod whose network namespace it is.";
    interface: Text = &hop.at.interface, "The interface.";
    direction: Text = hop.at.direction, "`ingress` or `egress`, as the namespace sees it.";
    role: Text = hop.at.role.name(), "The interface's place on the way: `pod`, `veth`, `bridge`, `overlay` or `uplink`.";
    proto: Text = hop.packet.proto(), "The packet's protocol, as in `journeys`.";
    src: Text = hop.packet.src, "Its source address here: behind a translation, the new one.";
    dst: Text = hop.packet.dst, "Its destination address here.";
    src_port: Option<Integer> = hop.packet.ports().map(|ports| ports.0), "Its source port here.";
    dst_port: Option<Integer> = hop.packet.ports().map(|ports| ports.1), "Its destination port here.";
    translations: Texts = hop.translations(), "What was rewritten since the hop before: `DNAT 10.96.0.10:80 → 10.244.2.7:8080 (shop/cart)`.";
    len: Integer = hop.step.len, "Bytes from the frame's first header on, all segments together.";
    segments: Integer = hop.step.segments, "Segments that were seen, or that it will be cut into.";
    seen: Integer = hop.step.seen, "How much of the journey was seen here: payload bytes of TCP data, else 1.";
    ttl: Option<Integer> = (hop.packet.proto() != Proto::Arp).then_some(hop.step.ttl), "TTL or hop limit; null of ARP.";
    src_mac: Option<Text> = hop.step.src_mac, "Ethernet source; null where frames have no Ethernet header.";
    dst_mac: Option<Text> = hop.step.dst_mac, "Ethernet destination.";
    vlan: Option<Integer> = hop.step.vlan, "VLAN tag beside the frame: its control information.";
    encap: Option<Text> = hop.step.encap.map(|encap| encap.kind), "Kind of the innermost tunnel around the packet: `vxlan`, `ipip`, `geneve` or `gre`; null outside of tunnels.";
    vni: Option<Integer> = hop.step.encap.and_then(|encap| encap.vni), "Its network identifier, or GRE's key.";
    outer_src: Option<Text> = hop.step.encap.map(|encap| encap.outer_src), "Its source address.";
    outer_dst: Option<Text> = hop.step.encap.map(|encap| encap.outer_dst), "Its destination address.";
    encap_levels: Option<Integer> = hop.step.encap.map(|encap| encap.levels), "Tunnels around the packet.";
}
