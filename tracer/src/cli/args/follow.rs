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

    /// Exit with 3 if any packet that matched fared otherwise
    #[arg(long, value_enum, value_name = "VERDICT", help_heading = END)]
    pub expect: Option<Expected>,

    /// What has to become of flows.
    #[command(flatten)]
    pub flows: ExpectArgs,

    /// Show where it would look, on which nodes, and what could hide packets there; attach nothing
    #[arg(long, help_heading = WHERE)]
    pub dry_run: bool,

    /// How it is shown.
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

    /// Which time it is.
    #[command(flatten)]
    pub times: Times,

    /// Whether to read what may explain a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Also record into this file, which `tracer replay` and others read; one that is there is replaced
    /// once the recording has begun
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: Option<PathBuf>,

    /// How to record.
    #[command(flatten)]
    pub recording: RecordingArgs,
}

/// What is to become of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Expected {
    /// It arrives
    Delivered,
}

/// The arguments of `tracer record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// What to follow, where to look, and when to end.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// The file to record into, or - for stdout; one that is there is replaced once the recording has
    /// begun
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: PathBuf,

    /// Which time it is.
    #[command(flatten)]
    pub times: Times,

    /// Whether to read what may explain a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// How to record.
    #[command(flatten)]
    pub recording: RecordingArgs,
}

/// How to record.
#[derive(Debug, Args)]
pub struct RecordingArgs {
    /// Go on in another file once the packets in one take so many bytes: 500KiB, 100MiB
    ///
    /// After trace.arrows come trace.1.arrows, trace.2.arrows, and so on; what they rest on, such as the
    /// cluster's objects, is repeated in each, and not counted.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::size,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_size: Option<u64>,

    /// Go on in another file once one is so old: 10m, 1h; they are called as with --rotate-size
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_time: Option<Duration>,

    /// Keep only so many of the latest files of a rotated recording
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u32>,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_keep: Option<u32>,

    /// Replace addresses, names and MACs in the file, each by the same one everywhere
    #[arg(long, requires = "write", help_heading = RECORDING)]
    pub anonymize: bool,

    /// Secret that recordings have to share if they are to be joined packet by packet: it keys the
    /// payloads' hashes; all users of this machine can see it while it is recorded
    #[arg(
        long,
        value_name = "TEXT",
        requires = "write",
        conflicts_with = "key_file",
        help_heading = RECORDING
    )]
    pub key: Option<String>,

    /// The same secret from a file, without the line's end
    #[arg(
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        requires = "write",
        help_heading = RECORDING
    )]
    pub key_file: Option<PathBuf>,
}
