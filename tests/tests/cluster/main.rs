//! `tracer` on a real Kubernetes cluster, which `cargo xtask cluster` starts.

// The names of the tests begin with this module's name, by which a run without a cluster skips
// them.
mod real_cluster;
