//! Drawing. Nothing here changes the state, except how far a screen is scrolled.
//!
//! Each screen makes lines that fit the terminal's columns. This module shortens longer text, and
//! removes control characters from foreign names.

mod bytes;
mod clock;
mod fields;
mod help;
mod journey;
mod journeys;
mod path;
mod status;
mod sums;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Clear, Paragraph, Widget as _},
};
use tracer_core::verdict::{Kind, Verdict};

use super::{
    state::{Over, State},
    tabs::Screen,
};
use crate::{
    terminal::{clean, columns},
    view::text::shorten,
};

/// The styles. Colours only repeat what signs and words say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    pub(super) colour: bool,
}

impl Theme {
    fn of(self, color: Color) -> Style {
        if self.colour {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    /// The style of what is as it should be.
    fn good(self) -> Style {
        self.of(Color::Green)
    }

    /// The style of what is worth a look.
    fn odd(self) -> Style {
        self.of(Color::Yellow)
    }

    /// The style of what is neither good nor odd.
    fn other(self) -> Style {
        self.of(Color::Cyan)
    }

    /// The style of what makes everything else less certain.
    fn alarm(self) -> Style {
        self.of(Color::Red).add_modifier(Modifier::BOLD)
    }

    const fn strong() -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    const fn dim() -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    const fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The sign of a verdict, and its style.
    fn verdict(self, verdict: &Verdict) -> (&'static str, Style) {
        self.kind(verdict.kind)
    }

    fn kind(self, kind: Kind) -> (&'static str, Style) {
        match kind {
            Kind::Delivered => ("✔", self.good()),
            Kind::Dropped | Kind::Refused | Kind::Lost => ("✘", self.alarm()),
            Kind::Partial => ("✘", self.odd()),
            Kind::Unanswered => ("!", self.odd()),
            Kind::Left => ("→", self.other()),
            Kind::Unknown => ("?", self.odd()),
        }
    }
}

/// A line that is being written. It never exceeds its width.
pub(super) struct Pen {
    spans: Vec<Span<'static>>,
    width: usize,
    column: usize,
}

impl Pen {
    fn new(width: usize) -> Self {
        Self {
            spans: Vec::new(),
            width,
            column: 0,
        }
    }

    /// Number of free columns.
    const fn left_over(&self) -> usize {
        self.width - self.column
    }

    /// Writes text, as much as there is room for.
    fn put(&mut self, style: Style, text: &str) -> &mut Self {
        if self.left_over() > 0 {
            let text = shorten(&clean(text), self.left_over());
            self.column += columns(&text);
            self.spans.push(Span::styled(text, style));
        }
        self
    }

    /// Moves to a column. If that column is taken already, leaves one space.
    fn tab(&mut self, column: usize) -> &mut Self {
        let gap = column
            .saturating_sub(self.column)
            .max(usize::from(self.column > 0))
            .min(self.left_over());
        self.column += gap;
        self.spans.push(Span::raw(" ".repeat(gap)));
        self
    }

    /// Writes a cell of `width` columns, with its text at the left.
    fn left(&mut self, style: Style, width: usize, text: &str) -> &mut Self {
        let end = (self.column + width).min(self.width);
        if end > self.column {
            self.put(style, &shorten(&clean(text), end - self.column));
        }
        let gap = end - self.column;
        self.column = end;
        self.spans.push(Span::raw(" ".repeat(gap)));
        self
    }

    /// Writes a cell of `width` columns, with its text at the right.
    fn right(&mut self, style: Style, width: usize, text: &str) -> &mut Self {
        let end = (self.column + width).min(self.width);
        if end == self.column {
            return self;
        }
        let text = shorten(&clean(text), end - self.column);
        let gap = end - self.column - columns(&text);
        self.column += gap;
        self.spans.push(Span::raw(" ".repeat(gap)));
        self.put(style, &text)
    }

    fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }

    /// The whole line, up to its width, with one more style.
    fn line_in(mut self, style: Style) -> Line<'static> {
        let rest = self.left_over();
        self.spans.push(Span::raw(" ".repeat(rest)));
        Line::from(self.spans).style(style)
    }
}

