//! `cargo xtask`: each task of the project as one command.
//!
//! A fresh machine has neither a compiler for kernel programs nor the programs that the lab runs.
//! Every task therefore first provides what it needs. This program must compile before these are
//! there, so it does not depend on `tracer`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod beside;
mod check;
mod ci;
mod circles;
mod cluster;
mod command;
mod demo;
mod dist;
mod elsewhere;
mod fixtures;
mod fuzz;
mod image;
mod kernels;
mod lint;
mod mutants;
mod nightly;
mod setup;
mod soak;
mod tally;
mod toolchain;

/// Development tasks of tracer, one command each.
///
/// Every task sets up what it needs itself: nothing has to be run before it.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "\
Examples:
  cargo xtask demo               see tracer follow packets, on a network made for it
  cargo xtask build              target/dist/tracer, which runs anywhere
  cargo xtask test               all tests; as root, for they make network namespaces
  cargo xtask test -- vxlan      the tests that have `vxlan` in their name"
)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing: programs, BPF toolchain, bpf-linker
    ///
    /// Prefers a nightly toolchain that has rust-src; otherwise installs the
    /// distribution's Rust and LLVM and links them to rustup as `bpf`. Installs
    /// packages only as root. Asks nothing, and does nothing the second time.
    #[command(after_help = "\
Examples:
  cargo xtask setup
  TRACER_BPF_TOOLCHAIN=nightly-2026-05-16 cargo xtask setup    with that toolchain, not another")]
    Setup,
    /// Build tracer as one static file that runs on any distribution: target/dist/tracer
    ///
    /// The file is linked with musl, or with the GNU C library if rustup has no target for musl.
    /// The command runs the file in an empty folder, and the command prints its size. The file contains
    /// a smaller program for nodes without tracer, the agent: target/dist/tracer-agent-ARCH.
    #[command(after_help = "Example:\n  cargo xtask build && target/dist/tracer version")]
    Build,
    /// Make a container image with tracer's agent and nothing else: target/dist/tracer.oci.tar
    ///
    /// Makes an OCI archive of the agent that `build` makes, for `tracer follow --agent-image`. The
    /// image has no shell and no base image, and needs no container engine. The same file makes the
    /// same archive. The command prints the name and the size.
    #[command(after_help = "\
Examples:
  cargo xtask image
  skopeo copy oci-archive:target/dist/tracer.oci.tar docker://registry.example/tracer:0.1.0
  ctr -n k8s.io images import target/dist/tracer.oci.tar    on each node, without a registry")]
    Image,
    /// Follow pings and TCP connections over a network made for it (root)
    ///
    /// Makes a cluster of two nodes out of network namespaces, wired as Flannel
    /// does it. Pings and TCP connections go from a pod of one node to a pod of
    /// the other, and `tracer follow` shows them. The command removes everything
    /// at the end; Ctrl-C ends earlier.
    #[command(after_help = "\
Examples:
  cargo xtask demo
  cargo xtask demo --count 50           longer
  TRACER_LAB_SEED=7 cargo xtask demo    the same network each time")]
    Demo(demo::Options),
    /// Run all tests (root)
    #[command(after_help = "\
