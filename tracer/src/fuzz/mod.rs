//! What fuzz targets run.
//!
//! Whatever a sender writes into a packet, a ring buffer into a record, many
//! agents into what they tell, or anybody into a trace, there must be no panic and no unbounded
//! memory, and what is always true must hold. Each function here takes any
//! bytes and panics if it does not. The targets in `fuzz/` call them with
//! what libFuzzer makes up; the tests here with what it found before, which
//! needs neither libFuzzer nor a nightly compiler.

mod decode;
mod journey;
#[cfg(test)]
mod tests;
mod trace;
mod walk;

pub use self::{decode::decode, journey::journey, trace::trace, walk::walk};
