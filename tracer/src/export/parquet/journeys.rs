//! A row for each journey, with its verdict.

use std::io;

use tracer_core::{
    journey::{Journey, Scene},
    model::{Cause, Icmp, Packet, Tcp, Transport},
    verdict::{Parts, Verdict},
};

use super::column::{Column, Flag, Integer, Kind, Takes, Text, Texts, Time, table};
use crate::view::{evidence_json, outcome};

/// A journey, and what became of it.
pub(super) struct Judged<'a> {
    scene: &'a Scene,
    journey: &'a Journey,
    verdict: &'a Verdict,
    parts: &'a Parts,
    packet: &'a Packet,
    tcp: Option<&'a Tcp>,
    icmp: Option<&'a Icmp>,
    start: i64,
    evidence: Vec<String>,
}

impl<'a> Judged<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        journey: &'a Journey,
        verdict: &'a Verdict,
        parts: &'a Parts,
    ) -> io::Result<Self> {
        let packet = &journey.packet;
        let (tcp, icmp) = match &packet.transport {
            Transport::Tcp(tcp) => (Some(tcp), None),
            Transport::Icmp(icmp) => (None, Some(icmp)),
            _ => (None, None),
        };
        Ok(Self {
            scene,
            journey,
            verdict,
            parts,
            packet,
            tcp,
            icmp,
            start: journey.start(),
            evidence: evidence_json(scene, journey, verdict)?,
        })
    }

    fn text(&self) -> String {
        outcome::text(self.scene, self.journey, self.verdict, self.parts)
    }
}

table! {
    "Journeys, by time.", of: Judged<'_>;
    journey: Integer = of.journey.id, "Its number, from 1, as in `tracer replay`.";
    time: Time = of.start, "When it was first heard of.";
    way_ns: Integer = of.journey.way(), "From its first hop to its last, ns; 0 with less than two. Between clocks that differ it may be negative.";
    proto: Text = of.packet.proto(), "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or `proto-` and the IANA number.";
    src: Text = of.packet.src, "Source address, as the packet was first seen; of ARP the sender's.";
    dst: Text = of.packet.dst, "Destination address; of ARP the target's.";
    src_port: Option<Integer> = of.packet.ports().map(|ports| ports.0), "Source port of TCP, UDP and SCTP.";
    dst_port: Option<Integer> = of.packet.ports().map(|ports| ports.1), "Destination port.";
    src_pod: Option<Text> = of.scene.pod(of.packet.src, of.start), "The pod that has the source address, as `namespace/name`.";
    dst_pod: Option<Text> = of.scene.pod(of.packet.dst, of.start), "The same of the destination address.";
    src_service: Option<Text> = of.scene.service(of.packet.src, of.start), "The Service that has the source address.";
    dst_service: Option<Text> = of.scene.service(of.packet.dst, of.start), "The Service that has the destination address.";
    direction: Text = of.journey.direction.name(), "`request`: from the follow's source. `reply`: towards it.";
    conversation: Text = format_args!("{:016x}", of.journey.conversation), "The same for all packets of a flow, in both directions.";
    verdict: Text = of.verdict.kind.name(), "`delivered`, `dropped`, `refused`, `lost`, `unanswered`, `left`, `partial` or `unknown`.";
    confidence: Text = of.verdict.confidence.name(), "`low`, `high` or `confirmed`.";
    cause: Option<Text> = of.verdict.cause.map(Cause::name), "The [cause](json.md#causes), where one is known.";
    text: Text = of.text(), "The verdict in a sentence.";
    evidence: Texts = &of.evidence, "What it rests on: JSON objects, as in [`verdict.evidence`](json.md#evidence).";
    drop: Option<Integer> = of.verdict.drop.map(|index| index + 1), "Which of its rows in `drops` decided.";
    hops: Integer = of.journey.steps.len(), "How many hops it has.";
    drops: Integer = of.journey.drops.len(), "How many drops.";
    sent: Integer = of.parts.sent, "What was on its way: payload bytes of TCP data, else packets. The next four are parts of it.";
    delivered: Integer = of.parts.delivered, "What arrived.";
    dropped: Integer = of.parts.dropped, "What a kernel dropped, or a receiver refused.";
    lost: Integer = of.parts.lost, "What vanished between two points.";
    unknown: Integer = of.parts.unknown, "What nothing can be said of.";
    answers: Option<Integer> = of.journey.answers, "The journey that it answers.";
    answered_by: Option<Integer> = of.journey.answered_by, "The first journey that answers it.";
    refused_by: Option<Integer> = of.journey.refusal.map(|refusal| refusal.by), "The journey of the reset or the ICMP error that refuses it.";
    retransmits: Option<Integer> = of.journey.retransmits, "The journey that carried the same TCP bytes before.";
    ambiguous: Flag = of.journey.ambiguous, "Whether another packet could not be told from this one.";
    len: Integer = of.packet.len, "Bytes of the IP packet, header included; 28 of ARP.";
    ip_id: Option<Integer> = of.packet.ip_id, "IPv4 identification, or that of an IPv6 fragment.";
    fragment_offset: Option<Integer> = of.packet.fragment.map(|(offset, _)| offset), "Offset of a fragment, bytes; null of a whole packet.";
    more_fragments: Option<Flag> = of.packet.fragment.map(|(_, more)| more), "Whether more fragments follow.";
    tcp_flags: Option<Text> = of.tcp.map(|tcp| tcp.flags), "`SYN|ACK`; `none` for none.";
    tcp_seq: Option<Integer> = of.tcp.map(|tcp| tcp.seq), "Sequence number.";
    tcp_ack: Option<Integer> = of.tcp.map(|tcp| tcp.ack), "Acknowledgement number.";
    tcp_payload_len: Option<Integer> = of.tcp.map(|tcp| tcp.payload_len), "Payload bytes, all segments together.";
    icmp_type: Option<Integer> = of.icmp.map(|icmp| icmp.kind), "Type of ICMP or ICMPv6.";
    icmp_code: Option<Integer> = of.icmp.map(|icmp| icmp.code), "Its code.";
    icmp_id: Option<Integer> = of.icmp.and_then(|icmp| icmp.echo).map(|echo| echo.0), "Identifier of an echo.";
    icmp_seq: Option<Integer> = of.icmp.and_then(|icmp| icmp.echo).map(|echo| echo.1), "Its sequence number.";
}
