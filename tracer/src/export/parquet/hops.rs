//! The table `hops`: a row for each hop of a journey.

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
    /// The packet, with the ends that it has at this hop.
    packet: Cow<'a, Packet>,
    /// Number of the hop within its journey, from 1.
    number: usize,
    /// Number of the observation point, as in `points`.
    point: i64,
}

impl<'a> Hop<'a> {
    /// The journey's hop with this number, from 0.
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
    journey: Integer = hop.journey.id, "Number of the journey.";
    hop: Integer = hop.number, "Number of the hop within its journey, from 1.";
    time: Time = hop.step.time, "Time when the packet was seen; if several segments were seen, the time of the first.";
    since_previous_ns: Option<Integer> = hop.previous.map(|previous| hop.step.time.saturating_sub(previous.time)), "Time since the hop before, ns; null for the first hop. Negative if the clocks of two nodes differ by more than this time.";
    point: Integer = hop.point, "Number of the observation point, as in `points`.";
    node: Text = &hop.scene.nodes[hop.step.node].node, "Name of the node.";
    netns: Text = &hop.at.netns, "`host`, or the pod that has the point's network namespace.";
    interface: Text = &hop.at.interface, "Name of the interface.";
    direction: Text = hop.at.direction, "`ingress` or `egress`, as the network namespace sees it.";
    role: Text = hop.at.role.name(), "Place of the interface on the path: `pod`, `veth`, `bridge`, `overlay` or `uplink`.";
    proto: Text = hop.packet.proto(), "Protocol of the packet, as in `journeys`.";
    src: Text = hop.packet.src, "Source address of the packet at this point: after a translation, the new one.";
    dst: Text = hop.packet.dst, "Destination address of the packet at this point: after a translation, the new one.";
    src_port: Option<Integer> = hop.packet.ports().map(|ports| ports.0), "Source port of the packet at this point.";
    dst_port: Option<Integer> = hop.packet.ports().map(|ports| ports.1), "Destination port of the packet at this point.";
    translations: Texts = hop.translations(), "Translations (NAT) since the hop before: `DNAT 10.96.0.10:80 → 10.244.2.7:8080 (shop/cart)`.";
    len: Integer = hop.step.len, "Bytes from the frame's first header on, all segments together.";
    segments: Integer = hop.step.segments, "Number of segments that were seen, or that the packet will be cut into.";
    seen: Integer = hop.step.seen, "Part of the journey that was seen here: payload bytes of TCP data, else 1.";
    ttl: Option<Integer> = (hop.packet.proto() != Proto::Arp).then_some(hop.step.ttl), "TTL or hop limit; null for ARP.";
    src_mac: Option<Text> = hop.step.src_mac, "Source MAC address; null if the frame has no Ethernet header.";
    dst_mac: Option<Text> = hop.step.dst_mac, "Destination MAC address; null if the frame has no Ethernet header.";
    vlan: Option<Integer> = hop.step.vlan, "Control information (TCI) of the VLAN tag that the kernel keeps beside the frame; null without such a tag.";
    encap: Option<Text> = hop.step.encap.map(|encap| encap.kind), "Kind of the innermost tunnel around the packet: `vxlan`, `ipip`, `geneve` or `gre`. Null outside of tunnels, as are the next four columns.";
    vni: Option<Integer> = hop.step.encap.and_then(|encap| encap.vni), "Network identifier (VNI) of VXLAN or Geneve, or GRE's key; null if the tunnel has none.";
    outer_src: Option<Text> = hop.step.encap.map(|encap| encap.outer_src), "Source address of the tunnel.";
    outer_dst: Option<Text> = hop.step.encap.map(|encap| encap.outer_dst), "Destination address of the tunnel.";
    encap_levels: Option<Integer> = hop.step.encap.map(|encap| encap.levels), "Number of tunnels around the packet.";
}
