//! The arguments of `tracer follow` and `tracer record`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::{Explain, OUTPUT, Output, RECORDING, WHERE, WatchArgs};
use crate::cli::values;

/// The arguments of `tracer follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// What to follow, where to look, and when to end.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// Show where it would look, on which nodes, and what could hide packets there; attach nothing
    #[arg(long, help_heading = WHERE)]
    pub dry_run: bool,

    /// Output format; json is one object a line
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,

    /// Whether to read what may explain a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Also record into this file, which `tracer replay` and others read
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: Option<PathBuf>,

    /// How to record.
    #[command(flatten)]
    pub recording: RecordingArgs,
}

/// The arguments of `tracer record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// What to follow, where to look, and when to end.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// The file to record into; one that is there is overwritten
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = RECORDING)]
    pub write: PathBuf,

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
    /// Go on in another file, FILE.1 before its extension, once one has so many bytes: 500KiB, 100MiB
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::size,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_size: Option<u64>,

    /// Go on in another file once one is so old: 10m, 1h
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        requires = "write",
        help_heading = RECORDING
    )]
    pub rotate_time: Option<Duration>,

    /// Keep only so many of the latest files
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
    /// payloads' hashes
    #[arg(long, value_name = "TEXT", requires = "write", help_heading = RECORDING)]
    pub key: Option<String>,
}