/// Text on as many lines as necessary, after `begin`. A frame at the left of `begin` continues on
/// all lines.
fn wrapped(style: Style, begin: &str, text: &str, width: usize) -> Vec<Line<'static>> {
    let indent = columns(begin);
    let frame = if begin.starts_with('│') { "│" } else { " " };
    let next = format!("{frame}{}", " ".repeat(indent - 1));
    let mut lines = Vec::new();
    let mut pen = Pen::new(width);
    pen.put(style, begin);
    for word in text.split_whitespace() {
        let room = pen.left_over();
        if columns(word) + 1 > room && pen.column > indent {
            lines.push(std::mem::replace(&mut pen, Pen::new(width)).line());
            pen.put(style, &next);
        }
        if pen.column > indent {
            pen.put(style, " ");
        }
        pen.put(style, word);
    }
    lines.push(pen.line());
    lines
}

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, theme: Theme) {
    let area = frame.area();
    let typing = u16::from(
        state.typing.is_some()
            || state.screen == Screen::Journeys
                && (state.list.query.is_some() || state.list.problems),
    );
    let notice = u16::from(state.notice().is_some());
    let clock = u16::from(state.shown().clock.is_some() || state.paused.is_some());
    let [tabs, follow, body, input, told, time, below, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(typing),
        Constraint::Length(notice),
        Constraint::Length(clock),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    state.lines = (body.y, body.height);
    line(frame, tabs, |width| status::tabs(state, theme, width));
    line(frame, follow, |width| status::follow(state, theme, width));
    if body.height > 0 && body.width > 0 {
        screen(frame, body, state, theme);
    }
    if typing > 0 {
        status::input(frame, input, state, theme);
    }
    line(frame, told, |width| status::notice(state, theme, width));
    line(frame, time, |width| clock::line(state, theme, width));
    line(frame, below, |width| status::standing(state, theme, width));
    line(frame, keys, |width| status::keys(state, width));
}

fn line(frame: &mut Frame<'_>, area: Rect, make: impl FnOnce(usize) -> Line<'static>) {
    if area.height > 0 && area.width > 0 {
        frame.render_widget(make(usize::from(area.width)), area);
    }
}

fn screen(frame: &mut Frame<'_>, area: Rect, state: &mut State, theme: Theme) {
    let width = usize::from(area.width);
    match &state.over {
        Some(Over::Help) => {
            let lines = help::lines(width, state.is_movable());
            return scrolled(frame, area, state, lines);
        }
        Some(Over::CommandLine(command)) => {
            let lines = command_line(command, width);
            return frame.render_widget(Paragraph::new(lines), area);
        }
        None => {}
    }
    let lines = match state.screen {
        Screen::Path => path::lines(state, theme, width, usize::from(area.height)),
        Screen::Journeys => {
            let lines = journeys::lines(state, theme, width, usize::from(area.height));
            return frame.render_widget(Paragraph::new(lines), area);
        }
        Screen::Journey if state.fields => fields::lines(state, theme, width),
        Screen::Journey => journey::lines(state, theme, width),
        Screen::Sums => sums::lines(state, theme, width),
    };
    scrolled(frame, area, state, lines);
}

/// Draws lines from the one that the screen is scrolled to.
fn scrolled(frame: &mut Frame<'_>, area: Rect, state: &mut State, lines: Vec<Line<'static>>) {
    let height = usize::from(area.height);
    let last = lines.len().saturating_sub(height);
    let first = state.scrolled();
    *first = (*first).min(last);
    let first = *first;
    let more = last - first;
    let shown: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    frame.render_widget(Paragraph::new(shown), area);
    if more > 0 && height > 1 {
        let text = format!(" ↓ {more} more ");
        let width = u16::try_from(columns(&text)).unwrap_or(u16::MAX);
        let corner = Rect {
            x: area.right().saturating_sub(width).max(area.x),
            y: area.bottom() - 1,
            width: width.min(area.width),
            height: 1,
        };
        Clear.render(corner, frame.buffer_mut());
        frame.render_widget(Line::styled(text, Theme::chosen()), corner);
    }
}

/// A command line that can be selected with the mouse. The lines are broken only at the screen's
/// edge.
fn command_line(command: &str, width: usize) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::styled("This shows the same:", Theme::strong()),
        Line::default(),
    ];
    let command = clean(command);
    let mut rest: &str = &command;
    while !rest.is_empty() {
        let mut taken = 0;
        let fits = |(at, c): (usize, char)| {
            taken += crate::terminal::columns_of(c);
            (taken > width).then_some(at)
        };
        // Take at least one character, so that the loop ends.
        let end = rest.char_indices().find_map(fits).unwrap_or(rest.len());
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (now, later) = rest.split_at(end.max(first));
        lines.push(Line::raw(now.to_owned()));
        rest = later;
    }
    lines.push(Line::default());
    lines.push(Line::styled(
        "m leaves the mouse to the terminal, to select it; Esc goes back.",
        Theme::dim(),
    ));
    lines
}
