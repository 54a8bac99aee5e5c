//! What `tracer agent` takes.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::WHERE;

/// How the collector speaks to this agent, and where it looks.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Take commands from standard input, and write records to standard output
    #[arg(long, required = true)]
    pub stdio: bool,

    /// The node's network namespace, if this process runs in another one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub netns: Option<PathBuf>,
}
