//! What the cluster is, and what is followed in it.

// Clean traffic between pods: everything arrives, everything is seen.
mod clean;
// The cluster is what the other tests take it for.
mod ready;
