//! Ranges of numbers, and spans and points of time.

use jiff::{Timestamp, civil::Time};

use super::{
    super::{
        error::{QueryError, Wrong},
        model::{Limit, Period, Span, UNITS},
        words::{Char, text},
    },
    refuse,
};

/// What is before `..`, and behind it.
fn range(value: &[Char]) -> Option<(&[Char], &[Char])> {
    let at = value
        .windows(2)
        .position(|pair| pair[0].is('.') && pair[1].is('.'))?;
    Some((&value[..at], &value[at + 2..]))
}

/// A number up to `most`, or a range of such.
pub(super) fn number(
    value: &[Char],
    what: &'static str,
    example: &'static str,
    most: u64,
) -> Result<Span, QueryError> {
    let wrong = || refuse(value, Wrong::Value { what, example });
    let one = |digits: &[Char]| {
        let digits = text(digits);
        let is_number = digits.chars().all(|c| c.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| *number <= most);
        number.filter(|_| is_number).ok_or_else(wrong)
    };
    let end = |digits: &[Char], open| match digits {
        [] => Ok(open),
        digits => one(digits),
    };
    let span = match (value, range(value)) {
        (_, Some(([], []))) => return Err(wrong()),
        (_, Some((from, to))) => Span {
            from: end(from, 0)?,
            to: end(to, u64::MAX)?,
        },
        ([sign, digits @ ..], _) if sign.is('>') => Span {
            from: one(digits)?.checked_add(1).ok_or_else(wrong)?,
            to: u64::MAX,
        },
        ([sign, digits @ ..], _) if sign.is('<') => Span {
            from: 0,
            to: one(digits)?.checked_sub(1).ok_or_else(wrong)?,
        },
        (digits, None) => {
            let number = one(digits)?;
            Span {
                from: number,
                to: number,
            }
        }
    };
    if span.from > span.to {
        return Err(refuse(value, Wrong::Backwards));
    }
    Ok(span)
}

/// `>1ms` or `<10ms`.
pub(super) fn limit(value: &[Char]) -> Result<Limit, QueryError> {
    let (sign, time) = value.split_first().expect("who calls has seen the sign");
    let span = span(&text(time)).ok_or_else(|| {
        refuse(
            value,
            Wrong::Value {
                what: "a duration",
                example: ">1ms or <10ms",
            },
        )
    })?;
    Ok(if sign.is('>') {
        Limit::Over(span)
    } else {
        Limit::Under(span)
    })
}

/// A number, with decimals or without, and its unit.
fn span(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "µs" | "μs" => "us",
        unit => unit,
    };
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |digits: &str| digits.chars().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(decimals) || decimals.len() > 9 {
        return None;
    }
    let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
    let part = u128::from(decimals.parse::<u64>().ok()?) * u128::from(*unit) / u128::from(scale);
    let whole = whole.parse::<u64>().ok()?.checked_mul(*unit)?;
    whole.checked_add(u64::try_from(part).ok()?)
}

/// From one time to another.
pub(super) fn period(value: &[Char]) -> Result<Period, QueryError> {
    let wrong = || {
        refuse(
            value,
            Wrong::Value {
                what: "a period",
                example: "12:34:00..12:35:00 or 2026-03-01T12:34:00Z..",
            },
        )
    };
    let (from, to) = range(value).ok_or_else(wrong)?;
    let (from, to) = (text(from), text(to));
    if from.is_empty() && to.is_empty() {
        return Err(wrong());
    }
    // A date has more than the digits of a clock.
    let has_date = [&from, &to]
        .into_iter()
        .any(|time| time.contains(['t', 'T']));
    if has_date {
        let end = |time: &str| match time {
            "" => Ok(None),
            time => time.parse::<Timestamp>().map(Some).map_err(|_| wrong()),
        };
        let (from, to) = (end(&from)?, end(&to)?);
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(refuse(value, Wrong::Backwards));
        }
        return Ok(Period::Once(from, to));
    }
    let end = |time: &str, open| match time {
        "" => Ok(open),
        time => clock(time).ok_or_else(wrong),
    };
    Ok(Period::Daily(end(&from, Time::MIN)?, end(&to, Time::MAX)?))
}

/// A time of day: `12:34`, `12:34:56` or with decimals.
fn clock(time: &str) -> Option<Time> {
    let is_clock = time.contains(':') && !time.contains(|c: char| !"0123456789:.".contains(c));
    time.parse().ok().filter(|_| is_clock)
}
