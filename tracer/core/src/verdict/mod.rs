//! From a journey to a verdict: what became of the packet, how sure that is, and the evidence.
//!
//! [`judge()`] asks in this order. What was seen decides first: an arrival, an answer, a drop, a
//! refusal (`fates`). Then comes what was not seen, but had to be (`absence`, `unanswered`). Such a
//! verdict needs proof that the next point works, and that no event was lost ([`Circumstances`],
//! `unseen`). Everything else is [`Kind::Unknown`], and the evidence says what was not observed
//! (`doubt`).
//!
//! A verdict has no text: `view` makes sentences of [`Outcome`] and [`Evidence`]. Pure.

mod absence;
mod case;
mod circumstances;
mod dns;
mod doubt;
mod drops;
mod evidence;
mod fates;
mod health;
mod judge;
mod latency;
mod model;
mod next;
mod next_hop;
mod nothing;
mod outcome;
mod receive;
mod rest;
mod stats;
mod summary;
#[cfg(test)]
mod tests;
mod translation;
mod tunnel;
mod twins;
mod unanswered;
mod unseen;

pub use circumstances::{Circumstances, Outer, Pattern, Silence, Sort, Where};
pub use dns::{Dns, RUN, Run};
pub use drops::{DropKind, Ports, Tally, classify};
pub use evidence::Evidence;
pub use health::{Rise, Rises};
pub use judge::judge;
pub use latency::latencies;
pub use model::{Confidence, Kind, Parts, Verdict};
pub use nothing::explain_nothing;
pub use outcome::{Leg, LegKind, Outcome, Station, Waits};
pub use stats::{Grouping, LatencyOf, LossOf, Stats};
pub use summary::{Accounting, DropAccounting, DropPlace, Place, Summary, Sums};
