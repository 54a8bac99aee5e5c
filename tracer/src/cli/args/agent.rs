//! What `tracer agent` takes.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::WHERE;

/// How the collector speaks to this agent, and where it looks.
#[derive(Debug, Args)]
pub struct AgentArgs {
    /// Take commands from standard input, and write records to standard output
    #[arg(long, required_unless_present = "hold")]
    pub stdio: bool,

    /// The node's network namespace, if this process runs in another one
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub netns: Option<PathBuf>,

    // The two of a pod whose image has no shell. Only `tracer` itself types them.
    /// Write this agent's process id into FILE
    #[arg(long, value_name = "FILE", hide = true)]
    pub pid_file: Option<PathBuf>,

    /// Run no agent, but wait until the one that has written FILE has ended
    #[arg(long, value_name = "FILE", hide = true, conflicts_with_all = ["stdio", "netns", "pid_file"])]
    pub hold: Option<PathBuf>,
}
