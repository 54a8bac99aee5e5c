//! Packets and numbers, in words, and the importance of sentences.

use std::{borrow::Cow, fmt::Write as _};

use tracer_core::{
    model::{DnsHeader, Icmp, Packet, Proto, Tcp, Transport},
    verdict::Kind,
};

/// The importance of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// An ordinary sentence.
    Plain,
    /// Something that is worth a look.
    Odd,
    /// Something that makes everything else less certain.
    Alarm,
}

/// A number of things: `1 hop`, `1,204 hops`.
pub(super) fn count(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{} {thing}{}", grouped(number), plural(number))
}

/// Numbers by verdict: `938 delivered, 2 dropped`.
pub(super) fn kinds<'a>(numbers: impl IntoIterator<Item = (&'a Kind, &'a u64)>) -> String {
    let numbers = numbers.into_iter();
    let each = numbers.map(|(kind, number)| format!("{} {}", grouped(*number), kind.name()));
    each.collect::<Vec<_>>().join(", ")
}

/// The ending of a noun after a number.
pub(super) const fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// A number, with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A packet in the terms of people who read packets.
pub(crate) fn packet(packet: &Packet) -> String {
    let mut text = match &packet.transport {
        Transport::Tcp(header) => tcp(header),
        Transport::Udp {
            src_port,
            dst_port,
            len,
            dns: _,
        } => {
            let payload = len.saturating_sub(8);
            let mut text = format!("UDP {src_port} → {dst_port} {payload} bytes");
            if let Some(header) = packet.dns() {
                text.push_str(&dns_words(header));
            }
            text
        }
        Transport::Sctp {
            src_port,
            dst_port,
            tag,
        } => format!("SCTP {src_port} → {dst_port} tag {tag:#010x}"),
        Transport::Cut {
            proto: _,
            src_port,
            dst_port,
        } => {
            let proto = packet.proto().to_string().to_uppercase();
            format!("{proto} {src_port} → {dst_port}, header cut short")
        }
        Transport::Icmp(message) => icmp(message),
        Transport::Arp(message) => match message.operation {
            1 => format!("ARP who-has {} tell {}", packet.dst, packet.src),
            2 => format!("ARP {} is-at {}", packet.src, message.sender),
            other => format!("ARP operation {other}"),
        },
        Transport::Other(number) => format!("IP protocol {number}"),
    };
    if let Some((offset, more)) = packet.fragment {
        let which = if more { "" } else { "last " };
        let _ = write!(text, ", {which}fragment at byte {offset}");
    }
    text
}

fn tcp(header: &Tcp) -> String {
    let Tcp {
        src_port,
        dst_port,
        seq,
        ack,
        flags,
        payload_len,
        ..
    } = header;
    let mut text = format!("TCP {src_port} → {dst_port} {flags} seq {seq}");
    if *payload_len > 0 {
        let _ = write!(text, " {payload_len} bytes");
    } else if flags.has(tracer_core::model::Flags::ACK) {
        let _ = write!(text, " ack {ack}");
    }
    text
}

/// The fields of a DNS header (RFC 1035, 4.1.1) that show whether names resolve.
fn dns_words(header: DnsHeader) -> String {
    let DnsHeader {
        id,
        is_answer,
        truncated,
        code,
    } = header;
    if !is_answer {
        return format!(", DNS query {id:#06x}");
    }
    let cut = if truncated { ", truncated" } else { "" };
    format!(", DNS response {id:#06x} {}{cut}", rcode(code))
}

/// The name of a return code (RFC 1035, 4.1.1; RFC 2136, 2.2).
pub(super) fn rcode(code: u8) -> Cow<'static, str> {
    let name = match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        other => return format!("rcode {other}").into(),
    };
    name.into()
}

fn icmp(message: &Icmp) -> String {
    let family = if message.v6 { "ICMPv6" } else { "ICMP" };
    let mut text = match icmp_name(message) {
        Some(name) => format!("{family} {name}"),
        None => format!("{family} type {} code {}", message.kind, message.code),
    };
    if let Some((id, seq)) = message.echo {
        let _ = write!(text, " id {id} seq {seq}");
    }
    if let Some(neighbour) = &message.neighbour {
        let _ = write!(text, " for {}", neighbour.target);
    }
    if let Some(quote) = &message.quote {
        let proto = Proto::Ip(quote.proto);
        let _ = match quote.ports {
            Some((src, dst)) => write!(
                text,
                " about {proto} {} port {src} → {} port {dst}",
                quote.src, quote.dst
            ),
            None => write!(text, " about {proto} {} → {}", quote.src, quote.dst),
        };
    }
    text
}

/// Name of an ICMP message: RFC 792 and 1812, RFC 4443 and 4861.
const fn icmp_name(message: &Icmp) -> Option<&'static str> {
    Some(match (message.v6, message.kind, message.code) {
        (false, 0, _) | (true, 129, _) => "echo reply",
        (false, 8, _) | (true, 128, _) => "echo request",
        (false, 3, 0) => "network unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        (true, 2, _) => "packet too big",
        (false, 11, 1) | (true, 3, 1) => "fragment reassembly time exceeded",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        (false, 5, _) | (true, 137, _) => "redirect",
        (true, 133, _) => "router solicitation",
        (true, 134, _) => "router advertisement",
        (true, 135, _) => "neighbour solicitation",
        (true, 136, _) => "neighbour advertisement",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{count, grouped};

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(count(1, "hop"), "1 hop");
        assert_eq!(count(0, "hop"), "0 hops");
    }
}
