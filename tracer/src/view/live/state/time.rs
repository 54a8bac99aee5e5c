//! The time that a person wants to move to.

use jiff::{SignedDuration, Timestamp, civil::Time};
use tui_input::Input;

use super::{State, Typing, What};
use crate::view::{
    live::travel::{Clock, Wish},
    moment::{Moment, Zone},
};

impl State {
    /// Whether the view can be moved in time.
    pub(in crate::view::live) const fn is_movable(&self) -> bool {
        self.source.wishes.is_some()
    }

    /// Sends a wish to the replay.
    pub(super) fn wish(&mut self, wish: Wish) {
        self.answer = None;
        if let Some(wishes) = &self.source.wishes {
            // If the replay has failed, it has already said so.
            let _: Result<(), _> = wishes.send(wish);
        }
    }

    /// Asks for a time.
    pub(super) fn ask_for_time(&mut self) {
        self.typing = Some(Typing {
            input: Input::default(),
            wrong: None,
            what: What::Time,
        });
    }

    /// Moves to the typed time.
    pub(super) fn go_to_time(&mut self) {
        let Some(typing) = &mut self.typing else {
            return;
        };
        let Some(clock) = &self.known.clock else {
            typing.wrong = Some("not begun yet: try again".to_owned());
            return;
        };
        match wanted(typing.input.value().trim(), clock, &self.zone) {
            Ok(wish) => {
                self.typing = None;
                self.wish(wish);
            }
            Err(wrong) => typing.wrong = Some(wrong),
        }
    }
}

/// The wish that a text stands for.
fn wanted(text: &str, clock: &Clock, zone: &Zone) -> Result<Wish, String> {
    if let Some(percent) = text.strip_suffix('%') {
        return match percent.trim().parse::<f64>() {
            Ok(_) if clock.to.is_none() => {
                Err("the end is not known yet: `$` reads up to it".to_owned())
            }
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Wish::Part(percent / 100.0)),
            _ => Err("not from 0% to 100%".to_owned()),
        };
    }
    if text.starts_with(['+', '-']) {
        let span = text.parse::<SignedDuration>().ok();
        let span = span.and_then(|span| i64::try_from(span.as_nanos()).ok());
        return match span {
            Some(span) => Ok(Wish::By(span)),
            None => Err(format!("`{text}` is no span of time: +30s, -1m, +1h30m")),
        };
    }
    let time = if let Ok(time) = text.parse::<Timestamp>() {
        i64::try_from(time.as_nanosecond()).ok()
    } else {
        text.parse::<Time>()
            .ok()
            .and_then(|time| on_its_day(time, clock, zone))
    };
    let Some(time) = time else {
        return Err(format!("`{text}` is no time: 12:01:04, +30s, -1m, 50%"));
    };
    let is_inside = clock.from <= time && clock.to.is_none_or(|to| time <= to);
    if is_inside {
        Ok(Wish::To(time))
    } else {
        Err("the recording has nothing of that time".to_owned())
    }
}

/// A time of day as Unix time, ns. If the recording has several days, the day nearest to the
/// replay's position counts.
fn on_its_day(time: Time, clock: &Clock, zone: &Zone) -> Option<i64> {
    // Times are displayed in milliseconds. So the recording may begin a little after the displayed
    // time of its beginning.
    let last = clock.to.unwrap_or(clock.position);
    let first = zone.date(Moment(clock.from));
    let days = first.series(jiff::Span::new().days(1));
    let days = days.take_while(|day| *day <= zone.date(Moment(last)));
    let times = days.filter_map(|day| {
        let at = day.to_datetime(time).to_zoned(zone.0.clone()).ok()?;
        i64::try_from(at.timestamp().as_nanosecond()).ok()
    });
    let shown = |time: i64| time.div_euclid(1_000_000_000);
    let times = times.map(|time| {
        if time < clock.from && shown(time) == shown(clock.from) {
            clock.from
        } else {
            time
        }
    });
    times.min_by_key(|time| {
        let is_outside = *time < clock.from || *time > last;
        (is_outside, time.abs_diff(clock.position))
    })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::view::live::travel::{Course, Speed};

    const S: i64 = 1_000_000_000;

    /// A replay from 23:59:00.5 to 00:01:00 of the next day.
    fn clock() -> Clock {
        let midnight = 1_767_225_600 * S;
        Clock {
            position: midnight,
            from: midnight - 60 * S + S / 2,
            to: Some(midnight + 60 * S),
            speed: Speed::NORMAL,
            course: Course::Paused,
        }
    }

    fn text(text: &str) -> String {
        let begin = clock().position;
        match wanted(text, &clock(), &Zone(TimeZone::UTC)) {
            Ok(Wish::To(time)) => format!("to {} ms", (time - begin) / 1_000_000),
            Ok(Wish::By(span)) => format!("by {} ms", span / 1_000_000),
            Ok(Wish::Part(part)) => format!("part {part}"),
            Ok(other) => format!("{other:?}"),
            Err(wrong) => wrong,
        }
    }

    #[test]
    fn times_are_read_as_they_are_shown() {
        assert_eq!(text("23:59:30"), "to -30000 ms");
        assert_eq!(text("00:00:04.100"), "to 4100 ms");
        assert_eq!(text("00:00"), "to 0 ms");
        // The recording's beginning, as displayed.
        assert_eq!(text("23:59:00"), "to -59500 ms");
        assert_eq!(text("2026-01-01T00:00:01Z"), "to 1000 ms");
        assert_eq!(text("+30s"), "by 30000 ms");
        assert_eq!(text("-1m"), "by -60000 ms");
        assert_eq!(text("-1m 500ms"), "by -60500 ms");
        assert_eq!(text("50%"), "part 0.5");
    }

    #[test]
    fn what_is_no_time_is_said() {
        assert_eq!(text("12:00"), "the recording has nothing of that time");
        assert_eq!(
            text("2027-01-01T00:00:00Z"),
            "the recording has nothing of that time"
        );
        assert_eq!(text("101%"), "not from 0% to 100%");
        assert_eq!(text("noon"), "`noon` is no time: 12:01:04, +30s, -1m, 50%");
        assert_eq!(text("+x"), "`+x` is no span of time: +30s, -1m, +1h30m");
        let reading = Clock {
            to: None,
            ..clock()
        };
        let wrong = wanted("50%", &reading, &Zone(TimeZone::UTC)).expect_err("no end");
        assert!(wrong.contains("not known yet"), "{wrong}");
    }
}
