//! `tracer` on a real Kubernetes cluster, which `cargo xtask cluster` starts.

// The tests' names begin so: where there is no cluster, they are left out by it.
mod real_cluster;
