//! Points in time and spans of it, as they are written.

use std::fmt;

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// Unix time in ns; shown as RFC 3339 in UTC, always with nine decimals, so
/// that times sort as text.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    fn date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0))
            .expect("64 bits of nanoseconds reach from 1677 to 2262")
    }

    /// The time of day in UTC, to the millisecond.
    pub(super) fn clock(self) -> String {
        let (hour, minute, second, milli) = self.date_time().to_hms_milli();
        format!("{hour:02}:{minute:02}:{second:02}.{milli:03}")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.date_time();
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second, nano) = at.to_hms_nano();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nano:09}Z"
        )
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A span in ns; shown with two or three digits and its unit: `12.3 µs`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 3] = [("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

        let span = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        if span < 1_000 {
            return write!(f, "{sign}{span} ns");
        }
        for (name, unit) in UNITS {
            // Rounded before compared: 999.96 µs are 1.0 ms, not 1000 µs.
            let tenths = (span + unit / 20) / (unit / 10);
            if tenths < 1_000 {
                return write!(f, "{sign}{}.{} {name}", tenths / 10, tenths % 10);
            }
            let whole = (span + unit / 2) / unit;
            if whole < 1_000 || name == "s" {
                return write!(f, "{sign}{whole} {name}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, Span};

    #[test]
    fn moments_keep_every_nanosecond() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            Moment(1_767_225_599_000_000_120).to_string(),
            "2025-12-31T23:59:59.000000120Z"
        );
        assert_eq!(Moment(1_767_225_599_987_654_321).clock(), "23:59:59.987");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(Moment(extreme).to_string().ends_with('Z'));
        }
    }

    #[test]
    fn spans_round_into_the_next_unit() {
        for (ns, shown) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 µs"),
            (12_345, "12.3 µs"),
            (99_949, "99.9 µs"),
            (99_950, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.0 ms"),
            (-12_345_678, "-12.3 ms"),
            (1_500_000_000, "1.5 s"),
            (5_000_000_000_000, "5000 s"),
        ] {
            assert_eq!(Span(ns).to_string(), shown);
        }
        assert!(Span(i64::MIN).to_string().starts_with('-'));
    }
}
