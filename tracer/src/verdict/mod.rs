//! From a journey to what happened, with the evidence. Pure.

mod drops;
mod health;
mod judge;
mod model;
mod nothing;
mod summary;
#[cfg(test)]
mod tests;

pub use drops::{Class, DropKind, Judgement, Tally, classify};
pub use health::{Rise, Rises};
pub use judge::judge;
pub use model::{Confidence, Kind, Parts, Verdict};
pub use nothing::explain_nothing;
pub use summary::{Accounting, Place, Summary};
