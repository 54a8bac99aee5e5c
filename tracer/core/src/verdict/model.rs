//! What can be said of a journey.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Evidence, Outcome, Waits};
use crate::model::Cause;

/// What happened to a journey's packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub kind: Kind,
    /// How sure.
    pub confidence: Confidence,
    /// The cause, where one is known.
    pub cause: Option<Cause>,
    /// Which of [`crate::journey::Journey::drops`] decided.
    pub drop: Option<usize>,
    /// What happened.
    pub outcome: Outcome,
    /// Who waits in vain, if that is known.
    pub waits: Option<Waits>,
    /// What this rests on.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// Whether the follow's own beginning or end is why nothing is known.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.kind == Kind::Unknown
            && matches!(self.cause, Some(Cause::BeforeStart | Cause::StillOpen))
    }

    /// Whether somebody who looks for what is wrong wants to see it: neither what arrived,
    /// nor what left for where nobody looks, nor what the follow's beginning or end has cut off.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        match self.kind {
            Kind::Delivered => false,
            Kind::Left => self.cause.is_some(),
            _ => !self.is_cut_off(),
        }
    }
}

/// What can happen to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Seen at the last point before, or at, its destination.
    Delivered,
    /// A kernel dropped it.
    Dropped,
    /// A reset or an ICMP error told its sender that it was not taken.
    Refused,
    /// It vanished between two nodes that were both watched.
    Lost,
    /// Delivered, but what had to be answered was not.
    Unanswered,
    /// Went out towards a place without an agent.
    Left,
    /// Some bytes of TCP data, or some fragments, arrived, and others did not.
    Partial,
    /// Anything else: what was not observed is in the evidence.
    Unknown,
}

impl Kind {
    /// All, in the order of summaries.
    pub const ALL: [Self; 8] = [
        Self::Delivered,
        Self::Dropped,
        Self::Refused,
        Self::Lost,
        Self::Unanswered,
        Self::Left,
        Self::Partial,
        Self::Unknown,
    ];

    /// In one word, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::Lost => "lost",
            Self::Unanswered => "unanswered",
            Self::Left => "left",
            Self::Partial => "partial",
            Self::Unknown => "unknown",
        }
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Something speaks against it, or is missing that could.
    Low,
    /// All that was observed agrees.
    High,
    /// The destination itself was seen to have it.
    Confirmed,
}

impl Confidence {
    /// In one word, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Confirmed => "confirmed",
        }
    }
}

/// How much of a journey fared how: payload bytes of TCP data, packets else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parts {
    /// What was on its way.
    pub sent: u64,
    /// What arrived.
    pub delivered: u64,
    /// What a kernel dropped, or a receiver refused.
    pub dropped: u64,
    /// What vanished between two points.
    pub lost: u64,
    /// What nothing can be said of.
    pub unknown: u64,
}
