//! One journey: packet, source, destination, hops and verdict.

use std::net::IpAddr;

use anstyle::Style;
use tracer_core::{
    journey::{Class, Drop, Journey, Scene, Step},
    model::{Encap, OwnerKind, Proto, Transport},
    verdict::{Parts, Verdict},
};

use super::{
    conclusion,
    flow::{self, Flow},
    interface,
};
use crate::{
    terminal::columns,
    view::{
        Look,
        look::Palette,
        moment::{Moment, Span},
        translation::{self, Change},
        words,
    },
};

/// Columns of a node's name, of 80 columns.
const NODE: usize = 18;

/// The positions of the columns in a scene's journeys.
struct Columns {
    node: usize,
    interface: usize,
    /// Maximum length of a node's name.
    most: usize,
}

impl Columns {
    /// Uses all points, not only the journey's own, so that all journeys have the same columns.
    fn of(look: &Look, scene: &Scene) -> Self {
        let most = NODE + (look.width - Look::plain().width);
        let width = |text: String| columns(&text);
        let nodes = scene
            .nodes
            .iter()
            .map(|hello| width(flow::shorten(&hello.node, most)));
        let points = scene.nodes.iter().flat_map(|hello| &hello.points);
        let interfaces = points.map(|point| width(interface(&point.netns, &point.interface)));
        Self {
            node: nodes.max().unwrap_or_default(),
            interface: interfaces.max().unwrap_or_default(),
            most,
        }
    }
}

pub(super) fn show(
    look: &Look,
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
    parts: Parts,
) -> Flow {
    let mut flow = Flow::new(look.width);
    let palette = look.palette;
    header(&mut flow, look, scene, journey);
    let columns = Columns::of(look, scene);
    let mut previous = None;
    // A drop that is the normal end of a packet that arrived would look like a fault.
    let shown = |drop: &&Drop| drop.judgement.class != Class::Delivered;
    let mut drops = journey.drops.iter().filter(shown).peekable();
    for step in &journey.steps {
        while let Some(drop) = drops.next_if(|drop| drop.time < step.time) {
            freed(&mut flow, palette, scene, &columns, previous, drop);
        }
        for change in translation::of(scene, journey, previous, step) {
            translated(&mut flow, palette, &columns, &change);
        }
        hop(&mut flow, palette, scene, &columns, journey, previous, step);
        previous = Some(step);
    }
    for drop in drops {
        freed(&mut flow, palette, scene, &columns, previous, drop);
    }
    conclusion::show(&mut flow, palette, scene, journey, verdict, parts);
    flow.line();
    flow
}

/// The journey's start, its number, and the packet.
pub(super) fn begin(flow: &mut Flow, look: &Look, journey: &Journey) {
    let palette = look.palette;
    flow.indent(2);
    flow.put(palette.dim, &look.zone.clock(Moment(journey.start())));
    flow.put(palette.dim, &format!("#{}", journey.id));
    flow.words(palette.strong, &words::packet(&journey.packet));
}

fn header(flow: &mut Flow, look: &Look, scene: &Scene, journey: &Journey) {
    let palette = look.palette;
    begin(flow, look, journey);
    flow.line();

    flow.space(2);
    let to = format!("→ {}:", end(scene, journey, journey.packet.dst));
    flow.phrase(
        palette.plain,
        &[&end(scene, journey, journey.packet.src), &to],
    );
    let mut facts = facts(palette, scene, journey).into_iter().peekable();
    while let Some((style, mut fact)) = facts.next() {
        if facts.peek().is_some() {
            fact.push(',');
        }
        flow.put(style, &fact);
    }
    flow.line();
}

/// Number of hops, time, and related journeys.
pub(super) fn facts(palette: Palette, scene: &Scene, journey: &Journey) -> Vec<(Style, String)> {
    let steps = &journey.steps;
    // Two clocks may even disagree about which hop was first.
    let took = match (steps.first(), steps.last()) {
        (Some(first), Some(last)) if last.time > first.time => since(scene, first, last),
        _ => None,
    };
    let took = took.map_or_else(String::new, |took| {
        format!(" in {}", took.trim_start_matches('+'))
    });
    let mut facts = vec![(
        palette.plain,
        format!("{}{took}", words::count(steps.len(), "hop")),
    )];
    if let Some(request) = journey.answers {
        let word = match journey.packet.transport {
            Transport::Icmp(ref icmp) if icmp.quote.is_some() => "about",
            _ => "answers",
        };
        // The time to the answer matters when somebody looks up a name.
        let took = journey.took.filter(|_| journey.packet.dns().is_some());
        let took = took.and_then(|took| i64::try_from(took).ok());
        let took = took.map_or_else(String::new, |took| format!(" after {}", Span(took)));
        facts.push((palette.plain, format!("{word} #{request}{took}")));
    }
    if let Some(original) = journey.retransmits {
        facts.push((palette.odd, format!("retransmits #{original}")));
    }
    facts
}

/// An end of the journey: a pod by its name, a node or Service by address and name. An address
/// outside of the cluster may have a name from DNS.
pub(super) fn end(scene: &Scene, journey: &Journey, address: IpAddr) -> String {
    let Some(owner) = scene.owners.at(address, journey.start()) else {
        return match scene.dns_name(address, journey.start()) {
            Some(name) => format!("{address} ({name})"),
            None => address.to_string(),
        };
    };
    match owner.kind {
        OwnerKind::Pod => owner.name.clone(),
        OwnerKind::Node => format!("{address} ({})", owner.name),
        OwnerKind::Service | OwnerKind::Unserved | OwnerKind::Empty => {
            format!("{address} (Service {})", owner.name)
        }
        OwnerKind::Endpoint => format!("{address} (an endpoint of Service {})", owner.name),
    }
}

