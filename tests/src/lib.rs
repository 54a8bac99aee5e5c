//! A cluster's network for tests, made of network namespaces on one kernel in less than a second,
//! with real traffic. The integration tests, the benchmark and the demo use this crate.
//!
//! - [`lab`] builds nodes and pods wired as Flannel or Calico wire them, and takes them
//!   down again whatever happens.
//! - [`netns`] runs closures and programs inside of network namespaces.
//! - [`traffic`] sends the packets of programs in pods, and counts what arrives.
//! - [`program`] runs `tracer` and reads its output.
//! - [`faults`] breaks the network, in every way that we know.
//! - [`bpf`] attaches programs as other dataplanes do.
//! - [`rights`] runs programs with fewer rights, or on a kernel that tells less.
//! - [`examples`] finds the command lines in the documentation and the help.
//! - [`cluster`] uses a real Kubernetes, if `cargo xtask cluster` has started one.
//! - [`machines`] reaches nodes that are separate machines, if `cargo xtask machines` has
//!   started some.
//! - [`raw`] sends broken frames, which no program in a pod sends.
//!
//! The crate must not depend on `tracer`. It knows the truth about a network, with which tests
//! compare tracer's output.

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
