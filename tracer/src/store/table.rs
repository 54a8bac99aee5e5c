//! The columns of a trace. docs/trace.md documents them for readers.
//!
//! A column may be added in any version; readers go by names, and take one that
//! is not there for null in every row. So an old file can be read as long as no
//! row needs what was added. What means something else, or is gone, makes a new
//! number of [`SCHEMA`].

use std::{net::IpAddr, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch, new_null_array,
    types::{UInt8Type, UInt16Type, UInt32Type, UInt64Type},
};
use arrow_schema::DataType;
use tracer_core::model::{Direction, EncapKind, Mac, Proto};

use super::column::{
    Builder, Bytes, Flag, Kind, Number, Octets, Reader, Text, Texts, Time, Word, Words, columns,
};

/// What traces of this version call themselves.
pub const SCHEMA: &str = "tracer.trace/2";

type U8 = Number<UInt8Type>;
type U16 = Number<UInt16Type>;
type U32 = Number<UInt32Type>;
type U64 = Number<UInt64Type>;
type Name = Words<Arc<str>>;

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    Hop,
    Drop,
    Batch,
    State,
    Owners,
    Armed,
    Gone,
    Joined,
    Clock,
    End,
}

impl Record {
    const ALL: [Self; 10] = [
        Self::Hop,
        Self::Drop,
        Self::Batch,
        Self::State,
        Self::Owners,
        Self::Armed,
        Self::Gone,
        Self::Joined,
        Self::Clock,
        Self::End,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Hop => "hop",
            Self::Drop => "drop",
            Self::Batch => "batch",
            Self::State => "state",
            Self::Owners => "owners",
            Self::Armed => "armed",
            Self::Gone => "gone",
            Self::Joined => "joined",
            Self::Clock => "clock",
            Self::End => "end",
        }
    }
}

impl Word for Record {
    fn write(&self) -> String {
        self.name().to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|record| record.name() == text)
    }
}

