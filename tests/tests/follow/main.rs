//! `tracer follow` on the lab: real packets through a real kernel, and what
//! the program says of them against what is known to have happened.

// Where every event went, against the kernel's own counts.
mod accounting;
// Questions that nobody answers, and why.
mod answers;
// Routes that a daemon makes.
mod bgp;
// Pods with routes of their own.
mod calico;
// Traffic without a fault: everything arrives, everything is seen.
mod clean;
// What connection tracking does besides translating.
mod conntrack;
// Services that lead nowhere, and why.
mod dead_services;
// What a pod asks DNS, and what it hears.
mod dns;
// Containers behind a bridge, with the node's address.
mod docker;
// Where a packet must be seen on its way, from how the lab is wired.
mod expected;
// What the kernel gives.
mod features;
// What nodes encrypt by policies, without a device.
mod ipsec;
// Devices whose packets have no Ethernet header.
mod layer3;
// Between nodes that are machines, each with a kernel of its own.
mod machines_of_their_own;
// Rules that change packets on their way.
mod mangled;
// More packets than anybody looks at.
mod many;
// More connections with a Service than anybody looks at.
mod many_connections;
// When the program starts and ends, relative to the traffic.
mod moments;
// Nodes with more than one uplink, or something on top of it.
mod multihomed;
// Between a pod and a node.
mod nodes;
// Programs that others attach while a follow runs.
mod others;
// What goes out of the cluster, and what comes in.
mod outside;
// Proxies that take packets on their way.
mod proxies;
// Recordings for the replay tests.
mod recordings;
// Programs of other dataplanes that take packets past points.
mod redirects;
// Agents that are processes of their own.
mod remote;
// Pods that restart, and devices that are made anew.
mod restarts;
// What is followed, and what is not.
mod selection;
// What is sent to Services, before its translation and after it.
mod services;
// Other kinds of Services, and other ways to their endpoints.
mod service_kinds;
// Pods that send by their node's uplink itself.
mod shared;
mod ssh;
// What the wire between nodes loses.
mod wire;
// The same over other wirings: other tunnels, none.
mod wirings;
// Before there is an sk_buff.
mod xdp;
// Where that cannot be observed.
mod xdp_places;
