//! `tracer drops` on the lab: what the kernel gave up, and what it only freed.
//!
//! What a fault must show stands in a table written from the kernel's source,
//! never from the program's output.

// Traffic without a fault: much is freed, nothing is lost.
mod clean;
// Faults, each with what it must show.
mod faults;
// What the agent reads when a packet was dropped.
mod facts;
// Pods that restart meanwhile.
mod restarts;
// The program and its lines.
mod watch;
