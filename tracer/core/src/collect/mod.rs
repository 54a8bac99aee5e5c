//! Turns batches into journeys and verdicts.

mod asked;
mod changes;
mod core;
mod gaps;
mod ledger;
mod legs;
mod streams;
mod witness;

pub use core::{Beginning, Core, unix};