Examples:
  cargo xtask test
  cargo xtask test -- vxlan --nocapture    what follows `--` goes to the test programs")]
    Test {
        /// For the test programs: names of tests, and their options
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Record the replay fixtures again, with their expected verdicts (root)
    ///
    /// Runs the lab's faults and clean traffic, keeps their recordings in
    /// tests/fixtures, and writes the replay's text beside each. Wirings with
    /// devices that not every kernel has are recorded in a virtual machine, as
    /// `cargo xtask kernels` boots one. Read the difference before you commit it.
    #[command(after_help = "\
Examples:
  cargo xtask fixtures && git diff tests/fixtures
  cargo xtask fixtures --only machine")]
    Fixtures(fixtures::Options),
    /// Run tests of the lab on other kernels, each in a virtual machine
    ///
    /// The kernels are Debian's, and are fetched through apt the first time:
    /// 6.12 is that of its release 13, newest that of unstable. Without names of
    /// tests, those run that the machine's own kernel may not be able to. Kernels
    /// and images are kept in the user's cache directory, in `tracer`.
    #[command(after_help = "\
Examples:
  cargo xtask kernels
  cargo xtask kernels 6.12 newest
  cargo xtask kernels newest -- pods_own --nocapture")]
    Kernels(kernels::Options),
    /// Run tests of the lab between two machines, each with a kernel of its own
    ///
    /// Each is a virtual machine that plays one node with its pods, and a wire joins them.
    /// The tests run outside, where `tracer` needs no root, and reach the agents by serial
    /// lines. Kernels are those of `cargo xtask kernels`.
    #[command(after_help = "\
Examples:
  cargo xtask machines
  cargo xtask machines 5.10 newest
  TRACER_PACKETS=2000 cargo xtask machines 6.1 6.12 --wiring calico -- many_packets")]
    Machines(kernels::nodes::Options),
    /// Build, start, take down and test a Kubernetes cluster on this machine
    ///
    /// Three nodes with containerd, kubelet, flanneld and kube-proxy, each in
    /// namespaces of its own, and etcd and the API server in others. Its programs
    /// are compiled once, which takes most of an hour, and kept in the user's cache
    /// directory, in `tracer/cluster`. None of its packets leaves its namespaces.
    #[command(after_help = "\
Examples:
  cargo xtask cluster build
  cargo xtask cluster up
  cargo xtask cluster test
  cargo xtask cluster down")]
    Cluster {
        /// What is done with it
        #[command(subcommand)]
        task: cluster::Task,
    },
    /// Measure: ns per packet, throughput, start and exit (root)
    #[command(after_help = "\
Examples:
  cargo xtask bench
  cargo xtask bench -- cost
  cargo xtask bench --beside -- events    in turn with the version that the bounds name")]
    Bench {
        /// Measure in turn with the version that the bounds name, and print the ratios
        #[arg(long)]
        beside: bool,
        /// For the benchmark
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Record clean traffic, millions of packets, and be killed every minute (root)
    ///
    /// Recorders are killed while packets are on their way, and one follow lives
    /// through all of it. Nothing may be called dropped or lost, every recording
    /// must be readable, and memory must stay within bounds.
    #[command(after_help = "\
Examples:
  cargo xtask soak --packets 1000000
  cargo xtask soak --packets 20000 --seconds 5    whether it works")]
    Soak(soak::Options),
    /// Fuzz the parsers
    ///
    /// Runs a million inputs per target with a nightly compiler and cargo-fuzz: headers on the
    /// wire, records of a ring buffer, agents' messages, recordings. An input that breaks a parser
    /// stays in `fuzz/artifacts`.
    #[command(after_help = "\
Examples:
  cargo xtask fuzz
  cargo xtask fuzz trace --runs 50000")]
    Fuzz(fuzz::Options),
    /// Break `verdict` and `journey` line by line, and see whether tests notice
    ///
    /// Each run tests a share of all mutants. The commit selects the share.
    #[command(after_help = "\
Examples:
  cargo xtask mutants
  cargo xtask mutants --file '**/judge.rs' --shares 1    all of one file")]
    Mutants(mutants::Options),
    /// All that takes too long for each change (root)
    ///
    /// Continues after a part that failed, and names the failed parts at the end.
    #[command(after_help = "\
Examples:
  cargo xtask nightly
  cargo xtask nightly faults soak
  cargo xtask nightly --minutes 5    whether it works")]
    Nightly(nightly::Options),
    /// Check formatting, lints and docs; warnings are errors
    #[command(after_help = "Example:\n  cargo xtask lint")]
    Lint,
    /// All that a change has to pass: lints, tests, other kernels (root)
    ///
    /// Prints each part's duration, the number of tests, and the tests that this kernel cannot run.
    /// The commit selects one kernel and one group of tests.
    #[command(after_help = "Example:\n  cargo xtask ci")]
    Ci,
}

fn main() -> ExitCode {
    match run(Xtask::parse().task) {
        Ok(code) => code,
        Err(error) => {
            command::say(format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => {
            setup::tools()?;
            let toolchain = setup::bpf()?;
            command::say(format!(
                "all is there; `{toolchain}` builds the kernel programs"
            ));
        }
        Task::Build => dist::build()?,
        Task::Image => image::build()?,
        Task::Demo(options) => return demo::run(&options),
        Task::Test { args } => check::test(&args)?,
        Task::Fixtures(options) => fixtures::run(&options)?,
        Task::Kernels(options) => kernels::run(&options)?,
        Task::Machines(options) => kernels::nodes::run(&options)?,
        Task::Cluster { task } => cluster::run(&task)?,
        Task::Bench { beside: true, args } => beside::bench(&args)?,
        Task::Bench {
            beside: false,
            args,
        } => check::bench(&args)?,
        Task::Soak(options) => soak::run(&options)?,
        Task::Fuzz(options) => fuzz::run(&options)?,
        Task::Mutants(options) => mutants::run(&options)?,
        Task::Nightly(options) => nightly::run(&options)?,
        Task::Lint => lint::lint()?,
        Task::Ci => ci::run()?,
    }
    Ok(ExitCode::SUCCESS)
}
