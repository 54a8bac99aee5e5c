//! One journey: its hops one below the other, the changes from hop to hop, and the verdict.

use ratatui::{style::Style, text::Line};
use tracer_core::{
    journal::Entry,
    journey::{Class, Drop, Journey, Scene, Step},
    model::Proto,
    verdict::{Confidence, Kind},
};

use super::{Pen, Theme, wrapped};
use crate::view::{
    HOST,
    evidence::sentences,
    live::{spans::short, state::State},
    moment::{Moment, Span},
    outcome,
    places::party,
    translation::{self, Change},
    words::{self, count},
};

/// Columns of a time. The next two are the columns at the end of a line.
const TIME: usize = 9;
const LEN: usize = 8;
const TTL: usize = 8;
/// An interface's name has up to 15 characters.
const NAME: usize = 21;

pub(super) fn lines(state: &State, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let Some(entry) = &state.open else {
        return vec![Line::styled(
            "No journey is open: choose one among the journeys (2) and press Enter.",
            Theme::dim(),
        )];
    };
    let scene: &Scene = state.scene();
    let journey: &Journey = &entry.journey;
    let mut lines = header(state, theme, scene, entry, width);
    lines.push(headings(width));
    let shown = |drop: &&Drop| drop.judgement.class != Class::Delivered;
    let mut drops = journey.drops.iter().filter(shown).peekable();
    let mut previous: Option<&Step> = None;
    for step in &journey.steps {
        while let Some(drop) = drops.next_if(|drop| drop.time < step.time) {
            lines.push(freed(scene, theme, journey, drop, width));
        }
        if previous.is_none_or(|before| before.node != step.node) {
            lines.push(node(scene, step, width));
        }
        for Change {
            kind,
            from,
            to,
            name,
        } in translation::of(scene, journey, previous, step)
        {
            let name = name.map_or_else(String::new, |name| format!(" ({name})"));
            let text = format!("{kind} {from} → {to}{name}");
            lines.extend(wrapped(theme.other(), "    ⇄ ", &text, width));
        }
        lines.extend(hop(scene, theme, journey, previous, step, width));
        previous = Some(step);
    }
    for drop in drops {
        lines.push(freed(scene, theme, journey, drop, width));
    }
    lines.extend(conclusion(scene, theme, entry, width));
    lines.extend(related(state, theme, entry, width));
    lines
}

/// The packet, and the two ends.
pub(super) fn header(
    state: &State,
    theme: Theme,
    scene: &Scene,
    entry: &Entry,
    width: usize,
) -> Vec<Line<'static>> {
    let journey = &entry.journey;
    let (sign, style) = theme.verdict(&entry.verdict);
    let mut pen = Pen::new(width);
    pen.put(style, sign).tab(0);
    pen.put(Theme::strong(), &format!("#{}", journey.id)).tab(0);
    pen.put(Theme::strong(), &words::packet(&journey.packet));
    let first = pen.line();
    let mut pen = Pen::new(width);
    pen.put(Theme::dim(), &state.zone.clock(Moment(journey.start())));
    let hops = count(journey.steps.len(), "hop");
    let mut pairs = journey.steps.windows(2);
    let one_clock = pairs.all(|pair| scene.one_clock(pair[0].node, pair[1].node));
    let mark = if one_clock { "" } else { "~" };
    pen.put(
        Theme::dim(),
        &format!(", {hops} in {mark}{}: ", Span(journey.way())),
    );
    let end = |address| party(scene, address, journey.start());
    pen.put(
        Style::new(),
        &format!("{} → {}", end(journey.packet.src), end(journey.packet.dst)),
    );
    vec![first, pen.line()]
}

/// Columns of the waterfall. A wider waterfall would separate the ends of a line too far.
fn bar_width(width: usize) -> usize {
    let rest = width.saturating_sub(NAME + 2 * TIME + LEN + TTL + 3);
    rest.min(80)
}

