//! What fuzz targets run.
//!
//! Whatever a sender writes into a packet, a ring buffer into a record, many
//! agents into what they tell, a collector into its commands, or anybody into a trace or a query,
//! there must be no panic and no unbounded memory, and what is always true must hold. Each function here takes any
//! bytes and panics if it does not. The targets in `fuzz/` call them with
//! what libFuzzer makes up; the tests here with what it found before, which
//! needs neither libFuzzer nor a nightly compiler.

mod commands;
mod decode;
mod journey;
mod query;
#[cfg(test)]
mod tests;
mod trace;
mod walk;

pub use self::{
    commands::commands, decode::decode, journey::journey, query::query, trace::trace, walk::walk,
};
