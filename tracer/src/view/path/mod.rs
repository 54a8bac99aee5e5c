//! The path of the packets: the interfaces in the order in which packets pass them, with counts.
//!
//! The live view draws the path on a terminal, and the exported page draws it in a browser.

mod station;
mod tally;
mod way;

pub(crate) use station::{Passed, Station, name};
pub(crate) use tally::{At, Leg, Met, Problem, SECONDS, Spans, Tally, course};
pub(crate) use way::Way;
