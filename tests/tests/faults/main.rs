//! Every fault that the lab can make, and what is said of it.
//!
//! What must be said stands in `tests/faults/linux-*.tsv`, written from the
//! kernel's source. `TRACER_FAULTS=WORD` leaves only faults with that word in
//! their names; `TRACER_FAULT_SEEDS=10` repeats each in as many labs;
//! `TRACER_FAULT_WIRINGS=all` makes each with all wirings that it makes sense with.

// Faults, families and seeds, one after the other.
mod cases;
// `tracer follow` on each of them, beside `tracer drops`.
mod journeys;
// What `tracer drops` said meanwhile: the kernel does what the table says.
mod kernel;
// Between nodes that are machines, each with a kernel of its own.
mod machines_of_their_own;
// Faults that come and go; agents and events that are missing.
mod moments;
// Less than root's rights, and kernels that tell less.
mod rights;
// The table is complete.
mod table;
// Runs `tracer drops`.
#[path = "../drops/watch.rs"]
mod watch;
