//! Turns the expression of `--where` into a selection.

use tracer_core::journal::{Query, Selection};

use crate::terminal::zone;

/// The journeys to show, and the limit of their number. Times of day in the query are in the zone
/// in which times are shown.
#[must_use]
pub fn selection(query: Option<&Query>, utc: bool, most: Option<u64>) -> Option<Selection> {
    query.map(|query| Selection {
        query: query.clone(),
        zone: zone(utc),
        most,
    })
}
