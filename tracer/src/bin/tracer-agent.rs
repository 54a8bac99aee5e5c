//! The `tracer-agent` program: `tracer agent` and nothing else.
//!
//! `tracer` copies this program to nodes, where a small program arrives sooner. Its arguments are
//! those of `tracer`, so an image or a node may have it under that name.

use std::process::ExitCode;

use tracer::{agent, cli};

fn main() -> ExitCode {
    cli::run_agent(agent::run)
}
