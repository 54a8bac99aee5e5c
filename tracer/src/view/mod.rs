//! Views of journeys and drops: text for people, JSON for programs.
//!
//! People read a verdict on a terminal of 80 columns, and scripts read it by the names of its
//! fields. The verdict is decided before it comes here. A view compares, aligns and words, but
//! infers nothing. It writes to any [`std::io::Write`], with one write and one flush per call, so a
//! journey appears at once and whole.
//!
//! Invariant 6 (ARCHITECTURE.md): `verdict` decides, a view only shows.

mod contents;
mod dns;
mod drops;
pub(crate) mod evidence;
mod facts;
mod json;
pub(crate) mod legs;
pub(crate) mod live;
mod look;
mod moment;
pub(crate) mod outcome;
pub(crate) mod path;
pub(crate) mod places;
mod plan;
mod progress;
mod schema;
mod selected;
mod stats;
mod text;
pub(crate) mod translation;
mod words;

#[cfg(test)]
mod condensed_tests;
#[cfg(test)]
mod document_tests;
#[cfg(test)]
mod drops_tests;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod recordings_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod where_tests;
#[cfg(test)]
mod words_tests;

pub use contents::{contents_json, contents_text};
pub use drops::{Chosen, DropScene, DropView};
pub use json::Json;
pub(crate) use json::{drop_json, drop_known_by, evidence_json, facts_json, hop_json};
pub(crate) use live::{Clock, Course, Speed, Travels, Wish};
pub use live::{Kept, Live, Saver, Shown};
pub use look::Look;
pub(crate) use moment::Moment;
pub use plan::{plan_json, plan_text};
pub use progress::Progress;
pub(crate) use schema::{SCHEMAS, write_schema};
pub use stats::{stats_json, stats_text};
pub(crate) use text::doubts;
pub use text::{Condensed, Text};
pub(crate) use words::packet as packet_words;

/// The value of [`Point::netns`](tracer_core::model::Point::netns) for a node's host namespace. Any
/// other value is the name of a pod.
pub(crate) const HOST: &str = "host";
