//! The table `journeys`: a row for each journey, with its verdict.

use std::io;

use tracer_core::{
    journey::{Journey, Scene},
    model::{Cause, Icmp, Packet, Tcp, Transport},
    verdict::{Parts, Verdict},
};

use super::column::{Column, Flag, Integer, Kind, Takes, Text, Texts, Time, table};
use crate::view::{evidence_json, outcome};

/// A journey with its verdict.
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
    journey: Integer = of.journey.id, "Number of the journey, from 1, as in `tracer replay`.";
    time: Time = of.start, "Time of the first hop or drop.";
    way_ns: Integer = of.journey.way(), "Time from the first hop to the last, ns; 0 with fewer than two hops. Negative if the clocks of two nodes differ by more than this time.";
    proto: Text = of.packet.proto(), "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or `proto-` and the IANA number.";
    src: Text = of.packet.src, "Source address of the packet as it was first seen. ARP: the sender's protocol address.";
    dst: Text = of.packet.dst, "Destination address of the packet as it was first seen. ARP: the target's protocol address.";
    src_port: Option<Integer> = of.packet.ports().map(|ports| ports.0), "Source port of TCP, UDP and SCTP.";
    dst_port: Option<Integer> = of.packet.ports().map(|ports| ports.1), "Destination port of TCP, UDP and SCTP.";
    src_pod: Option<Text> = of.scene.pod(of.packet.src, of.start), "Pod that has the source address, as `namespace/name`.";
    dst_pod: Option<Text> = of.scene.pod(of.packet.dst, of.start), "Pod that has the destination address, as `namespace/name`.";
    src_service: Option<Text> = of.scene.service(of.packet.src, of.start), "Service that has the source address, as `namespace/name`.";
    dst_service: Option<Text> = of.scene.service(of.packet.dst, of.start), "Service that has the destination address, as `namespace/name`.";
    direction: Text = of.journey.direction.name(), "`request`: from the source of the follow. `reply`: towards the source.";
    conversation: Text = format_args!("{:016x}", of.journey.conversation), "16 hexadecimal digits, the same for all packets of a flow in both directions.";
    verdict: Text = of.verdict.kind.name(), "`delivered`, `dropped`, `refused`, `lost`, `unanswered`, `left`, `partial` or `unknown`.";
    confidence: Text = of.verdict.confidence.name(), "`low`, `high` or `confirmed`.";
    cause: Option<Text> = of.verdict.cause.map(Cause::name), "[Cause](json.md#causes) of the verdict; null if it is not known.";
    text: Text = of.text(), "The verdict in one sentence.";
    evidence: Texts = &of.evidence, "Observations that the verdict rests on: JSON objects, as in [`verdict.evidence`](json.md#evidence).";
    drop: Option<Integer> = of.verdict.drop.map(|index| index + 1), "Number of the drop that decided the verdict, as in `drops`; null if no drop decided it.";
    hops: Integer = of.journey.steps.len(), "Number of hops in the journey.";
    drops: Integer = of.journey.drops.len(), "Number of drops in the journey.";
    sent: Integer = of.parts.sent, "Size of the journey: payload bytes of TCP data, else packets. The next four columns are parts of it.";
    delivered: Integer = of.parts.delivered, "Part that arrived.";
    dropped: Integer = of.parts.dropped, "Part that a kernel dropped, or a receiver refused.";
    lost: Integer = of.parts.lost, "Part that vanished between two points.";
    unknown: Integer = of.parts.unknown, "The rest: what became of this part is not known.";
    answers: Option<Integer> = of.journey.answers, "Number of the journey that this one answers.";
    answered_by: Option<Integer> = of.journey.answered_by, "Number of the first journey that answers this one.";
    refused_by: Option<Integer> = of.journey.refusal.map(|refusal| refusal.by), "Number of the journey of the reset or ICMP error that refuses this packet.";
    retransmits: Option<Integer> = of.journey.retransmits, "Number of the journey that carried the same TCP bytes before, or the same DNS question from the same port.";
    ambiguous: Flag = of.journey.ambiguous, "Whether an identical packet was on its way, so that the hops of the two may be mixed up.";
    len: Integer = of.packet.len, "Length of the IP packet with its header, bytes; 28 for ARP.";
    ip_id: Option<Integer> = of.packet.ip_id, "IPv4 identification, or the identification in the fragment header of IPv6.";
    fragment_offset: Option<Integer> = of.packet.fragment.map(|(offset, _)| offset), "Offset of a fragment, bytes; null for a whole packet.";
    more_fragments: Option<Flag> = of.packet.fragment.map(|(_, more)| more), "Whether more fragments follow; null for a whole packet.";
    tcp_flags: Option<Text> = of.tcp.map(|tcp| tcp.flags), "Names of the TCP flags that are set, joined by a vertical bar; `none` if no flag is set.";
    tcp_seq: Option<Integer> = of.tcp.map(|tcp| tcp.seq), "Sequence number of TCP.";
    tcp_ack: Option<Integer> = of.tcp.map(|tcp| tcp.ack), "Acknowledgement number of TCP.";
    tcp_payload_len: Option<Integer> = of.tcp.map(|tcp| tcp.payload_len), "Payload of TCP, bytes, all segments together.";
    icmp_type: Option<Integer> = of.icmp.map(|icmp| icmp.kind), "Type of the ICMP or ICMPv6 message.";
    icmp_code: Option<Integer> = of.icmp.map(|icmp| icmp.code), "Code of the ICMP or ICMPv6 message.";
    icmp_id: Option<Integer> = of.icmp.and_then(|icmp| icmp.echo).map(|echo| echo.0), "Identifier of an echo request or reply.";
    icmp_seq: Option<Integer> = of.icmp.and_then(|icmp| icmp.echo).map(|echo| echo.1), "Sequence number of an echo request or reply.";
}
