//! What a verdict rests on.

use crate::model::Fact;

/// One thing that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// What an agent read when the packet was dropped.
    Fact(Fact),
    /// Anything else, in a sentence.
    Text(String),
}

impl Evidence {
    /// What is read of a drop.
    pub(super) fn facts(facts: &[Fact]) -> impl Iterator<Item = Self> {
        facts.iter().cloned().map(Self::Fact)
    }
}

impl From<String> for Evidence {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Evidence {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
