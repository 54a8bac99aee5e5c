//! `tracer follow` on the lab: real packets through a real kernel. The tests compare the program's
//! output with what is known to have happened.

// The fate of every event, compared with the kernel's own counts.
mod accounting;
// Questions without an answer, and the reasons.
mod answers;
// Routes that a daemon makes.
mod bgp;
// Pods with host routes.
mod calico;
// Traffic without a fault: everything arrives, everything is seen.
mod clean;
// Connection tracking besides translation.
mod conntrack;
// Services that lead nowhere, and the reasons.
mod dead_services;
// A pod's DNS queries and their answers.
mod dns;
// Names of addresses outside, from DNS answers.
mod dns_names;
// Containers behind a bridge, with the node's address.
mod docker;
// The expected points of a packet, by the lab's wiring.
mod expected;
// The features of this kernel.
mod features;
// Encryption between nodes by policies, without a device.
mod ipsec;
// Devices whose packets have no Ethernet header.
mod layer3;
// Follows between two machines, each with its own kernel.
mod machines_of_their_own;
// Rules that change packets on their way.
mod mangled;
// Large numbers of packets.
mod many;
// Large numbers of connections with a Service.
mod many_connections;
// Follows that start and end at different moments of the traffic.
mod moments;
// Nodes with more than one uplink, or with a device on top of it.
mod multihomed;
// Traffic between a pod and a node.
mod nodes;
// Programs that others attach while a follow runs.
mod others;
// Traffic that leaves the cluster, and traffic that comes in.
mod outside;
// Proxies that intercept packets.
mod proxies;
// Recordings for the replay tests.
mod recordings;
// Programs of other dataplanes that redirect packets past points.
mod redirects;
// Agents that are separate processes.
mod remote;
// Pods that restart, and devices that are replaced.
mod restarts;
// The followed packets, and the others.
mod selection;
// Packets to Services, before their translation and after it.
mod services;
// Other kinds of Services, and other ways to their endpoints.
mod service_kinds;
// Pods on their node's uplink itself.
mod shared;
mod ssh;
// Losses on the wire between nodes.
mod wire;
// Clean traffic over other wirings: with other tunnels, or none.
mod wirings;
// Points at XDP, before there is an sk_buff.
mod xdp;
// Places where XDP cannot be observed.
mod xdp_places;
