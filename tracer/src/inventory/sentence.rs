//! Names in sentences.

use std::{borrow::Borrow, cmp::Reverse, time::Duration};

/// Limit of names in a sentence.
const MAX: usize = 5;

/// Least similarity of two names, out of 1000, for a suggestion.
const ALIKE: u32 = 700;

/// Joins names: `a`, `a and b`, `a, b and c`. The end of a long list is only counted.
pub(crate) fn list<S: Borrow<str>>(names: &[S], conjunction: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.borrow().to_owned(),
        [first @ .., last] if names.len() <= MAX => {
            format!("{} {conjunction} {}", first.join(", "), last.borrow())
        }
        _ => {
            let (shown, rest) = names.split_at(MAX);
            format!("{} {conjunction} {} more", shown.join(", "), rest.len())
        }
    }
}

/// An age in one unit: `3 days`, `1 hour`, `20 minutes`.
pub(super) fn age(age: Duration) -> String {
    let minutes = age.as_secs() / 60;
    let (number, unit) = match minutes {
        0..60 => (minutes.max(1), "minute"),
        60..2880 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// Up to three suggestions for `wanted`, the most similar first: names that begin with
/// `wanted`, as pods of a Deployment do, and similar names.
pub(crate) fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let likeness = |name: &str| match name.starts_with(wanted) {
        true => 1000,
        false => (strsim::normalized_damerau_levenshtein(wanted, name) * 1000.0) as u32,
    };
    let mut near: Vec<_> = names
        .map(|name| (Reverse(likeness(&name)), name))
        .filter(|(Reverse(likeness), _)| *likeness >= ALIKE)
        .collect();
    near.sort();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}