fn headings(width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    pen.left(Theme::dim(), NAME, "  interface");
    pen.right(Theme::dim(), TIME, "at");
    pen.right(Theme::dim(), TIME, "step");
    pen.left(Theme::dim(), bar_width(width) + 2, "");
    pen.right(Theme::dim(), LEN, "bytes");
    pen.right(Theme::dim(), TTL, "TTL");
    pen.line()
}

fn node(scene: &Scene, step: &Step, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    pen.put(Theme::dim(), "─ ");
    pen.put(Theme::strong(), &scene.nodes[step.node].node);
    pen.put(Style::new(), " ");
    let rest = pen.left_over();
    pen.put(Theme::dim(), &"─".repeat(rest));
    pen.line()
}

/// A span's bar on a waterfall of `width` columns.
fn bar(journey: &Journey, from: i64, to: i64, width: usize) -> String {
    let (first, way) = match journey.steps.first() {
        Some(first) if journey.way() > 0 => (first.time, journey.way()),
        _ => return String::new(),
    };
    let column = |time: i64| {
        let part = (time - first).clamp(0, way) as f64 / way as f64;
        (part * width as f64) as usize
    };
    let (from, to) = (column(from.min(to)), column(to.max(from)));
    let from = from.min(width.saturating_sub(1));
    let filled = (to - from.min(to)).clamp(1, width.max(1));
    format!("{}{}", " ".repeat(from), "█".repeat(filled))
}

fn hop(
    scene: &Scene,
    theme: Theme,
    journey: &Journey,
    previous: Option<&Step>,
    step: &Step,
    width: usize,
) -> Vec<Line<'static>> {
    let point = scene.point(step);
    let way = point.way();
    let inside = if point.netns == HOST { "" } else { " (pod)" };
    let mut pen = Pen::new(width);
    pen.left(
        Style::new(),
        NAME,
        &format!("  {}{inside} {way}", point.interface),
    );
    let first = journey.steps.first().unwrap_or(step);
    let two_clocks = |before: &Step| !scene.one_clock(before.node, step.node);
    let mark = |before: &Step| if two_clocks(before) { "~" } else { "" };
    let at = step.time.saturating_sub(first.time);
    pen.right(Theme::dim(), TIME, &format!("{}{}", mark(first), short(at)));
    let since = previous.map(|before| {
        let span = step.time.saturating_sub(before.time);
        format!("{}{}", mark(before), short(span))
    });
    pen.right(Style::new(), TIME, since.as_deref().unwrap_or("-"));
    pen.tab(0);
    let room = bar_width(width);
    let from = previous.map_or(step.time, |before| before.time);
    pen.left(
        theme.other(),
        room + 1,
        &bar(journey, from, step.time, room),
    );
    let changed = |same: bool| {
        if same {
            ("", Theme::dim())
        } else {
            ("*", theme.odd())
        }
    };
    let (star, style) = changed(previous.is_none_or(|before| before.len == step.len));
    pen.right(style, LEN, &format!("{star}{}", step.len));
    if journey.packet.proto() != Proto::Arp {
        let (star, style) = changed(previous.is_none_or(|before| before.ttl == step.ttl));
        pen.right(style, TTL, &format!("{star}{}", step.ttl));
    }
    let mut lines = vec![pen.line()];
    let changes = changes(journey, previous, step);
    if !changes.is_empty() {
        lines.extend(wrapped(theme.odd(), "    * ", &changes.join(" · "), width));
    }
    lines
}

