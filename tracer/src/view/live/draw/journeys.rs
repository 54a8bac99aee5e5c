//! The list of journeys, newest first, or of their conversations.

use ratatui::{style::Style, text::Line};
use tracer_core::{
    journal::Entry,
    journey::{Course, Scene},
};

use super::{Pen, Theme};
use crate::view::{
    live::{list::Conversation, spans::big, state::State},
    moment::{Moment, Span},
    places::holder,
    words::{self, grouped},
};

/// Columns of a time of day.
const CLOCK: usize = 12;

pub(super) fn lines(
    state: &mut State,
    theme: Theme,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    if state.grouped {
        return grouped_lines(state, theme, width, height);
    }
    let rows = height.saturating_sub(1).max(1);
    state.lines = (state.lines.0 + 1, state.lines.1.saturating_sub(1));
    let first = state.list.first_row(rows);
    let chosen = state.list.chosen_row();
    let reading = state.list.chosen.is_some();
    let mut lines = vec![heading(width, first, reading)];
    if state.list.len() == 0 {
        let why = if state.held() == 0 {
            "No journey yet."
        } else {
            "None of the journeys that are kept matches. Esc shows all."
        };
        lines.push(Line::styled(why, Theme::dim()));
    }
    let scene = state.scene();
    for row in first..(first + rows).min(state.list.len()) {
        let entry = state
            .list
            .at(row)
            .and_then(|number| state.journal.get(number));
        let Some(entry) = entry else { continue };
        let mut pen = Pen::new(width);
        journey(&mut pen, state, scene, theme, entry);
        lines.push(if row == chosen {
            pen.line_in(Theme::chosen())
        } else {
            pen.line()
        });
    }
    lines
}

fn heading(width: usize, first: usize, reading: bool) -> Line<'static> {
    let mut pen = Pen::new(width);
    pen.left(Theme::dim(), CLOCK + 1, "began");
    pen.left(Theme::dim(), 13, "verdict");
    pen.right(Theme::dim(), 8, "took");
    pen.left(Theme::dim(), 6, "");
    pen.put(Theme::dim(), "packet");
    if reading && first > 0 {
        let text = format!("↑ {} newer; g follows them", grouped(first as u64));
        let room = pen.left_over();
        pen.right(Theme::strong(), room, &text);
    }
    pen.line()
}

/// A journey in one line.
pub(super) fn line(state: &State, theme: Theme, entry: &Entry, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    journey(&mut pen, state, state.scene(), theme, entry);
    pen.line()
}

fn journey(pen: &mut Pen, state: &State, scene: &Scene, theme: Theme, entry: &Entry) {
    let Entry {
        journey, verdict, ..
    } = entry;
    let (sign, style) = theme.verdict(verdict);
    pen.left(
        Theme::dim(),
        CLOCK + 1,
        &state.zone.clock(Moment(journey.start())),
    );
    pen.left(style, 13, &format!("{sign} {}", verdict.kind.name()));
    let mut clocks = journey.steps.windows(2);
    let mark = if clocks.all(|pair| scene.one_clock(pair[0].node, pair[1].node)) {
        ""
    } else {
        "~"
    };
    let took = if journey.steps.len() > 1 {
        format!("{mark}{}", Span(journey.way()))
    } else {
        "-".to_owned()
    };
    pen.right(Style::new(), 8, &took);
    let again = if journey.retransmits.is_some() {
        "↻"
    } else {
        " "
    };
    let answers = if journey.answers.is_some() {
        "↩"
    } else {
        " "
    };
    pen.put(theme.odd(), &format!(" {again}"));
    pen.put(theme.other(), answers);
    let way = if journey.direction == Course::Request {
        " ▶ "
    } else {
        " ◀ "
    };
    pen.put(Theme::dim(), way);
    let text = words::packet(&journey.packet);
    // Show the packet's owners if there is room.
    if pen.left_over() >= 100 {
        let end = |address| match holder(scene, address, journey.start()) {
            Some(name) => name.to_owned(),
            None => address.to_string(),
        };
        let ends = format!("{} → {}", end(journey.packet.src), end(journey.packet.dst));
        let room = pen.left_over().saturating_sub(60).min(70);
        pen.left(Style::new(), room, &ends);
        pen.tab(0);
    }
    pen.put(Style::new(), &text);
}

/// Columns of a number.
const NUMBER: usize = 9;

fn grouped_lines(
    state: &mut State,
    theme: Theme,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    state.group();
    let rows = height.saturating_sub(1).max(1);
    state.lines = (state.lines.0 + 1, state.lines.1.saturating_sub(1));
    let chosen = state.conversation_row();
    let first = chosen.saturating_sub(rows - 1);
    let mut pen = Pen::new(width);
    pen.left(Theme::dim(), CLOCK + 1, "latest");
    for title in ["▶", "◀", "bytes", "problems", "retrans", "answered"] {
        pen.right(Theme::dim(), NUMBER, title);
    }
    pen.tab(0).put(Theme::dim(), "conversation");
    let mut lines = vec![pen.line()];
    let (all, _) = &state.conversations;
    for (row, one) in all.iter().enumerate().skip(first).take(rows) {
        let mut pen = Pen::new(width);
        conversation(&mut pen, state, theme, one);
        lines.push(if row == chosen {
            pen.line_in(Theme::chosen())
        } else {
            pen.line()
        });
    }
    lines
}

fn conversation(pen: &mut Pen, state: &State, theme: Theme, one: &Conversation) {
    let journey = &one.latest.journey;
    pen.left(
        Theme::dim(),
        CLOCK + 1,
        &state.zone.clock(Moment(journey.start())),
    );
    for packets in one.packets {
        pen.right(Style::new(), NUMBER, &big(packets));
    }
    pen.right(Style::new(), NUMBER, &big(one.bytes));
    for (number, sign, style) in [
        (one.problems, "✘", theme.alarm()),
        (one.retransmissions, "↻", theme.odd()),
    ] {
        match number {
            0 => pen.right(Theme::dim(), NUMBER, "-"),
            number => pen.right(style, NUMBER, &format!("{sign} {}", grouped(number))),
        };
    }
    let answered = one.answers.quantile(0.5).map(|span| Span(span).to_string());
    pen.right(Style::new(), NUMBER, answered.as_deref().unwrap_or("-"));
    let packet = &journey.packet;
    let scene = state.scene();
    let end = |address, port: Option<u16>| {
        let time = journey.start();
        let name = holder(scene, address, time).or_else(|| scene.dns_name(address, time));
        let name = name.map_or_else(|| address.to_string(), str::to_owned);
        port.map_or(name.clone(), |port| format!("{name}:{port}"))
    };
    let ports = packet.ports();
    let mut ends = [
        end(packet.src, ports.map(|(src, _)| src)),
        end(packet.dst, ports.map(|(_, dst)| dst)),
    ];
    if journey.direction == Course::Reply {
        ends.reverse();
    }
    let text = format!("{} {} → {}", packet.proto(), ends[0], ends[1]);
    pen.tab(0).put(Style::new(), &text);
}
