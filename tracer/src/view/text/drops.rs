//! Drops as text for people: when, where, whose packet, and why.

use std::io::{self, Write};

use tracer_common::drop::DropCounter;
use tracer_core::{
    input::DropReport,
    journey::Class,
    model::Packet,
    verdict::{DropKind, Tally},
};

use super::{HOST, Text, flow::Flow};
use crate::view::{
    DropScene, DropView, facts,
    look::Palette,
    moment::Moment,
    words::{self, count, grouped, plural},
};

/// Maximum number of kinds that the summary lists.
const LISTED: usize = 10;

impl<W: Write> DropView for Text<W> {
    fn started(&mut self, scene: &DropScene, time: i64) -> io::Result<()> {
        let mut flow = Flow::new(self.look.width);
        let palette = self.look.palette;
        flow.indent(2);
        flow.words(palette.plain, "drops");
        if let Some(chosen) = &scene.chosen {
            flow.words(palette.plain, "of");
            flow.words(palette.strong, &chosen.to_string());
        }
        let places: Vec<String> = scene
            .nodes
            .iter()
            .map(|hello| {
                format!(
                    "{} and {}",
                    hello.node,
                    count(hello.drops.iter().flatten().count(), "pod")
                )
            })
            .collect();
        flow.words(
            palette.plain,
            &format!(
                "on {}; times in {};",
                places.join(", "),
                self.look.zone.name(Moment(time))
            ),
        );
        flow.put(palette.plain, "Ctrl-C ends");
        flow.line();
        self.show(flow)
    }

    fn drop(&mut self, scene: &DropScene, kind: &DropKind) -> io::Result<()> {
        let mut flow = Flow::new(self.look.width);
        let palette = self.look.palette;
        flow.indent(13);
        flow.put(palette.dim, &self.look.zone.clock(Moment(kind.first)));
        place(&mut flow, palette, scene, kind);
        if kind.packets > 1 || kind.total > kind.packets {
            let end = plural(kind.packets);
            let mut text = format!("{} packet{end}", grouped(kind.packets));
            if kind.total > kind.packets {
                text += &format!(", {} in all", grouped(kind.total));
            }
            flow.words(palette.dim, &format!("({text})"));
        }
        flow.line();
        flow.tab(13);
        whose(&mut flow, palette, scene, kind);
        flow.line();
        flow.tab(13);
        cause(&mut flow, palette, kind);
        flow.line();
        for fact in &*kind.example.facts {
            flow.tab(13);
            flow.put(palette.dim, "·");
            flow.words(palette.dim, &facts::sentence(fact));
            flow.line();
        }
        self.show(flow)
    }

    fn summary(&mut self, scene: &DropScene, tally: &Tally, report: &DropReport) -> io::Result<()> {
        let mut flow = Flow::new(self.look.width);
        let palette = self.look.palette;
        flow.indent(2);
        let suspects = tally.suspects();
        let unseen = unseen(tally, report);
        if suspects == 0 && unseen.iter().all(|(number, _)| *number == 0) {
            flow.words(palette.good, "Nothing was dropped.");
        } else if suspects == 0 {
            flow.words(
                palette.alarm,
                "No drop was seen, but some drop events were lost.",
            );
        } else {
            let text = format!("{} packet{} dropped", grouped(suspects), plural(suspects));
            let unknown = match tally.of(Class::Unknown) {
                0 => ":".to_owned(),
                unknown => format!(", {} of them perhaps not lost:", grouped(unknown)),
            };
            flow.words(palette.strong, &(text + &unknown));
        }
        flow.line();
        let kinds = tally.kinds();
        for kind in kinds.iter().take(LISTED) {
            flow.indent(10);
            flow.tab(2);
            flow.put(palette.plain, &format!("{:>6}", grouped(kind.total)));
            place(&mut flow, palette, scene, kind);
            whose(&mut flow, palette, scene, kind);
            let function = &kind.example.place.function;
            flow.words(palette.odd, &format!("{} {function}", kind.example.reason));
            flow.line();
        }
        if kinds.len() > LISTED {
            let more = count(kinds.len() - LISTED, "other kind");
            flow.tab(2);
            flow.words(palette.dim, &format!("and {more}"));
            flow.line();
        }
        accounting(&mut flow, palette, tally, report);
        self.show(flow)
    }
}

