//! From batches to journeys and verdicts.

mod changes;
mod core;
mod ledger;
mod legs;
mod recorded;
mod witness;

pub use core::{Beginning, Core, unix};
