//! The lines that all screens have: tabs, the state of the follow, and keys.

use ratatui::{
    Frame,
    layout::{Position, Rect},
    text::Line,
};
use tracer_common::counters::Counter;

use super::{Pen, Theme};
use crate::{
    terminal::{clean, columns},
    view::{
        live::{
            state::{State, What},
            tabs::{Screen, tab},
            travel::Course,
        },
        moment::{Moment, Span},
        words::{count, grouped},
    },
};

/// The screens' tabs, and whether the view is running, paused or at its end.
pub(super) fn tabs(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    for (index, screen) in Screen::ALL.into_iter().enumerate() {
        let style = if screen == state.screen {
            Theme::chosen()
        } else {
            Theme::dim()
        };
        pen.put(style, &tab(index, screen));
    }
    let clock = state.known.clock.map(|clock| clock.course);
    let (sign, style) = match (&state.paused, &state.known.summary, state.source.live) {
        _ if clock == Some(Course::Paused) => ("‖ PAUSED".to_owned(), theme.odd()),
        _ if clock == Some(Course::Playing) => ("▶ REPLAY".to_owned(), theme.good()),
        (Some(_), ..) => {
            let waiting = state.waiting();
            (format!("‖ PAUSED, {} more", grouped(waiting)), theme.odd())
        }
        (None, Some(_), true) => ("■ ENDED".to_owned(), theme.other()),
        (None, Some(_), false) => ("■ REPLAY, at its end".to_owned(), theme.other()),
        (None, None, true) if state.known.started.is_none() => {
            ("… starting".to_owned(), theme.odd())
        }
        (None, None, true) => ("● LIVE".to_owned(), theme.good()),
        (None, None, false) => ("… reading".to_owned(), theme.odd()),
    };
    let room = pen.left_over();
    if columns(&sign) < room {
        pen.right(style.patch(Theme::strong()), room, &sign);
    }
    pen.line()
}

/// The description of the follow, and the number of journeys.
pub(super) fn follow(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let shown = state.shown();
    let mut pen = Pen::new(width);
    let tally = &shown.tally;
    let problems: u64 = tally.problems.values().map(|met| met.packets).sum();
    let problems = problems + tally.more_problems;
    let journeys = format!("{} journeys", grouped(tally.journeys()));
    let text = match problems {
        0 => format!("{journeys}, no problem"),
        1 => format!("{journeys}, ✘ 1 problem"),
        more => format!("{journeys}, ✘ {} problems", grouped(more)),
    };
    let name = shown.started.as_ref();
    let name = name.map_or("waiting until all points are observed", |started| {
        started.follow.as_str()
    });
    let room = width.saturating_sub(columns(&text) + 2);
    pen.left(Theme::strong(), room, name);
    let style = if problems > 0 {
        theme.alarm()
    } else {
        theme.good()
    };
    let room = pen.left_over();
    pen.right(style, room, &text);
    pen.line()
}

/// The latest notice.
pub(super) fn notice(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    if let Some(notice) = state.notice() {
        pen.put(theme.odd(), &format!("! {notice}"));
    }
    pen.line()
}

/// The lost events, which forbid conclusions, and how far back one can look.
pub(super) fn standing(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    let known = &state.known;
    let accounting = match (&known.standing, &known.summary) {
        (_, Some(summary)) => Some(&summary.accounting),
        (Some(standing), None) => Some(&standing.accounting),
        (None, None) => None,
    };
    let mut parts = Vec::new();
    if let Some(accounting) = accounting {
        let lost = accounting.lost() + accounting.drops.lost();
        parts.push(match lost {
            0 => (Theme::dim(), "no event lost".to_owned()),
            lost => (theme.alarm(), format!("✘ {} events lost", grouped(lost))),
        });
        let sampled = accounting.packets.get(Counter::SampledOut);
        let share = known.standing.as_ref().map_or(u32::MAX, |now| now.sample);
        parts.push(if share < u32::MAX {
            let percent = f64::from(share) / f64::from(u32::MAX) * 100.0;
            (theme.odd(), format!("! sampling {percent:.1} %"))
        } else if sampled > 0 {
            (theme.odd(), format!("! {} sampled out", grouped(sampled)))
        } else {
            (Theme::dim(), "not sampled".to_owned())
        });
    }
    let nodes = known.scene.nodes.len();
    let away = known.standing.iter().flat_map(|standing| &standing.away);
    let away = away.filter(|away| **away).count();
    parts.push(if away > 0 {
        (theme.alarm(), format!("✘ {away} of {nodes} nodes away"))
    } else {
        (Theme::dim(), count(nodes, "node"))
    });
    let bound = known
        .scene
        .nodes
        .iter()
        .map(|hello| hello.clock_bound)
        .max();
    parts.push(if known.scene.is_one_clock() {
        (Theme::dim(), "one clock".to_owned())
    } else {
        let bound = Span(bound.unwrap_or_default());
        (Theme::dim(), format!("clocks ±{bound}"))
    });
    parts.push(match state.journal.held_since() {
        None => (Theme::dim(), format!("all {} kept", grouped(state.count()))),
        Some(since) => {
            let since = state.zone.clock(Moment(since));
            let text = format!("kept since {since}: {}", grouped(state.held()));
            (theme.odd(), text)
        }
    });
    // The first parts matter most. Half of a sentence says nothing.
    for (index, (style, part)) in parts.into_iter().enumerate() {
        let between = if index > 0 { " · " } else { "" };
        if columns(between) + columns(&part) > pen.left_over() && index > 0 {
            break;
        }
        pen.put(Theme::dim(), between);
        pen.put(style, &part);
    }
    pen.line()
}