/// Node, network namespace and interface.
fn place(flow: &mut Flow, palette: Palette, scene: &DropScene, kind: &DropKind) {
    flow.put(palette.strong, &scene.nodes[kind.node].node);
    if let Some(netns) = kind.example.netns.as_deref().filter(|name| *name != HOST) {
        flow.words(palette.plain, &format!("inside {netns}"));
    }
    if let Some(device) = &kind.example.device {
        flow.words(palette.plain, &format!("at {device}"));
    }
}

/// Source, destination, and the packet.
fn whose(flow: &mut Flow, palette: Palette, scene: &DropScene, kind: &DropKind) {
    let Some(packet) = &kind.example.packet else {
        let text = format!("a frame of type {:#06x}", kind.example.protocol);
        flow.words(palette.plain, &text);
        return;
    };
    let name = |address| match scene.pod_of(address, kind.first) {
        Some(pod) => pod.to_owned(),
        None => address.to_string(),
    };
    flow.put(palette.strong, &name(packet.src));
    flow.put(palette.plain, "→");
    flow.put(palette.strong, &name(packet.dst));
    let what = match several_ports(kind, packet) {
        _ if is_arp(packet) => "ARP".to_owned(),
        Some(ports) => ports,
        None => words::packet(packet),
    };
    flow.words(palette.plain, &what);
}

/// A description of drops that differ in their ports. No single packet stands for all of them.
fn several_ports(kind: &DropKind, packet: &Packet) -> Option<String> {
    let (src, dst) = packet.ports()?;
    let (sources, destinations) = (kind.src_ports.count(), kind.dst_ports.count());
    let side = |port: u16, (ports, more): (usize, bool)| match (ports, more) {
        (0 | 1, _) => port.to_string(),
        (_, false) => format!("{} ports", grouped(ports as u64)),
        (_, true) => format!("{} ports or more", grouped(ports as u64)),
    };
    (sources.0 > 1 || destinations.0 > 1).then(|| {
        format!(
            "{} {} → {}",
            packet.proto().to_string().to_uppercase(),
            side(src, sources),
            side(dst, destinations)
        )
    })
}

fn is_arp(packet: &Packet) -> bool {
    packet.proto() == tracer_core::model::Proto::Arp
}

/// The kernel's reason and function, and what they mean.
fn cause(flow: &mut Flow, palette: Palette, kind: &DropKind) {
    let style = if kind.judgement.class == Class::Loss {
        palette.alarm
    } else {
        palette.odd
    };
    flow.put(style, &kind.example.reason);
    flow.put(palette.plain, "in");
    flow.put(palette.plain, &format!("{}:", kind.example.place.function));
    let unsure = if kind.judgement.class == Class::Unknown {
        "perhaps no loss: "
    } else {
        ""
    };
    flow.words(palette.plain, &format!("{unsure}{}", kind.judgement.why));
}

/// Numbers of freed packets that were not seen, or are not listed, with the reasons.
fn unseen(tally: &Tally, report: &DropReport) -> [(u64, &'static str); 5] {
    [
        (
            report.counters.get(DropCounter::RingFull),
            "found the ring buffer full",
        ),
        (
            report.counters.get(DropCounter::RateLimited),
            "were over --budget",
        ),
        (report.missed, "were missed: the tracepoint was re-entered"),
        (report.malformed, "could not be decoded"),
        (tally.crowded(), "are of too many kinds to list"),
    ]
}

fn accounting(flow: &mut Flow, palette: Palette, tally: &Tally, report: &DropReport) {
    flow.indent(2);
    let others: Vec<String> = Class::ALL
        .iter()
        .filter(|class| !class.is_suspect() && tally.of(**class) > 0)
        .map(|class| format!("{} {}", grouped(tally.of(*class)), class.name()))
        .collect();
    if !others.is_empty() {
        let text = format!("Freed but not dropped, not shown: {}.", others.join(", "));
        flow.words(palette.dim, &text);
        flow.line();
    }
    let unscoped = report.counters.get(DropCounter::Unscoped);
    if unscoped > 0 {
        let text = format!(
            "{} dropped in an unknown network namespace: not shown.",
            grouped(unscoped)
        );
        flow.words(palette.dim, &text);
        flow.line();
    }
    let unseen = unseen(tally, report);
    for (number, what) in unseen.iter().filter(|(number, _)| *number > 0) {
        let text = format!("{} more {what}: not shown.", grouped(*number));
        flow.words(palette.alarm, &text);
        flow.line();
    }
}
