//! The verdict on a journey: kind, confidence, cause, evidence.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Evidence, Outcome, Waits};
use crate::model::Cause;

/// What happened to a journey's packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The kind of verdict.
    pub kind: Kind,
    /// How sure the verdict is.
    pub confidence: Confidence,
    /// The cause, where one is known.
    pub cause: Option<Cause>,
    /// Index of the drop that decides, in [`crate::journey::Journey::drops`].
    pub drop: Option<usize>,
    /// What happened.
    pub outcome: Outcome,
    /// Who waits in vain, if that is known.
    pub waits: Option<Waits>,
    /// What the verdict rests on.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// Whether the verdict is `unknown` only because the follow began or ended.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.kind == Kind::Unknown
            && matches!(self.cause, Some(Cause::BeforeStart | Cause::StillOpen))
    }

    /// Whether this is a problem. Packets that arrived are not, nor are packets that left for a
    /// place without an agent. Packets that the follow's start or end cut off are no problem
    /// either.
    #[must_use]
    pub fn is_problem(&self) -> bool {
        match self.kind {
            Kind::Delivered => false,
            Kind::Left => self.cause.is_some(),
            _ => !self.is_cut_off(),
        }
    }
}

/// The kinds of verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The packet was seen at its destination, or at the last point before it.
    Delivered,
    /// A kernel dropped the packet.
    Dropped,
    /// A reset or an ICMP error went back to the sender.
    Refused,
    /// The packet vanished between two points that were both watched.
    Lost,
    /// The packet was delivered, and the answer that every receiver gives did not come.
    Unanswered,
    /// The packet went out towards a place without an agent.
    Left,
    /// Some bytes of TCP data, or some fragments, arrived, and others did not.
    Partial,
    /// Anything else. The evidence says what was not observed.
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
    /// Some evidence contradicts the verdict, or evidence that could is missing.
    Low,
    /// All observations agree.
    High,
    /// The destination itself was seen to have the packet.
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

/// How much of a journey arrived, and how much did not: in payload bytes for TCP data, else in
/// packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parts {
    /// All of the journey.
    pub sent: u64,
    /// The part that arrived.
    pub delivered: u64,
    /// The part that a kernel dropped, or that a receiver refused.
    pub dropped: u64,
    /// The part that vanished between two points.
    pub lost: u64,
    /// The rest.
    pub unknown: u64,
}
