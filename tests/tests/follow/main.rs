//! `tracer follow` on the lab: real packets through a real kernel, and what
//! the program says of them against what is known to have happened.

// Where every event went, against the kernel's own counts.
mod accounting;
// Questions that nobody answers, and why.
mod answers;
// Traffic without a fault: everything arrives, everything is seen.
mod clean;
// Where a packet must be seen on its way, from how the lab is wired.
mod expected;
// What nodes encrypt by policies, without a device.
mod ipsec;
// Devices whose packets have no Ethernet header.
mod layer3;
// When the program starts and ends, relative to the traffic.
mod moments;
// Between a pod and a node.
mod nodes;
// What is followed, and what is not.
mod selection;
// The same over other wirings: without a bridge, other tunnels, none.
mod wirings;
