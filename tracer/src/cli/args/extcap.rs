//! The arguments of `tracer extcap`: what Wireshark asks of a capture interface.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use crate::cli::help;

/// The arguments of `tracer extcap`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct ExtcapArgs {
    /// What a person does with it.
    #[command(subcommand)]
    pub command: Option<ExtcapCommand>,

    /// List the interfaces
    #[arg(long)]
    pub extcap_interfaces: bool,

    /// List the link types of the interface
    #[arg(long)]
    pub extcap_dlts: bool,

    /// List the fields of the interface's options
    #[arg(long)]
    pub extcap_config: bool,

    /// Follow packets, and write pcapng to the FIFO
    #[arg(long, requires = "fifo")]
    pub capture: bool,

    /// The interface: tracer
    #[arg(long, value_name = "INTERFACE")]
    pub extcap_interface: Option<String>,

    /// The version of Wireshark
    #[arg(long, value_name = "VERSION")]
    pub extcap_version: Option<String>,

    /// The capture filter: an expression of --where
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub extcap_capture_filter: Option<String>,

    /// The pipe that takes the capture
    #[arg(long, value_name = "FIFO", value_hint = ValueHint::FilePath)]
    pub fifo: Option<PathBuf>,

    /// Options of `tracer follow`, and --options 'MORE OPTIONS'
    #[arg(
        value_name = "FOLLOW",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub words: Vec<String>,
}

/// What a person does with the interface.
#[derive(Debug, Subcommand)]
pub enum ExtcapCommand {
    /// Put the interface into Wireshark's extcap folder: a link to this program
    #[command(after_help = help::EXTCAP_INSTALL)]
    Install {
        /// The folder; default: the user's own, which Wireshark 4.2 and later have
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}
