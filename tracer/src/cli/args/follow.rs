//! The arguments of `tracer follow` and `tracer record`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};
use tracer_core::journal::Query;

use super::{END, ExpectArgs, Explain, OUTPUT, RECORDING, ShapeArgs, Times, WHERE, WatchArgs};
use crate::cli::{help, values};

/// The arguments of `tracer follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// What to follow, where to look, and when to end.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// Exit with 3 if any packet of the follow has another verdict
    #[arg(long, value_enum, value_name = "VERDICT", help_heading = END)]
    pub expect: Option<Expected>,

    /// The flows to check.
    #[command(flatten)]
    pub flows: ExpectArgs,

    /// Show what the follow would do, and do nothing. For agents on this machine: the interfaces, and
    /// what could hide packets there; for agents in pods: the pod's rights
    #[arg(long, help_heading = WHERE)]
    pub dry_run: bool,

    /// The form of the output.
    #[command(flatten)]
    pub shape: ShapeArgs,

    /// Show only journeys that match: 'verdict:dropped pod:cart', 'port:80 >1ms', …
    #[arg(
        long = "where",
        value_name = "EXPR",
        allow_hyphen_values = true,
        long_help = help::FOLLOW_WHERE,
        help_heading = OUTPUT
    )]
    pub query: Option<Query>,

    /// The time zone of the output.
    #[command(flatten)]
    pub times: Times,

    /// Whether agents read the facts around a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Also record into this file, for `tracer replay`; overwrites an existing file once the
    /// recording has begun
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: Option<PathBuf>,

    /// Options of the recording.
    #[command(flatten)]
    pub recording: RecordingArgs,
}

/// The verdict that `--expect` requires of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expected {
    /// The packet arrives
    Delivered,
}

/// The arguments of `tracer record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// What to follow, where to look, and when to end.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// The file to record into, or - for stdout; overwrites an existing file once the recording has
    /// begun
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: PathBuf,

    /// The time zone of the output.
    #[command(flatten)]
    pub times: Times,

    /// Whether agents read the facts around a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Options of the recording.
    #[command(flatten)]
    pub recording: RecordingArgs,
}

/// Options of the recording.
#[derive(Debug, Args)]
pub struct RecordingArgs {
    /// Continue in a new file once the packets in the file take this many bytes: 500KiB, 100MiB
    ///
    /// After trace.arrows come trace.1.arrows, trace.2.arrows, and so on. Each file repeats what its
    /// packets need, such as the cluster's objects; these bytes do not count.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::size,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_size: Option<u64>,

    /// Continue in a new file once the file is this old: 10m, 1h; names are those of --rotate-size
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_time: Option<Duration>,

    /// Keep only this many of the latest files of a rotated recording
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u32>,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_keep: Option<u32>,

    /// Replace addresses, names and MACs in the file; equal ones stay equal
    #[arg(long, requires = "write", help_heading = RECORDING)]
    pub anonymize: bool,

    /// A secret that recordings must share to be joined packet by packet: the key of the payload
    /// hashes. All users of this machine can see it while tracer records
    #[arg(
        long,
        value_name = "TEXT",
        requires = "write",
        conflicts_with = "key_file",
        help_heading = RECORDING
    )]
    pub key: Option<String>,

    /// Read the same secret from a file; its line end does not count
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        requires = "write",
        help_heading = RECORDING
    )]
    pub key_file: Option<PathBuf>,
}
