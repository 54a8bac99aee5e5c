//! From a journey to what happened, with the evidence. Pure.

mod judge;
mod model;
mod nothing;
mod summary;
#[cfg(test)]
mod tests;

pub use judge::judge;
pub use model::{Confidence, Kind, Parts, Verdict};
pub use nothing::explain_nothing;
pub use summary::{Accounting, Place, Summary};
