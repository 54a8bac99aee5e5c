//! `tracer drops` on the lab: packets that the kernel dropped, and packets that it only freed.
//!
//! The expected drops are in a table written from the kernel's source, never from the program's
//! output.

// Traffic without a fault: the kernel frees many packets, and none is lost.
mod clean;
// Faults, each with its expected drop.
mod faults;
// The facts that the agent reads after a drop.
mod facts;
// Pods that restart during a watch.
mod restarts;
// Frames whose headers are not read.
mod unread;
// Runs the program and reads its lines.
mod watch;
