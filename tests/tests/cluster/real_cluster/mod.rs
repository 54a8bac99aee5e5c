//! The cluster's state, and follows in it.

// Agents in pods, and their remains.
mod agents;
// Objects that change, and an API server that is away for a while.
mod api;
// Clean traffic between pods: everything arrives, everything is seen.
mod clean;
// A node that is drained.
mod drain;
// Drops of pods that appear and move while they are watched.
mod drops;
// Flannel's entries, and the verdicts if they are missing.
mod flannel;
// Agents in pods of an image that has tracer, and no shell.
mod image;
// Agents that leave a node after its last end is gone, and come back.
mod leaving;
// Programs of a node that are stopped during a follow.
mod nodes;
// The state of the cluster that the other tests assume.
mod ready;
// The shipped roles, complete and with a rule missing.
mod roles;
// kube-proxy's translation of packets to Services.
mod services;
