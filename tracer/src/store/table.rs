//! The columns of a trace. docs/trace.md documents them for readers.
//!
//! Any version may add a column. Readers go by names, and a missing column is null in every
//! row. So an old file can be read as long as no row needs a later column. If a column is
//! removed or changes its meaning, [`SCHEMA`] gets a new number.

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

/// Name of this version's schema, in the metadata of every trace.
pub const SCHEMA: &str = "tracer.trace/2";

type U8 = Number<UInt8Type>;
type U16 = Number<UInt16Type>;
type U32 = Number<UInt32Type>;
type U64 = Number<UInt64Type>;
type Name = Words<Arc<str>>;

/// Kind of a row.
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
    record: Words<Record>, "`hop`: a packet passed an observation point. `drop`: a kernel freed a packet. `batch`: everything that the stream of an agent sent before this row is complete. `armed`: all points are observed from `time` on. `gone`: the node's agent is gone, or the connection to it is broken. `joined`: an agent of another node has started; its number is one above the last known agent's. `clock`: an agent's answer to a collector that asked for its clock. `state`: like `batch`, repeated from the file before. `owners`: addresses got or lost an owner. `end`: the recording ended here.";
    time: Time, "Unix time by the node's own clock. `batch` and `state`: the watermark; the rows before this one have everything that the stream saw before the watermark. The last `batch` of a stream: the time of its report. No watermark yet: the time when the node booted. `owners`: the time from which the change holds.";
    node: Name, "Name of the node.";
    netns: Name, "`host`, or the pod in whose network namespace the packet was. `drop`: null if the namespace is not known.";
    interface: Name, "Name of the interface. `drop`: null if the interface is not known.";
    direction: Words<Direction>, "`ingress` or `egress`, as the network namespace sees it.";
    point: U16, "Index of the observation point in the node's `points`, in the metadata's `nodes`.";
    skb: U64, "Address of the sk_buff, salted per node. It is the same while a packet stays in one buffer of a node, and means nothing on other nodes. 0 at XDP, where no sk_buff exists yet.";
    generation: U32, "Generation of the filter that matched the packet.";
    len: U32, "Bytes from the frame's first header on, all segments together.";
    segments: U32, "Number of segments that the packet will be cut into; 1 if it will not be cut.";
    src_mac: Words<Mac>, "Source MAC address at this point; null if the frame has no Ethernet header.";
    dst_mac: Words<Mac>, "Destination MAC address at this point; null if the frame has no Ethernet header.";
    vlan: U16, "Control information (TCI) of the VLAN tag that the kernel keeps beside the frame; null without such a tag.";
    encap: Words<EncapKind>, "Kind of the innermost tunnel around the packet: `vxlan`, `ipip`, `geneve` or `gre`. Null outside of tunnels, as are the next four columns.";
    vni: U32, "Network identifier (VNI) of VXLAN or Geneve, or GRE's key; null if the tunnel has none.";
    outer_src: Words<IpAddr>, "Source address of the tunnel.";
    outer_dst: Words<IpAddr>, "Destination address of the tunnel.";
    encap_levels: U8, "Number of tunnels around the packet.";
    src: Words<IpAddr>, "Source address of the innermost packet; the columns after this one describe the same packet. ARP: the sender's protocol address.";
    dst: Words<IpAddr>, "Destination address. ARP: the target's protocol address.";
    proto: Words<Proto>, "`tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `arp`, or `proto-` and the IANA number.";
    ttl: U8, "TTL or hop limit; 0 for ARP.";
    ip_id: U32, "IPv4 identification, or the identification in the fragment header of IPv6.";
    fragment_offset: U16, "Offset of a fragment, bytes; null for a whole packet.";
    more_fragments: Flag, "Whether more fragments follow; null for a whole packet.";
    ip_len: U32, "Length of the IP packet with its header, bytes; 28 for ARP.";
    payload_hash: U64, "Keyed hash of the first 32 bytes of the payload; 0 for TCP, ARP, an empty payload, and a payload that could not be read.";
    payload_unread: Flag, "True if the payload of a freed packet could not be read, so that `payload_hash` has no meaning.";
    src_port: U16, "Source port of TCP, UDP and SCTP.";
    dst_port: U16, "Destination port of TCP, UDP and SCTP.";
    tcp_seq: U32, "Sequence number of TCP.";
    tcp_ack: U32, "Acknowledgement number of TCP.";
    tcp_flags: U8, "Flags of the TCP header: 1 FIN, 2 SYN, 4 RST, 8 PSH, 16 ACK, 32 URG, 64 ECE, 128 CWR.";
    tcp_window: U16, "Window of TCP, as in the header, unscaled.";
    tcp_len: U32, "Payload of TCP, bytes, all segments together.";
    tcp_tsval: U32, "TCP option: timestamp value (RFC 7323).";
    tcp_tsecr: U32, "TCP option: timestamp echo reply (RFC 7323).";
    tcp_options: U64, "Hash of the bytes of all TCP options.";
    udp_len: U16, "Length field of the UDP header: header and payload, bytes.";
    dns: Bytes<12>, "Header of a DNS message over UDP at port 53: id, flags and counts, network byte order.";
    sctp_tag: U32, "Verification tag of SCTP.";
    icmp_type: U8, "Type of the ICMP or ICMPv6 message.";
    icmp_code: U8, "Code of the ICMP or ICMPv6 message.";
    icmp_id: U16, "Identifier of an echo request or reply.";
    icmp_seq: U16, "Sequence number of an echo request or reply.";
    nd_target: Words<IpAddr>, "Target address of a neighbour solicitation or advertisement.";
    nd_advertisement: Flag, "True for a neighbour advertisement, false for a solicitation.";
    quote_src: Words<IpAddr>, "Source address of the packet that an ICMP error quotes.";
    quote_dst: Words<IpAddr>, "Destination address of the quoted packet.";
    quote_proto: U8, "IANA protocol number of the quoted packet.";
    quote_src_port: U16, "Source port of the quoted packet.";
    quote_dst_port: U16, "Destination port of the quoted packet.";
    quote_ip_id: U16, "IPv4 identification of the quoted packet.";
    quote_header: Bytes<8>, "The first eight bytes of the quoted packet after its IP header and extension headers, network byte order.";
    arp_operation: U16, "Operation of the ARP message: 1 request, 2 reply.";
    arp_sender: Words<Mac>, "Hardware address of the ARP message's sender.";
    arp_target: Words<Mac>, "Hardware address of the ARP message's target.";
    reason: Name, "Drop reason, by the name in that node's kernel.";
    function: Name, "Kernel function that freed the packet.";
    function_offset: U64, "Offset in this function, bytes.";
    scope: Name, "What told the network namespace of a drop: `receiver` (the socket that refused the packet), `device`, or `socket` (the packet's own). Null if the namespace is not known.";
    ethertype: U16, "EtherType of a freed packet; 0 for a buffer that was never a packet on its way, such as a message between processes.";
    facts: Texts, "What the sk_buff held when the kernel freed it, and what the agent read right after: routes, neighbour entries, rules and more. JSON objects, as docs/json.md describes them, without `text`.";
    stream: U16, "`batch` and `state`: index of the stream among those of the node. `clock`: number of the question that the agent answers.";
    watermark: U64, "Node's monotonic clock, ns. `batch` and `state`: 0 if the stream has no watermark yet; 2^64 - 1 if nothing more comes from the stream. `clock`: the time when the question came.";
    report: Text, "`batch` and `state`: JSON object with counters of all packets so far; null if the agent did not report.";
    overdue: Flag, "`batch`: true if the collector no longer waited for this stream. What the stream saw before the watermark may be missing, or be in later rows.";
    change: Text, "`batch`: JSON object with changes at the node, such as points that came or went. New points have the next free indexes. Null without a change.";
    frame: Octets, "With `--snaplen`, the first bytes of the frame as on the wire, with payload. A VLAN tag that the kernel keeps beside the frame is inserted at its place. Null without `--snaplen`, and in every `drop`.";
    owners: Text, "`owners`: JSON object with the owners that got or lost an address.";
    agent: Text, "`joined`: JSON object that describes the agent, as in the metadata's `nodes`.";
}
