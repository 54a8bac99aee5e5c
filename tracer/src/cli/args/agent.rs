//! What `tracer agent` takes, and the program that has only this command.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

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

/// The agent of tracer, without its other commands.
///
/// tracer copies this program to nodes, and runs it there. To follow packets, use the whole tracer,
/// on any machine that reaches the nodes.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version = concat!(env!("CARGO_PKG_VERSION"), ", the agent"),
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct AgentArguments {
    /// Say more on stderr about what is being done; twice for details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

/// The commands of the program that has only the agent.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Run an agent on this node, for a follow on another machine
    ///
    /// Commands come in on standard input, records go out on standard output. The agent listens on no
    /// port. When its input closes, it detaches all programs and ends.
    Agent(AgentArgs),

    /// Show the version
    Version,
}
