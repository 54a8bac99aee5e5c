//! What verdicts rest on, in sentences.

use tracer_core::verdict::Evidence;

use super::facts;

/// Evidence in a sentence.
pub(crate) fn sentence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Fact(fact) => facts::sentence(fact),
        Evidence::Text(text) => text.clone(),
    }
}
