//! The help: all keys, and all signs.

use ratatui::text::Line;

use super::{Pen, Theme};
use crate::view::live::{
    keys::{Bound, KEYS, TIME_KEYS},
    tabs::Screen,
};

/// Columns of a key's name.
const KEY: usize = 12;

pub(super) fn lines(width: usize, is_movable: bool) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("Keys", Theme::strong())];
    lines.extend(keys(KEYS, width));
    if is_movable {
        lines.push(Line::default());
        lines.push(Line::styled("Time, in a replay", Theme::strong()));
        lines.extend(keys(TIME_KEYS, width));
    }
    lines.push(Line::default());
    lines.push(Line::styled("Signs", Theme::strong()));
    for (sign, means) in [
        ("✔", "delivered"),
        ("✘", "dropped, refused, lost; or only a part arrived"),
        ("!", "unanswered: arrived, but no answer was seen"),
        ("→", "left towards a place without an agent"),
        ("?", "unknown: the evidence says what was not observed"),
        ("↻", "retransmits what another packet carried"),
        ("↩", "answers another packet"),
        ("~", "between two clocks: as exact as they agree"),
        ("*", "differs from the hop before"),
        ("⇄", "a translation of addresses or ports"),
        ("●", "a packet passed within the last second"),
    ] {
        let mut pen = Pen::new(width);
        pen.put(Theme::dim(), "  ");
        pen.left(Theme::strong(), KEY, sign);
        pen.put(ratatui::style::Style::new(), means);
        lines.push(pen.line());
    }
    lines.push(Line::default());
    lines.push(Line::raw(
        "The mouse: a click chooses, a second one opens, the wheel scrolls.",
    ));
    lines
}

fn keys(keys: &'static [Bound], width: usize) -> impl Iterator<Item = Line<'static>> {
    keys.iter().map(move |bound| {
        let mut pen = Pen::new(width);
        pen.put(Theme::dim(), "  ");
        pen.left(Theme::strong(), KEY, bound.shown);
        let only: Vec<&str> = bound.on.iter().map(|screen| screen.name()).collect();
        pen.put(ratatui::style::Style::new(), bound.does);
        if !only.is_empty() && only.len() < Screen::ALL.len() {
            pen.put(Theme::dim(), &format!(" (on {})", only.join(", ")));
        }
        pen.line()
    })
}
