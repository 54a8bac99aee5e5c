use anyhow::Result;
use tracer_tests::frames::{IPV6, TCP, UDP, ipv6, tcp, udp};

use crate::case::Case;
use crate::stage::{PORT, Stage};

/// See [`crate::headers`].
const REFUSED: u64 = 2;
const FORWARDED: u64 = 8;
const ALL: usize = FORWARDED as usize;

/// The offset of the transport header, without extension headers.
const L4: usize = 14 + 40;

/// Next header numbers (RFC 8200, 4).
const FRAGMENT: u8 = 44;
const OPTIONS: u8 = 60;

/// A frame from pod to pod.
fn frame(stage: &Stage, next: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    stage.sent_by_pod(IPV6, &ipv6(next, from, to, payload))
}

/// A datagram without the checksum that IPv6 requires. Its destination drops it without an answer.
fn datagram() -> Vec<u8> {
    let mut datagram = udp(4000, PORT, &[0; 16]);
    datagram[6..8].copy_from_slice(&[0xba, 0xad]);
    datagram
}

/// A header of destination options with `units` of eight bytes after the first, filled with padding
/// (RFC 8200, 4.2).
fn options(next: u8, units: u8) -> Vec<u8> {
    let padding = usize::from(units) * 8 + 4;
    let mut header = vec![
        next,
        units,
        1,
        u8::try_from(padding.min(255)).expect("at most 255"),
    ];
    header.resize(padding + 4, 0);
    header
}

#[test]
fn short_frames() -> Result<()> {
    let stage = Stage::new()?;
    let datagram = frame(&stage, UDP, &datagram());
    let segment = frame(&stage, TCP, &tcp(4000, PORT, 1, &[0; 8]));
    let cut = |frame: &[u8], lengths: std::ops::Range<usize>| -> Vec<Vec<u8>> {
        lengths.map(|len| frame[..len].to_vec()).collect()
    };
    let cases = [
        Case::new("within the header, UDP", cut(&datagram, 14..L4)).unparsed(REFUSED),
        Case::new("within the header, TCP", cut(&segment, 14..L4)).unparsed(REFUSED),
        Case::new("within UDP's ports", cut(&datagram, L4..L4 + 4)).unparsed(REFUSED),
        Case::new("behind UDP's ports", cut(&datagram, L4 + 4..L4 + 8)).journey(2, "dropped"),
        Case::new("within TCP's ports", cut(&segment, L4..L4 + 4)).unparsed(REFUSED),
        Case::new("within the TCP header", cut(&segment, L4 + 4..L4 + 32)).journey(2, "dropped"),
        Case::new("within the payload", cut(&datagram, L4 + 8..L4 + 24)).journey(2, "dropped"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}

#[test]
fn extension_headers() -> Result<()> {
    let stage = Stage::new()?;
    let nested = |count: usize| {
        let headers =
            (0..count).map(|left| options(if left + 1 < count { OPTIONS } else { UDP }, 0));
        frame(
            &stage,
            OPTIONS,
            &[headers.collect::<Vec<_>>().concat(), datagram()].concat(),
        )
    };
    // The header claims to be longer than the packet.
    let beyond = |units: u8| frame(&stage, OPTIONS, &[UDP, units, 1, 4, 0, 0, 0, 0]);
    let fragment = |offset: u16| {
        let mut header = vec![UDP, 0, 0, 0, 0, 0, 0, 7];
        header[2..4].copy_from_slice(&(offset << 3).to_be_bytes());
        frame(&stage, FRAGMENT, &[header, datagram()].concat())
    };
    let long = [&*options(UDP, 20), &*datagram()].concat();
    let cases = [
        // UDP's checksum is wrong: net/ipv6/udp.c __udp6_lib_rcv, in the pod.
        Case::new("up to six", (1..=6).map(nested)).journey(ALL, "dropped"),
        Case::new("more than six", (7..=9).map(nested)).unparsed(FORWARDED),
        Case::new("a long one", [frame(&stage, OPTIONS, &long)]).journey(ALL, "dropped"),
        Case::new("beyond the end", [1, 10, 100, 255].map(beyond)).unparsed(FORWARDED),
        Case::new("cut short", [frame(&stage, OPTIONS, &[UDP, 0, 1])]).unparsed(FORWARDED),
        // A whole packet in one fragment, and fragments that wait in the pod for others.
        Case::new("an only fragment", [fragment(0)]).journey(ALL, "dropped"),
        Case::new("later fragments", [1, 0x100].map(fragment)).journey(ALL, "delivered"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.pod))
}
