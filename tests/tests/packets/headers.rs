use anyhow::Result;
use tracer_tests::frames::{
    ARP, ICMP, IPV4, TCP, UDP, arp_request, icmp, ipv4, ipv4_with_options, tcp, udp,
};

use crate::case::Case;
use crate::stage::{PORT, Stage};

/// The number of points for packets that the first node's IP layer refuses: the pod's veth and the
/// bridge.
const REFUSED: u64 = 2;
/// The number of points for forwarded packets. Six more see them: overlay and uplink of both nodes,
/// and the other node's bridge and veth.
const FORWARDED: u64 = 8;
const ALL: usize = FORWARDED as usize;

/// The offset of the IP header.
const L3: usize = 14;
/// The offset of the transport header, without IP options.
const L4: usize = L3 + 20;

/// The frame with one byte replaced.
fn with(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = value;
    frame
}

/// The frame cut to each of these lengths, with its headers unchanged.
fn cut(frame: &[u8], lengths: std::ops::Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    lengths.map(|len| frame[..len].to_vec())
}

/// An IPv4 packet whose header states a total length of `stated`.
fn stating(mut packet: Vec<u8>, stated: u16) -> Vec<u8> {
    packet[2..4].copy_from_slice(&stated.to_be_bytes());
    packet[10..12].fill(0);
    let words = packet[..20]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[test]
fn short_frames() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let packet = |proto, payload: &[u8]| stage.sent_by_pod(IPV4, &ipv4(proto, from, to, payload));
    let datagram = stage.sent_by_pod(IPV4, &stage.datagram(&[0; 16]));
    let segment = packet(TCP, &tcp(4000, PORT, 1, &[0; 16]));
    let echo = packet(ICMP, &icmp(8, 0, &[0; 20]));
    let error = packet(
        ICMP,
        &icmp(3, 3, &[&[0; 4], &*stage.datagram(&[])].concat()),
    );
    let question = stage.sent_by_pod(ARP, &arp_request(from, to));
    let cases = [
        Case::new("within the IPv4 header", cut(&datagram, L3..L4)).unparsed(REFUSED),
        // Without the port, the packet may be in a tunnel.
        Case::new("within UDP's ports", cut(&datagram, L4..L4 + 4)).unparsed(REFUSED),
        Case::new("behind UDP's ports", cut(&datagram, L4 + 4..L4 + 8)).journey(2, "dropped"),
        // net/ipv4/ip_input.c ip_rcv_core: the packet has fewer bytes than its header states.
        Case::new("within the payload", cut(&datagram, L4 + 8..L4 + 24)).journey(2, "dropped"),
        Case::new("within TCP's ports", cut(&segment, L4..L4 + 4)).unparsed(REFUSED),
        Case::new("within the TCP header", cut(&segment, L4 + 4..L4 + 32)).journey(2, "dropped"),
        // Without the type, it is unknown whether the message is an error.
        Case::new("before the ICMP header", cut(&echo, L4..L4 + 1)).unparsed(REFUSED),
        Case::new("within the ICMP header", cut(&echo, L4 + 1..L4 + 8)).journey(2, "dropped"),
        Case::new("ICMP without payload", cut(&echo, L4 + 8..L4 + 9)).journey(2, "dropped"),
        // The quoted packet decides whether the error belongs to the follow.
        Case::new("before the quoted addresses", cut(&error, L4 + 8..L4 + 28)).unparsed(REFUSED),
        Case::new("within the quoted ports", cut(&error, L4 + 28..L4 + 32)).unparsed(REFUSED),
        Case::new("behind the quoted ports", cut(&error, L4 + 32..L4 + 36)).journey(2, "dropped"),
        Case::new("within ARP", cut(&question, L3..L3 + 28)).unparsed(REFUSED),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}

#[test]
fn versions_and_header_lengths() -> Result<()> {
    let stage = Stage::new()?;
    let frame = stage.sent_by_pod(IPV4, &stage.datagram(&[0; 16]));
    let versions = (0..16).filter(|version| *version != 4);
    let words = |range: std::ops::Range<u8>| range.map(|words| with(&frame, L3, 0x40 | words));
    let cases = [
        Case::new(
            "versions",
            versions.map(|version| with(&frame, L3, version << 4 | 5)),
        )
        .unparsed(REFUSED),
        Case::new("header lengths below 20", words(0..5)).unparsed(REFUSED),
        // The header can be parsed, but its checksum is wrong.
        Case::new("options that are the payload", words(6..10)).journey(2, "dropped"),
        Case::new("options up to half of UDP's header", words(10..11)).journey(2, "dropped"),
        Case::new("options up to the end and beyond", words(11..16)).journey(2, "dropped"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}

#[test]
fn lengths_that_lie() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let total = |stated| stage.sent_by_pod(IPV4, &stating(stage.datagram(&[0; 16]), stated));
    let udp_len = |stated: u16| {
        let mut datagram = udp(4000, PORT, &[0; 16]);
        datagram[4..6].copy_from_slice(&stated.to_be_bytes());
        stage.sent_by_pod(IPV4, &ipv4(UDP, from, to, &datagram))
    };
    let cases = [
        // net/ipv4/ip_input.c ip_rcv_core: too short for a header, or longer than the packet.
        Case::new("less than a header", [0, 1, 19].map(total)).journey(2, "dropped"),
        Case::new("more than there is", [45, 1500, u16::MAX].map(total)).journey(2, "dropped"),
        // The first node cuts surplus bytes off. The pod gives no reason for a packet that is too
        // short for a header: net/ipv4/udp.c __udp4_lib_rcv.
        Case::new("no transport header", [total(20)]).journey(ALL, "delivered"),
        Case::new("half a transport header", [total(24)]).journey(ALL, "delivered"),
        // Real Ethernet frames are padded to at least 60 bytes. UDP's length exceeds the rest of
        // the packet: net/ipv4/udp.c __udp4_lib_rcv, in the pod.
        Case::new("padding", [28, 29, 43].map(total)).journey(ALL, "dropped"),
        Case::new("of UDP", [0, 7, 25, u16::MAX].map(udp_len)).journey(ALL, "dropped"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}

#[test]
fn tcp_data_offsets() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    // The packet has 32 bytes of header and 8 of payload.
    let offset = |words: u8| {
        let mut segment = tcp(4000, PORT, u32::from(words) << 8, &[0; 8]);
        segment[12] = words << 4;
        stage.sent_by_pod(IPV4, &ipv4(TCP, from, to, &segment))
    };
    let cases = [
        Case::new("less than a header", (0..5).map(offset)).journey(ALL, "dropped"),
        // The checksum is missing: net/ipv4/tcp_ipv4.c tcp_v4_rcv, in the pod.
        Case::new("within the segment", (5..11).map(offset)).journey(ALL, "dropped"),
        // The kernel gives no reason for this one, as for packets to a closing connection.
        Case::new("beyond its end", (11..16).map(offset)).journey(ALL, "delivered"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}

/// TCP options with wrong lengths do not stop the parser.
#[test]
fn tcp_options_that_lie() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let options: [[u8; 12]; 5] = [
        [8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [8, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 8],
        [254, 1, 254, 1, 254, 1, 254, 1, 254, 1, 254, 1],
        [8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 8, 10],
    ];
    let frames = (0..).zip(options).map(|(number, options)| {
        let mut segment = tcp(4000, PORT, number << 8, &[0; 8]);
        segment[20..32].copy_from_slice(&options);
        stage.sent_by_pod(IPV4, &ipv4(TCP, from, to, &segment))
    });
    // The pod drops a segment without a checksum.
    let case = Case::new("options", frames).journey(ALL, "dropped");
    case.check(&stage, &stage.pod)
}

/// The programs read more of DNS than of other datagrams, and any datagram may come to the port of
/// DNS.
#[test]
fn what_is_on_the_port_of_dns() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let frames = (0..20).map(|len| {
        let datagram = udp(53, PORT, &[7; 20][..len]);
        stage.sent_by_pod(IPV4, &ipv4(UDP, from, to, &datagram))
    });
    let case = Case::new("from port 53", frames).journey(ALL, "delivered");
    case.check(&stage, &stage.pod)
}

/// Unusual options are not broken options.
#[test]
fn ip_options() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let payload = udp(4000, PORT, &[0; 16]);
    let frames = (0..=10_usize).map(|words| {
        let nops = vec![1; words * 4];
        stage.sent_by_pod(IPV4, &ipv4_with_options(UDP, from, to, &nops, &payload))
    });
    let case = Case::new("options", frames).journey(ALL, "delivered");
    case.check(&stage, &stage.pod)
}
