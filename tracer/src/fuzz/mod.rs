//! The functions that fuzz targets run.
//!
//! tracer reads bytes that others write: packets, ring buffer records, agents' messages, commands,
//! recordings and queries. No input may cause a panic or unbounded memory, and the invariants must
//! hold for each input. Each function here takes any bytes, and panics if an invariant breaks. The
//! targets in `fuzz/` call these functions with libFuzzer's inputs. The tests here call them with
//! the inputs that libFuzzer found before, so they need neither libFuzzer nor a nightly compiler.

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