/// The fields that differ from the hop before. For the first hop, all fields that it has.
fn changes(journey: &Journey, previous: Option<&Step>, step: &Step) -> Vec<String> {
    let unlike = |same: fn(&Step, &Step) -> bool| previous.is_none_or(|before| !same(before, step));
    let mut changes = Vec::new();
    if unlike(|a, b| (a.src_mac, a.dst_mac) == (b.src_mac, b.dst_mac)) {
        match (step.src_mac, step.dst_mac) {
            (Some(src), Some(dst)) => changes.push(format!("MAC {src} → {dst}")),
            _ if previous.is_some() => changes.push("no Ethernet header".to_owned()),
            _ => {}
        }
    }
    let tagged = step.vlan.is_some() || previous.is_some_and(|before| before.vlan.is_some());
    if tagged && unlike(|a, b| a.vlan == b.vlan) {
        let vlan = step.vlan.map(|vlan| format!("VLAN {vlan}"));
        changes.push(vlan.unwrap_or_else(|| "no VLAN".to_owned()));
    }
    if unlike(|a, b| a.encap == b.encap) {
        match &step.encap {
            Some(encap) => {
                let vni = encap.vni.map_or_else(String::new, |vni| format!(" {vni}"));
                let nested = if encap.levels > 1 { ", nested" } else { "" };
                changes.push(format!(
                    "in {}{vni} {} → {}{nested}",
                    encap.kind, encap.outer_src, encap.outer_dst
                ));
            }
            None if previous.is_some() => changes.push("out of the tunnel".to_owned()),
            None => {}
        }
    }
    if step.segments > 1 && unlike(|a, b| a.segments == b.segments) {
        changes.push(format!("{} segments", step.segments));
    }
    let before = previous.map_or(journey.size(), |before| before.seen);
    if step.seen < journey.size() && step.seen != before {
        changes.push(format!("only {} of {} bytes", step.seen, journey.size()));
    }
    changes
}

/// A drop of the packet, or of a copy that is no loss.
fn freed(
    scene: &Scene,
    theme: Theme,
    journey: &Journey,
    drop: &Drop,
    width: usize,
) -> Line<'static> {
    let (sign, style) = match drop.judgement.class {
        Class::Loss | Class::Refusal => ("✘", theme.alarm()),
        Class::Unknown => ("?", theme.odd()),
        Class::Duplicate | Class::Delivered | Class::Flooded => ("·", Theme::dim()),
    };
    let mut pen = Pen::new(width);
    let device = drop.device.as_deref().unwrap_or("-");
    pen.left(style, NAME, &format!("{sign} {device}"));
    let at = drop.time.saturating_sub(journey.start());
    pen.right(Theme::dim(), TIME, &short(at)).tab(0);
    let inside = if &*drop.netns == HOST {
        &scene.nodes[drop.node].node
    } else {
        &*drop.netns
    };
    pen.put(
        style,
        &format!("{} in {} ({inside})", drop.reason, drop.function),
    );
    pen.line()
}

fn conclusion(scene: &Scene, theme: Theme, entry: &Entry, width: usize) -> Vec<Line<'static>> {
    let Entry {
        journey,
        verdict,
        parts,
        ..
    } = entry;
    let (sign, style) = theme.verdict(verdict);
    let confidence = match (verdict.kind, verdict.confidence) {
        (Kind::Unknown, _) | (_, Confidence::High) => "",
        (_, Confidence::Low) => " (low confidence)",
        (_, Confidence::Confirmed) => " (confirmed)",
    };
    let text = outcome::text(scene, journey, verdict, parts);
    let mut lines = wrapped(
        style,
        &format!("{sign} "),
        &format!("{text}{confidence}"),
        width,
    );
    for sentence in sentences(scene, journey, verdict) {
        lines.extend(wrapped(Style::new(), "  - ", &sentence, width));
    }
    lines
}

/// Related journeys, and the keys that open them.
fn related(state: &State, theme: Theme, entry: &Entry, width: usize) -> Vec<Line<'static>> {
    let journey = &entry.journey;
    let mut said = Vec::new();
    let mut say = |key: &str, what: &str, id: Option<u64>| {
        let Some(id) = id else { return };
        let kept = if state.with_id(id).is_some() {
            format!("{key}: ")
        } else {
            String::new()
        };
        said.push(format!("{kept}{what} #{id}"));
    };
    say("a", "answered by", journey.answered_by);
    if journey.answered_by.is_none() {
        say("a", "answers", journey.answers);
    }
    say("r", "retransmits", journey.retransmits);
    if said.is_empty() {
        return Vec::new();
    }
    wrapped(theme.other(), "  ", &said.join(" · "), width)
}