/// The most important keys of the current screen.
pub(super) fn keys(state: &State, width: usize) -> Line<'static> {
    let own: &[(&str, &str)] = match state.screen {
        Screen::Path => &[("j k", "scroll"), ("p", "problems")],
        Screen::Journeys => &[
            ("Enter", "open"),
            ("/", "filter"),
            ("p", "problems"),
            ("c", "group"),
        ],
        Screen::Journey => &[
            ("a", "answer"),
            ("r", "retransmission"),
            ("x", "fields"),
            ("Esc", "back"),
        ],
        Screen::Sums => &[("j k", "scroll")],
    };
    let mut pen = Pen::new(width);
    let time: &[(&str, &str)] = if state.is_movable() {
        &[("t", "time"), ("[ ]", "problem in time")]
    } else {
        &[]
    };
    let common = [("Tab", "screens"), ("Space", "pause"), ("q", "end")];
    let all = [("?", "help")].into_iter().chain(own.iter().copied());
    for (key, does) in all.chain(common).chain(time.iter().copied()) {
        if columns(key) + columns(does) + 3 > pen.left_over() {
            break;
        }
        pen.put(Theme::chosen(), &format!(" {key} "));
        pen.put(Theme::dim(), &format!("{does} "));
    }
    pen.line()
}

/// The line of input, or the current filter.
pub(super) fn input(frame: &mut Frame<'_>, area: Rect, state: &State, theme: Theme) {
    let width = usize::from(area.width);
    let mut pen = Pen::new(width);
    let kept = state.list.len();
    let Some(typing) = &state.typing else {
        let mut wanted = Vec::new();
        if state.list.problems {
            wanted.push("problems".to_owned());
        }
        if let Some(query) = &state.list.query {
            wanted.push(format!("--where '{query}'"));
        }
        let text = format!(
            "only {}: {} of {} kept; Esc shows all",
            wanted.join(", "),
            grouped(kept as u64),
            grouped(state.held())
        );
        pen.put(theme.other(), &text);
        return frame.render_widget(pen.line(), area);
    };
    let value = clean(typing.input.value());
    let room = width.saturating_sub(2);
    let scroll = typing.input.visual_scroll(room / 2);
    let shown: String = value.chars().skip(scroll).collect();
    let (prompt, hint) = match typing.what {
        What::Filter(_) => ("/".to_owned(), format!("{} match", grouped(kept as u64))),
        What::Name => (
            format!("save {} as ", state.what_is_saved()),
            "Enter saves, Esc does not".to_owned(),
        ),
        What::Time => (
            "to ".to_owned(),
            "12:01:04, +30s, -1m or 50%; Enter goes there".to_owned(),
        ),
    };
    pen.put(Theme::strong(), &prompt);
    pen.put(Theme::strong(), &shown);
    let (style, told) = match &typing.wrong {
        Some(wrong) => (theme.alarm(), format!("✘ {wrong}")),
        None => (Theme::dim(), hint),
    };
    let column = pen.column;
    pen.tab(column.max(width / 4) + 2).put(style, &told);
    frame.render_widget(pen.line(), area);
    let cursor = typing.input.visual_cursor().saturating_sub(scroll) + columns(&prompt);
    let cursor = u16::try_from(cursor).unwrap_or(u16::MAX);
    let last = area.right().saturating_sub(1);
    frame.set_cursor_position(Position::new(
        area.x.saturating_add(cursor).min(last),
        area.y,
    ));
}
