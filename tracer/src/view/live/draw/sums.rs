//! The sums: verdicts, latencies, problems by place, and the accounting.

use std::cmp::Reverse;

use ratatui::{style::Style, text::Line};
use tracer_core::{journey::Scene, verdict::Kind};

use super::{Pen, Theme, wrapped};
use crate::view::{
    dns,
    live::{
        known::Known,
        spans::{bars, short},
        state::State,
    },
    outcome,
    path::{self, At, Leg, SECONDS, Spans, Way},
    text::accounting,
    words::{Weight, count, grouped},
};

/// Columns of a number. `SPAN` is for a time span.
const NUMBER: usize = 12;
const SPAN: usize = 9;

pub(super) fn lines(state: &State, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let shown = state.shown();
    let scene: &Scene = state.scene();
    let mut lines = verdicts(shown, theme, width);
    lines.push(Line::default());
    let asked = dns::sentences(&shown.tally.dns);
    if !asked.is_empty() {
        lines.push(Line::styled("Names", Theme::strong()));
        lines.extend(said(asked, theme, width));
        lines.push(Line::default());
    }
    lines.extend(problems(shown, scene, theme, width));
    lines.extend(latencies(shown, scene, &state.way(), width));
    lines.extend(accounting_lines(shown, theme, width));
    if !shown.notices.is_empty() {
        lines.push(Line::default());
        lines.push(Line::styled("Said besides", Theme::strong()));
        for notice in &shown.notices {
            lines.extend(wrapped(theme.odd(), "  ! ", notice, width));
        }
    }
    lines
}

fn verdicts(shown: &Known, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let tally = &shown.tally;
    let all = tally.journeys();
    let mut pen = Pen::new(width);
    pen.put(Theme::strong(), "Journeys by verdict");
    pen.put(
        Theme::dim(),
        &format!(
            "  {} retransmitted, {} bytes",
            grouped(tally.retransmissions),
            grouped(tally.bytes)
        ),
    );
    let mut lines = vec![pen.line()];
    for kind in Kind::ALL {
        let Some(number) = tally.verdicts.get(&kind).filter(|number| **number > 0) else {
            continue;
        };
        let (sign, style) = theme.kind(kind);
        let mut pen = Pen::new(width);
        pen.left(style, 16, &format!("  {sign} {}", kind.name()));
        pen.right(Style::new(), NUMBER, &grouped(*number));
        let share = *number as f64 / all.max(1) as f64;
        pen.right(Theme::dim(), 9, &format!("{:.1} %", share * 100.0))
            .tab(0);
        let room = pen.left_over().min(60);
        let filled = ((share * room as f64) as usize).max(1);
        pen.put(style, &"■".repeat(filled));
        lines.push(pen.line());
    }
    for (title, seconds) in ["journeys/s", "problems/s"].into_iter().zip(&tally.seconds) {
        let mut pen = Pen::new(width);
        pen.left(Theme::dim(), 16, &format!("  {title}"));
        let room = pen.left_over().min(SECONDS);
        let counts = seconds.until(shown.now, room);
        let most = counts.iter().max().copied().unwrap_or_default();
        let room = room.saturating_sub(12);
        let counts = &counts[counts.len().saturating_sub(room)..];
        pen.left(theme.other(), room, &bars(counts)).tab(0);
        pen.put(Theme::dim(), &format!("{} at most", grouped(most)));
        lines.push(pen.line());
    }
    lines
}

fn problems(shown: &Known, scene: &Scene, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let tally = &shown.tally;
    if tally.problems.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<_> = tally.problems.iter().collect();
    all.sort_by_key(|(problem, met)| (Reverse(met.packets), problem.kind, problem.cause));
    let mut lines = vec![Line::styled(
        "Problems, the most frequent first",
        Theme::strong(),
    )];
    for (problem, met) in all {
        let (sign, style) = theme.kind(problem.kind);
        let example = &met.example;
        let text = outcome::text(scene, &example.journey, &example.verdict, &example.parts);
        let begin = format!("{:>NUMBER$} {sign} ", grouped(met.packets));
        let reason = match &problem.drop {
            Some(freed) => format!(" ({} in {})", freed.reason, freed.function),
            None => String::new(),
        };
        lines.extend(wrapped(style, &begin, &format!("{text}{reason}"), width));
    }
    lines.push(Line::default());
    lines
}