columns! {
    record: Words<Record>, "`hop`: a packet passed an observation point. `drop`: a kernel freed a packet. `batch`: what an agent's stream sent before this row is complete. `armed`: from now on all points are observed. `gone`: the node's agent is gone, or the way to it is broken. `joined`: an agent of another node has started, which comes after those that are known. `clock`: what an agent answered a collector that asked for its clock, in `watermark`, with the question's number in `stream`. `state`: as `batch`, repeated from the file before. `owners`: addresses got or lost an owner. `end`: the recording ended here.";
    time: Time, "When, in Unix time; of `batch` and `state` the watermark: everything of this stream before it is in the rows before. Of a stream's last `batch`, when its report was made; where there is no watermark yet, the node's boot. Each node's own clock. Of `owners`, from when on.";
    node: Name, "The node.";
    netns: Name, "`host`, or the pod whose network namespace it was in; null if the kernel does not tell.";
    interface: Name, "The interface.";
    direction: Words<Direction>, "`ingress` or `egress`, as the namespace sees it.";
    point: U16, "Index of the observation point among those of its node, in the metadata's `nodes`.";
    skb: U64, "The sk_buff's address, salted per node: the same for as long as a packet is in the same buffer of a node, and of no meaning between nodes.";
    generation: U32, "Generation of the filter that matched.";
    len: U32, "Bytes from the frame's first header on, all segments together.";
    segments: U32, "Segments that the packet will be cut into; 1 if it is whole.";
    src_mac: Words<Mac>, "Ethernet source at this point; null where frames have no Ethernet header.";
    dst_mac: Words<Mac>, "Ethernet destination at this point.";
    vlan: U16, "VLAN tag beside the frame: its control information.";
    encap: Words<EncapKind>, "Kind of the innermost tunnel around the packet: `vxlan`, `ipip`, `geneve` or `gre`; null outside of tunnels, as are the next four.";
    vni: U32, "Network identifier of the tunnel, or GRE's key, where it has one.";
    outer_src: Words<IpAddr>, "The tunnel's source.";
    outer_dst: Words<IpAddr>, "The tunnel's destination.";
    encap_levels: U8, "Tunnels around the packet.";
    src: Words<IpAddr>, "Source address of the innermost packet, as all that follows; of ARP the sender's.";
    dst: Words<IpAddr>, "Destination address; of ARP the target's.";
    proto: Words<Proto>, "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or `proto-` and the IANA number.";
    ttl: U8, "TTL or hop limit; 0 of ARP.";
    ip_id: U32, "IPv4 identification, or that of an IPv6 fragment.";
    fragment_offset: U16, "Offset of a fragment, bytes; null for a whole packet.";
    more_fragments: Flag, "Whether more fragments follow.";
    ip_len: U32, "Bytes of the IP packet, header included.";
    payload_hash: U64, "Keyed hash of the payload's first 32 bytes; 0 of TCP.";
    payload_unread: Flag, "Whether the hash is not known: the payload of a freed packet could not be read.";
    src_port: U16, "Source port of TCP, UDP and SCTP.";
    dst_port: U16, "Destination port.";
    tcp_seq: U32, "Sequence number.";
    tcp_ack: U32, "Acknowledgement number.";
    tcp_flags: U8, "Flags, as in the header: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR.";
    tcp_window: U16, "Window, unscaled.";
    tcp_len: U32, "Payload bytes, all segments together.";
    tcp_tsval: U32, "Timestamp value (RFC 7323).";
    tcp_tsecr: U32, "Timestamp echo reply.";
    tcp_options: U64, "Hash of the options.";
    udp_len: U16, "UDP's length field.";
    dns: Bytes<12>, "DNS header, on port 53: id, flags and counts in network byte order.";
    sctp_tag: U32, "SCTP's verification tag.";
    icmp_type: U8, "ICMP or ICMPv6 type.";
    icmp_code: U8, "Its code.";
    icmp_id: U16, "Identifier of an echo.";
    icmp_seq: U16, "Sequence number of an echo.";
    nd_target: Words<IpAddr>, "Target of a neighbour solicitation or advertisement.";
    nd_advertisement: Flag, "Whether it is an advertisement.";
    quote_src: Words<IpAddr>, "Of the packet that an ICMP error quotes: source.";
    quote_dst: Words<IpAddr>, "The same: destination.";
    quote_proto: U8, "The same: IANA protocol number.";
    quote_src_port: U16, "The same: source port.";
    quote_dst_port: U16, "The same: destination port.";
    quote_ip_id: U16, "The same: IPv4 identification.";
    quote_header: Bytes<8>, "The same: the first eight bytes behind the IP header, network byte order.";
    arp_operation: U16, "1 request, 2 reply.";
    arp_sender: Words<Mac>, "The sender's hardware address.";
    arp_target: Words<Mac>, "The target's hardware address.";
    reason: Name, "Why a packet was freed, as that kernel names it.";
    function: Name, "The kernel's function that freed it.";
    function_offset: U64, "Where in the function, bytes.";
    scope: Name, "How the namespace of a drop is known: `receiver` (the socket that refused it), `device`, `socket`; null if it is not.";
    ethertype: U16, "EtherType of a freed packet; 0 of what was never on its way.";
    facts: Texts, "What the sk_buff held when it was freed, and what the agent read of routes, neighbours, rules and the like right after: JSON objects, as docs/json.md describes them, but for `text`.";
    stream: U16, "Of `batch` and `state`: which of the node's streams.";
    watermark: U64, "Of `batch` and `state`: on the node's monotonic clock, ns; 0 if there is none yet, 2^64 - 1 of a stream's last batch: nothing more comes.";
    report: Text, "Of `batch` and `state`: what became of packets so far, JSON; null if it was not reported.";
    overdue: Flag, "Of `batch`: whether the collector did not wait for this stream any longer, so that what the stream saw before the watermark may be missing or in later rows.";
    change: Text, "Of `batch`: what has changed at the node, JSON: observation points that come, which are numbered on from those known, and that are gone; null if nothing has.";
    frame: Octets, "With `--snaplen`, the frame's first bytes as on the wire, payload included; a VLAN tag that the kernel keeps beside the frame is at its place among them. Else null, and never of a `drop`.";
    owners: Text, "Of `owners`: who has got an address, and who has lost one, JSON.";
    agent: Text, "Of `joined`: what the agent says of itself, JSON, as in the metadata's `nodes`.";
}
