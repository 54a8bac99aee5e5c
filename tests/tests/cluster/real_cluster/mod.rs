//! What the cluster is, and what is followed in it.

// Agents in pods, and what is left of them.
mod agents;
// Objects that change, and an API server that is away for a while.
mod api;
// Clean traffic between pods: everything arrives, everything is seen.
mod clean;
// Flannel's entries, and how one sees that they are missing.
mod flannel;
// Agents in pods of an image that has tracer, and no shell.
mod image;
// Agents that go with the last pod of a node, and come back.
mod leaving;
// Programs of a node that are away while a follow runs.
mod nodes;
// The cluster is what the other tests take it for.
mod ready;
// The shipped roles, whole and with a rule less.
mod roles;
// What kube-proxy makes of packets to Services.
mod services;