fn latencies(shown: &Known, scene: &Scene, way: &Way, width: usize) -> Vec<Line<'static>> {
    let mut legs: Vec<(&(At, At, usize), &Leg)> = shown.tally.legs.iter().collect();
    if legs.is_empty() {
        return Vec::new();
    }
    let place = |at: &At, course: usize| {
        let mut stations = way.stations.iter();
        let place = stations.position(|station| station.name == path::name(scene, *at, course));
        place.unwrap_or(usize::MAX)
    };
    legs.sort_by_key(|((from, to, course), leg)| {
        let (from, to) = (place(from, *course), place(to, *course));
        // Replies pass the stations in the other direction.
        let order = if *course == 0 {
            from
        } else {
            usize::MAX - from
        };
        (*course, order, Reverse(leg.packets), to)
    });
    let room = width.saturating_sub(NUMBER + 3 * SPAN + 1);
    let shape = if room > 60 { (room - 48).min(40) } else { 0 };
    let name = room - shape;
    let mut pen = Pen::new(width);
    pen.left(Theme::strong(), name, "Latency from point to point");
    for (width, title) in [
        (NUMBER, "packets"),
        (SPAN, "p50"),
        (SPAN, "p99"),
        (SPAN, "max"),
    ] {
        pen.right(Theme::dim(), width, title);
    }
    if shape > 0 {
        pen.tab(0)
            .put(Theme::dim(), "from the shortest to the longest");
    }
    let mut lines = vec![pen.line()];
    let mut row = |text: &str, packets: u64, spans: &Spans, mark: &str| {
        let mut pen = Pen::new(width);
        pen.left(Style::new(), name, text);
        pen.right(Theme::dim(), NUMBER, &grouped(packets));
        for part in [0.5, 0.99, 1.0] {
            let span = spans
                .quantile(part)
                .map(|span| format!("{mark}{}", short(span)));
            pen.right(Style::new(), SPAN, span.as_deref().unwrap_or("-"));
        }
        if shape > 0 {
            pen.tab(0).put(Style::new(), &bars(&spans.shape(shape)));
        }
        lines.push(pen.line());
    };
    let ways = &shown.tally.ways;
    let mark = if scene.is_one_clock() { "" } else { "~" };
    row(
        "the whole way, of what was delivered",
        ways.0.len(),
        ways,
        mark,
    );
    for ((from, to, course), leg) in legs {
        let sign = if *course == 0 { "▼" } else { "▲" };
        let end = |(node, point): &At| {
            let hello = &scene.nodes[*node];
            format!("{} {}", hello.node, hello.points[*point].interface)
        };
        let to_end = if from.0 == to.0 {
            scene.nodes[to.0].points[to.1].interface.clone()
        } else {
            end(to)
        };
        let mark = if scene.one_clock(from.0, to.0) {
            ""
        } else {
            "~"
        };
        let text = format!("{sign} {} → {to_end}", end(from));
        row(&text, leg.packets, &leg.spans, mark);
    }
    lines.push(Line::default());
    lines
}

fn accounting_lines(shown: &Known, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let accounting_now = match (&shown.summary, &shown.standing) {
        (Some(summary), _) => &summary.accounting,
        (None, Some(standing)) => &standing.accounting,
        (None, None) => return Vec::new(),
    };
    let nodes = shown.scene.nodes.len();
    let points: usize = shown
        .scene
        .nodes
        .iter()
        .map(|hello| hello.points.len())
        .sum();
    let mut lines = vec![Line::styled("Accounting", Theme::strong())];
    let watched = format!(
        "{} on {}",
        count(points, "observation point"),
        count(nodes, "node")
    );
    lines.extend(wrapped(Style::new(), "  ", &watched, width));
    lines.extend(said(
        accounting(accounting_now, shown.summary.is_some()),
        theme,
        width,
    ));
    lines
}

fn said(sentences: Vec<(Weight, String)>, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (weight, sentence) in sentences {
        let (begin, style) = match weight {
            Weight::Plain => ("  ", Style::new()),
            Weight::Odd => ("  ! ", theme.odd()),
            Weight::Alarm => ("  ✘ ", theme.alarm()),
        };
        lines.extend(wrapped(style, begin, &sentence, width));
    }
    lines
}
