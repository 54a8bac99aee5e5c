//! Packets can only be followed where there are packets. This crate makes a
//! cluster's network out of nothing but network namespaces, on one kernel, in
//! less than a second, and moves real traffic through it; the integration
//! tests, the benchmark and the demo stand on it.
//!
//! - [`lab`] builds nodes and pods wired as Flannel or Calico wire them, and takes them
//!   down again whatever happens.
//! - [`netns`] runs closures and programs inside one of them.
//! - [`traffic`] sends what programs in pods send, and counts what arrives.
//! - [`program`] runs `tracer` and reads what it prints.
//! - [`faults`] breaks it, in every way that we know.
//! - [`bpf`] attaches programs as other dataplanes do.
//! - [`rights`] runs programs that may do, or are told, less than others.
//! - [`examples`] finds the command lines in the documentation and the help.
//! - [`cluster`] asks a real Kubernetes, where `cargo xtask cluster` has started one.
//! - [`machines`] reaches nodes that are machines of their own, where `cargo xtask machines`
//!   has started some.
//! - [`raw`] sends what no program in a pod would: broken frames.
//!
//! It must not depend on `tracer`: it says what is true about a network, so
//! that tests can compare that with what the tracer says.

pub mod bpf;
pub mod cluster;
pub mod examples;
pub mod faults;
pub mod frames;
pub mod lab;
pub mod machines;
pub mod netns;
pub mod process;
pub mod program;
pub mod raw;
pub mod rights;
pub mod rng;
pub mod traffic;

pub use lab::{
    External, Lab, LabSpec, Names, Node, Outside, Pairs, Pod, Proxy, Service, ServicePort, Tunnel,
    Uplinks, Wiring,
};
pub use machines::{Machine, Machines};
pub use netns::Netns;
pub use process::Process;
pub use program::Tracer;
