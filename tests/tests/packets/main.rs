//! Broken packets, of every kind that a network can hold, while the program
//! follows the pods that they claim to be between. Each must end in the right
//! counter or journey, the accounting must balance, and good packets beside
//! them must be seen to arrive as ever.

// Cases, and what is expected of them.
mod case;
// Headers in page fragments, as NICs that split headers deliver them.
mod fragments;
// Ethernet, IPv4, ARP and the transport headers, from a pod.
mod headers;
// IPv6 and its extension headers, from a pod.
mod ipv6;
// Frames of `frames.txt`, from the wire.
mod kept;
// Frames with random bytes changed, by the thousand.
mod mutations;
// Follows, and frames that are sent meanwhile.
mod stage;
// VXLAN and IP-in-IP that are cut short or nested, from the wire.
mod tunnels;
// VLAN tags, in the frame and beside it.
mod vlan;
