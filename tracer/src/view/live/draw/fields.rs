//! All header fields of a journey's packet, as they were first seen.

use ratatui::{style::Style, text::Line};
use tracer_core::{
    journal::Entry,
    model::{Packet, Transport},
};

use super::{Pen, Theme, bytes, journey};
use crate::view::{live::state::State, moment::Moment};

/// Columns of a field's name.
const NAME: usize = 22;

pub(super) fn lines(state: &State, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let Some(entry) = &state.open else {
        return journey::lines(state, theme, width);
    };
    let mut lines = journey::header(state, theme, state.scene(), entry, width);
    lines.push(Line::default());
    for (name, value) in fields(entry) {
        let mut pen = Pen::new(width);
        pen.put(Theme::dim(), "  ");
        pen.left(Theme::dim(), NAME, name);
        pen.put(Style::new(), &value);
        lines.push(pen.line());
    }
    lines.extend(bytes::lines(state.scene(), entry, width));
    lines
}

fn fields(entry: &Entry) -> Vec<(&'static str, String)> {
    let journey = &entry.journey;
    let packet = &journey.packet;
    let mut fields = vec![
        ("first seen", Moment(journey.start()).to_string()),
        ("conversation", format!("{:016x}", journey.conversation)),
    ];
    if let Some(step) = journey.steps.first() {
        let macs = [
            ("source MAC", step.src_mac),
            ("destination MAC", step.dst_mac),
        ];
        for (name, mac) in macs {
            fields.extend(mac.map(|mac| (name, mac.to_string())));
        }
        fields.extend(step.vlan.map(|vlan| ("VLAN", vlan.to_string())));
    }
    for encap in journey
        .steps
        .iter()
        .filter_map(|step| step.encap.as_ref())
        .take(1)
    {
        fields.push(("tunnel", encap.kind.to_string()));
        fields.extend(encap.vni.map(|vni| ("network identifier", vni.to_string())));
        let ends = format!("{} → {}", encap.outer_src, encap.outer_dst);
        fields.push(("tunnel's ends", ends));
    }
    network(packet, &mut fields);
    transport(packet, &mut fields);
    fields
}

fn network(packet: &Packet, fields: &mut Vec<(&'static str, String)>) {
    fields.push(("source", packet.src.to_string()));
    fields.push(("destination", packet.dst.to_string()));
    fields.push(("protocol", packet.proto().to_string()));
    fields.push(("length", format!("{} bytes", packet.len)));
    if !matches!(packet.transport, Transport::Arp(_)) {
        fields.push(("TTL or hop limit", packet.ttl.to_string()));
    }
    fields.extend(
        packet
            .ip_id
            .map(|id| ("IP identification", format!("{id:#06x}"))),
    );
    if let Some((offset, more)) = packet.fragment {
        let more = if more { ", more follow" } else { ", the last" };
        fields.push(("fragment", format!("at byte {offset}{more}")));
    }
}

fn transport(packet: &Packet, fields: &mut Vec<(&'static str, String)>) {
    if let Some((src, dst)) = packet.ports() {
        fields.push(("source port", src.to_string()));
        fields.push(("destination port", dst.to_string()));
    }
    match &packet.transport {
        Transport::Tcp(tcp) => {
            fields.push(("sequence number", tcp.seq.to_string()));
            fields.push(("acknowledgement", tcp.ack.to_string()));
            fields.push(("flags", tcp.flags.to_string()));
            fields.push(("window, unscaled", tcp.window.to_string()));
            fields.push(("payload", format!("{} bytes", tcp.payload_len)));
            if let Some((value, echo)) = tcp.timestamps {
                fields.push(("timestamp, its echo", format!("{value}, {echo}")));
            }
        }
        Transport::Udp { len, dns, .. } => {
            fields.push(("UDP length", format!("{len} bytes")));
            if let Some(dns) = dns {
                let hex: Vec<String> = dns.iter().map(|byte| format!("{byte:02x}")).collect();
                fields.push(("DNS header", hex.join(" ")));
            }
        }
        Transport::Sctp { tag, .. } => fields.push(("verification tag", format!("{tag:#010x}"))),
        Transport::Icmp(icmp) => {
            fields.push(("type and code", format!("{} and {}", icmp.kind, icmp.code)));
            if let Some((id, seq)) = icmp.echo {
                fields.push(("echo identifier", id.to_string()));
                fields.push(("echo sequence number", seq.to_string()));
            }
            if let Some(neighbour) = &icmp.neighbour {
                fields.push(("target", neighbour.target.to_string()));
            }
            if let Some(quote) = &icmp.quote {
                fields.push(("quotes", format!("{} → {}", quote.src, quote.dst)));
            }
        }
        Transport::Arp(arp) => {
            fields.push(("operation", arp.operation.to_string()));
            fields.push(("sender's MAC", arp.sender.to_string()));
            fields.push(("target's MAC", arp.target.to_string()));
        }
        Transport::Cut { .. } | Transport::Other(_) => {}
    }
    if let Some(hash) = packet.payload_hash {
        fields.push(("hash of the payload", format!("{hash:016x}")));
    }
}
