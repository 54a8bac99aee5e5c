//! From what is asked for with `--where` to what is selected.

use tracer_core::journal::{Query, Selection};

use crate::terminal::zone;

/// Which journeys to show, and after how many of them no more. Times of day are meant
/// as times are shown.
#[must_use]
pub fn selection(query: Option<&Query>, utc: bool, most: Option<u64>) -> Option<Selection> {
    query.map(|query| Selection {
        query: query.clone(),
        zone: zone(utc),
        most,
    })
}
