//! The arguments of the commands that read traces.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use tracer_core::journal::Query;

use super::{ExpectArgs, OUTPUT, Output, ShapeArgs, Times};
use crate::cli::help;

/// The arguments of `tracer replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Recordings by `tracer follow -w` or `tracer record`: the files of a rotated recording, or
    /// recordings of several nodes; - for stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// The form of the output.
    #[command(flatten)]
    pub shape: ShapeArgs,

    /// Show only journeys that match: 'verdict:dropped pod:cart', 'port:80 >1ms', …
    #[arg(
        long = "where",
        value_name = "EXPR",
        allow_hyphen_values = true,
        long_help = help::REPLAY_WHERE,
        help_heading = OUTPUT
    )]
    pub query: Option<Query>,

    /// The flows to check.
    #[command(flatten)]
    pub flows: ExpectArgs,

    /// The time zone of the output.
    #[command(flatten)]
    pub times: Times,
}

/// The arguments of `tracer show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A recording by `tracer follow -w` or `tracer record`; - for stdin
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,

    /// The time zone of the output.
    #[command(flatten)]
    pub times: Times,
}

/// The arguments of `tracer stats`.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// Recordings by `tracer follow -w` or `tracer record`: the files of a rotated recording, or
    /// recordings of several nodes; - for stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// What to group by: the pods of both ends; the legs of the way and the places of drops; the
    /// reasons of drops
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "leg,reason",
        value_name = "WHAT",
        help_heading = OUTPUT
    )]
    pub group_by: Vec<GroupBy>,

    /// Summarize only journeys that match: 'verdict:dropped pod:cart', 'port:80 >1ms', …
    #[arg(
        long = "where",
        value_name = "EXPR",
        allow_hyphen_values = true,
        long_help = help::STATS_WHERE,
        help_heading = OUTPUT
    )]
    pub query: Option<Query>,

    /// Output format
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,
}

/// What `--group-by` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GroupBy {
    /// Whose packets: the pods of both ends
    Pod,
    /// The leg from point to point; for drops, the place
    Leg,
    /// Why packets were dropped
    Reason,
}
