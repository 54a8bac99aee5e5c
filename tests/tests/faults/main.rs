//! Every fault that the lab can make, with its verdicts.
//!
//! The expected verdicts are in `tests/faults/linux-*.tsv`, written from the kernel's source.
//! `TRACER_FAULTS=WORD` selects faults by a word in their names. `TRACER_FAULT_SEEDS=10` makes each
//! fault in that many labs. `TRACER_FAULT_WIRINGS=all` makes each fault in all wirings in which it
//! makes sense.

// Goes through faults, families and seeds.
mod cases;
// `tracer follow` on each fault, beside `tracer drops`.
mod journeys;
// The output of `tracer drops` meanwhile: the kernel does what the table says.
mod kernel;
// Faults between two machines, each with its own kernel.
mod machines_of_their_own;
// Faults that come and go; missing agents and lost events.
mod moments;
// Faults with less than root's rights, and on kernels that tell less.
mod rights;
// The table is complete.
mod table;
// Runs `tracer drops`.
#[path = "../drops/watch.rs"]
mod watch;