fn hop(
    flow: &mut Flow,
    palette: Palette,
    scene: &Scene,
    columns: &Columns,
    journey: &Journey,
    previous: Option<&Step>,
    step: &Step,
) {
    /// Columns of `+12.3 µs`, and of the longest time, `~-99.9 ms`.
    const TIME: usize = 9;
    /// Columns of `ttl 255`.
    const TTL: usize = 7;
    /// Columns of `65226 B`.
    const LEN: usize = 7;

    let point = scene.point(step);
    let unlike = |same: fn(&Step, &Step) -> bool| previous.is_none_or(|before| !same(before, step));
    let style = |changed| if changed { palette.plain } else { palette.dim };

    flow.space(2);
    let name = flow::shorten(&scene.nodes[step.node].node, columns.most);
    if unlike(|a, b| a.node == b.node) {
        flow.left(palette.strong, columns.node, &name);
    }
    let start = 2 + columns.node + 2;
    flow.indent(start + 2);
    flow.tab(start);
    let interface = interface(&point.netns, &point.interface);
    flow.left(palette.plain, columns.interface, &interface);
    flow.left(palette.plain, 3, point.way());
    let time = previous.and_then(|before| since(scene, before, step));
    flow.right(palette.plain, TIME, &time.unwrap_or_default());
    flow.space(1);
    let ttl = match journey.packet.proto() {
        Proto::Arp => String::new(),
        Proto::Ip(_) => format!("ttl {}", step.ttl),
    };
    flow.left(style(unlike(|a, b| a.ttl == b.ttl)), TTL, &ttl);
    let len = format!("{} B", step.len);
    flow.right(style(unlike(|a, b| a.len == b.len)), LEN, &len);
    if step.segments > 1 {
        let changed = unlike(|a, b| a.segments == b.segments);
        flow.put(style(changed), &format!("({} seg)", step.segments));
    }
    if let Some(vlan) = step.vlan {
        let changed = unlike(|a, b| a.vlan == b.vlan);
        flow.put(style(changed), &format!("vlan {vlan}"));
    }
    let before = previous.map_or(journey.size(), |before| before.seen);
    if step.seen < journey.size() && step.seen != before {
        let missing = format!("only {} of {} bytes", step.seen, journey.size());
        flow.put(palette.odd, &missing);
    }
    if let Some(encap) = &step.encap {
        tunnel(flow, palette, encap);
    }
    flow.line();
}

/// A translation of the packet's ends on the way to the next hop.
fn translated(flow: &mut Flow, palette: Palette, columns: &Columns, change: &Change) {
    let start = 2 + columns.node + 2 + 2;
    flow.indent(start + 2);
    flow.tab(start);
    let from = format!("{} {}", change.kind, change.from);
    let to = match &change.name {
        Some(name) => format!("→ {} ({name})", change.to),
        None => format!("→ {}", change.to),
    };
    flow.phrase(palette.other, &[&from, &to]);
    flow.line();
}

/// A drop of the packet, or of a copy that is no loss.
fn freed(
    flow: &mut Flow,
    palette: Palette,
    scene: &Scene,
    columns: &Columns,
    previous: Option<&Step>,
    drop: &Drop,
) {
    let (sign, style) = match drop.judgement.class {
        Class::Loss | Class::Refusal => ("✘", palette.alarm),
        Class::Unknown => ("?", palette.odd),
        Class::Duplicate | Class::Delivered | Class::Flooded => ("·", palette.dim),
    };
    flow.space(2);
    if previous.is_none_or(|step| step.node != drop.node) {
        let name = flow::shorten(&scene.nodes[drop.node].node, columns.most);
        flow.left(palette.strong, columns.node, &name);
    }
    let start = 2 + columns.node + 2;
    flow.indent(start + 2);
    flow.tab(start);
    let device = drop.device.as_deref().unwrap_or("-");
    flow.left(
        palette.plain,
        columns.interface,
        &interface(&drop.netns, device),
    );
    flow.words(
        style,
        &format!("{sign} {} in {}", drop.reason, drop.function),
    );
    flow.line();
}

fn tunnel(flow: &mut Flow, palette: Palette, encap: &Encap) {
    flow.space(1);
    let from = match encap.vni {
        Some(vni) => format!("{} {vni} {}", encap.kind, encap.outer_src),
        None => format!("{} {}", encap.kind, encap.outer_src),
    };
    let mut to = format!("→ {}", encap.outer_dst);
    if encap.levels > 1 {
        to.push_str(", nested");
    }
    flow.phrase(palette.dim, &[&from, &to]);
}

/// The time from one step to another. A `~` marks times of two clocks.
fn since(scene: &Scene, before: &Step, step: &Step) -> Option<String> {
    let span = step.time.checked_sub(before.time)?;
    let mark = if !scene.one_clock(before.node, step.node) {
        "~"
    } else if span < 0 {
        ""
    } else {
        "+"
    };
    Some(format!("{mark}{}", Span(span)))
}
