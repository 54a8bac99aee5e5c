//! The `tracer-agent` program: `tracer agent` and nothing else.
//!
//! `tracer` copies this program to nodes, where a small program arrives sooner. Its arguments are
//! those of `tracer`, so an image or a node may have it under that name.

use std::process::ExitCode;

use tracer::cli;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    cli::run_agent(tracer::agent::run)
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    cli::run_agent(|_| {
        Err(cli::Failure::new(
            "agents run on Linux: start this one on a node",
        ))
    })
}
