//! Points in time and time spans, as views write them.

use std::{borrow::Cow, fmt};

use jiff::{
    Timestamp,
    civil::Date,
    tz::{Offset, TimeZone},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// The time zone of text. JSON has times in UTC in any zone.
#[derive(Clone, Debug)]
pub(super) struct Zone(pub(super) TimeZone);

impl Zone {
    pub(super) const UTC: Self = Self(TimeZone::UTC);

    /// The name of the zone at a time: `UTC`, `CET (UTC+01:00)`.
    pub(super) fn name(&self, at: Moment) -> String {
        let info = self.0.to_offset_info(at.timestamp());
        let offset = info.offset();
        // Zones whose abbreviation has no letters, such as `+03`, are named by their offset.
        match info.abbreviation() {
            "UTC" => "UTC".to_owned(),
            name if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("{name} (UTC{})", Difference(offset))
            }
            _ => format!("UTC{}", Difference(offset)),
        }
    }

    /// The time of day, with milliseconds.
    pub(super) fn clock(&self, at: Moment) -> String {
        let time = self.0.to_datetime(at.timestamp()).time();
        format!(
            "{:02}:{:02}:{:02}.{:03}",
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }

    /// The date.
    pub(super) fn date(&self, at: Moment) -> Date {
        self.0.to_datetime(at.timestamp()).date()
    }

    /// Date and time for the name of a file: `20260301-123456`.
    pub(super) fn file_name(&self, at: Moment) -> String {
        let time = self.0.to_datetime(at.timestamp());
        time.strftime("%Y%m%d-%H%M%S").to_string()
    }

    /// Date and time in RFC 3339 format, with this zone's offset and nine decimals.
    pub(super) fn date_time(&self, at: Moment) -> String {
        let at = at.timestamp();
        let offset = self.0.to_offset(at);
        let end = match offset {
            Offset::UTC => "Z".to_owned(),
            offset => Difference(offset).to_string(),
        };
        format!("{}{end}", Local(self.0.to_datetime(at)))
    }
}

/// An offset from UTC: `+01:00`.
struct Difference(Offset);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// Date and time without a zone.
struct Local(jiff::civil::DateTime);

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at) = self;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.subsec_nanosecond()
        )
    }
}

/// Unix time in ns. Displayed in RFC 3339 format in UTC, always with nine decimals, so that times
/// sort as text.
#[derive(Clone, Copy)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    fn timestamp(self) -> Timestamp {
        Timestamp::from_nanosecond(self.0.into())
            .expect("64 bits of nanoseconds reach from 1677 to 2262")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Zone::UTC.date_time(*self))
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "RFC 3339, in UTC, with nine decimals",
            "type": "string",
            "format": "date-time",
            "pattern": r"\.[0-9]{9}Z$",
        })
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A time span in ns. Displayed with two or three digits and its unit: `12.3 µs`.
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
            // Round before the comparison: 999.96 µs are 1.0 ms, not 1000 µs.
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
    use jiff::tz::TimeZone;

    use super::{Moment, Span, Zone};

    #[test]
    fn moments_keep_every_nanosecond() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            Moment(1_767_225_599_000_000_120).to_string(),
            "2025-12-31T23:59:59.000000120Z"
        );
        for extreme in [i64::MIN, i64::MAX] {
            assert!(Moment(extreme).to_string().ends_with('Z'));
        }
    }

    #[test]
    fn times_are_the_zones_and_say_so() {
        let new_year = Moment(1_767_225_599_987_654_321);
        assert_eq!(Zone::UTC.clock(new_year), "23:59:59.987");
        assert_eq!(Zone::UTC.name(new_year), "UTC");
        // Central European Time, which has an hour more in summer.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule");
        let zone = Zone(zone);
        assert_eq!(zone.clock(new_year), "00:59:59.987");
        assert_eq!(zone.name(new_year), "CET (UTC+01:00)");
        assert_eq!(
            zone.date_time(new_year),
            "2026-01-01T00:59:59.987654321+01:00"
        );
        let summer = Moment(1_782_864_000_000_000_000);
        assert_eq!(zone.name(summer), "CEST (UTC+02:00)");
        let nameless = Zone(TimeZone::posix("<-0330>3:30").expect("a rule"));
        assert_eq!(nameless.name(summer), "UTC-03:30");
        for extreme in [i64::MIN, i64::MAX] {
            assert!(zone.date_time(Moment(extreme)).contains('T'));
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
