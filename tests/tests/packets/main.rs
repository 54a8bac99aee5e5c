//! Broken packets, of every kind that a network can have, during a follow of the pods whose
//! addresses they have. Each must end in the right counter or journey, and the sums must balance.
//! Good packets beside them must be seen to arrive as usual.

// Cases with their expected results.
mod case;
// Headers in page fragments, as some NICs deliver them.
mod fragments;
// Ethernet, IPv4, ARP and the transport headers, from a pod.
mod headers;
// IPv6 and its extension headers, from a pod.
mod ipv6;
// Frames of `frames.txt`, from the wire.
mod kept;
// Frames with random bytes changed, by the thousand.
mod mutations;
// Follows with frames that are sent meanwhile.
mod stage;
// VXLAN and IP-in-IP with cut or nested headers, from the wire.
mod tunnels;
// VLAN tags, in the frame and beside it.
mod vlan;
