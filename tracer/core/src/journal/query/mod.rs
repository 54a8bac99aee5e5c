//! The language of `--where`, which selects journeys.
//!
//! ```text
//! text ──words──► tokens ──parse, values──► Expr ──matches──► yes or no
//! ```
//!
//! `docs/where.md` has the grammar. Other input is refused, with the word and its position,
//! because a silently wrong filter hides the packet that somebody looks for. [`Query`]'s
//! display is a text with the same meaning.

mod display;
mod error;
mod matches;
mod model;
mod narrow;
mod parse;
#[cfg(test)]
mod tests;
mod values;
mod words;

use std::str::FromStr;

use jiff::tz::TimeZone;

pub use self::error::{QueryError, Wrong};
use self::{matches::Seen, model::Expr};
use crate::{
    journey::{Journey, Scene},
    verdict::Verdict,
};

/// A condition on journeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query(Expr);

impl Query {
    /// Whether a journey matches. Times of day are in the time zone `zone`.
    #[must_use]
    pub fn matches(
        &self,
        scene: &Scene,
        zone: &TimeZone,
        journey: &Journey,
        verdict: &Verdict,
    ) -> bool {
        let seen = Seen {
            scene,
            zone,
            journey,
            verdict,
        };
        seen.fits(&self.0)
    }
}

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        parse::parse(text).map(Self)
    }
}
