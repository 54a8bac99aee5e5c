//! The line with the time: the position of a replay, or the time of a pause.

use jiff::civil::Date;
use ratatui::{style::Style, text::Line};

use super::{Pen, Theme};
use crate::view::{
    live::{
        state::{Paused, State},
        travel::{Clock, Course},
    },
    moment::{Moment, Zone},
    words::grouped,
};

/// The fewest columns of a useful bar.
const BAR: usize = 10;

pub(super) fn line(state: &State, theme: Theme, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    match (&state.paused, &state.shown().clock) {
        (Some(paused), _) => journal(&mut pen, state, theme, paused),
        (None, Some(clock)) => replay(&mut pen, &state.zone, theme, clock),
        (None, None) => {}
    }
    pen.line()
}

/// The time of a pause, and how far back one can scroll.
fn journal(pen: &mut Pen, state: &State, theme: Theme, paused: &Paused) {
    let at = match &paused.known.summary {
        Some(_) => "the end".to_owned(),
        None => state.zone.clock(Moment(paused.known.now)),
    };
    pen.put(theme.odd(), &format!("‖ paused at {at}"));
    let begun = paused.known.started.as_ref().map(|started| started.time);
    let (all, since) = match state.journal.held_since() {
        None => ("all ", begun),
        since => ("", since),
    };
    let since = since.map(|since| format!("since {}, ", state.zone.clock(Moment(since))));
    let text = format!(
        " · journal: {}{all}{} journeys",
        since.unwrap_or_default(),
        grouped(state.held())
    );
    pen.put(Theme::dim(), &text);
}

/// The position of a replay: `12:01:04.100 of 12:00:00 – 12:05:10, ×1, paused`.
fn replay(pen: &mut Pen, zone: &Zone, theme: Theme, clock: &Clock) {
    let (sign, style, course) = match clock.course {
        Course::Paused => ("‖", theme.odd(), "paused"),
        Course::Playing => ("▶", theme.good(), "playing"),
        Course::Seeking => ("»", theme.odd(), "reading"),
        Course::Ended => ("■", theme.other(), "at the end"),
    };
    let days = Days::of(zone, clock);
    pen.put(style, &format!("{sign} "));
    let position = days.clock(zone, clock.position);
    pen.put(style.patch(Theme::strong()), &position);
    let to = match clock.to {
        Some(to) => days.second(zone, to),
        // The recording was not read to its end yet.
        None => "…".to_owned(),
    };
    let from = days.second(zone, clock.from);
    pen.put(Style::new(), &format!(" of {from} – {to}, "));
    if clock.course != Course::Ended {
        pen.put(Style::new(), &format!("{}, ", clock.speed.name()));
    }
    pen.put(Style::new(), course);
    let Some(to) = clock.to else { return };
    let room = pen.left_over().saturating_sub(2);
    if room < BAR {
        return;
    }
    let span = (to.saturating_sub(clock.from)).max(1) as f64;
    let part = clock.position.saturating_sub(clock.from) as f64 / span;
    let filled = ((part * room as f64) as usize).min(room);
    pen.put(Style::new(), "  ");
    pen.put(style, &"■".repeat(filled));
    pen.put(Theme::dim(), &"·".repeat(room - filled));
}

/// Whether times are displayed with their dates.
struct Days(bool);

impl Days {
    fn of(zone: &Zone, clock: &Clock) -> Self {
        let day = |time| -> Date { zone.date(Moment(time)) };
        let first = day(clock.from);
        let others = [Some(clock.position), clock.to];
        Self(others.into_iter().flatten().any(|time| day(time) != first))
    }

    fn clock(&self, zone: &Zone, time: i64) -> String {
        let clock = zone.clock(Moment(time));
        if self.0 {
            format!("{} {clock}", zone.date(Moment(time)))
        } else {
            clock
        }
    }

    /// The time without fractions of a second.
    fn second(&self, zone: &Zone, time: i64) -> String {
        let clock = self.clock(zone, time);
        let end = clock.rfind('.').unwrap_or(clock.len());
        clock[..end].to_owned()
    }
}
