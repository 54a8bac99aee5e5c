//! How many journeys `--where` selected.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::journal::Selected;

/// How many journeys `--where` selected, and of how many.
#[derive(JsonSchema, Serialize)]
pub(super) struct Where<'a> {
    /// The expression that `--where` was given.
    query: &'a str,
    /// Number of journeys that match.
    matching: u64,
    /// Number of all journeys.
    of: u64,
}

impl<'a> Where<'a> {
    pub(super) fn new(selected: &'a Selected) -> Self {
        let Selected {
            query,
            matching,
            of,
        } = selected;
        Self {
            query,
            matching: *matching,
            of: *of,
        }
    }
}

/// The same in a sentence. `number` formats the numbers.
pub(super) fn sentence(selected: &Selected, number: impl Fn(u64) -> String) -> String {
    let Selected {
        query,
        matching,
        of,
    } = selected;
    let (journeys, verb) = match of {
        1 => ("journey", "matches"),
        _ => ("journeys", "match"),
    };
    let [matching, of] = [*matching, *of].map(number);
    format!("{matching} of {of} {journeys} {verb} --where '{query}'.")
}
