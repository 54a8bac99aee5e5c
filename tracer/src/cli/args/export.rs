//! The arguments of `tracer export`, `tracer bundle` and `tracer schema`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint, builder::PossibleValuesParser};
use tracer_core::journal::Query;

use crate::{cli::help, view::SCHEMAS};

/// The arguments of `tracer export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Recordings by `tracer follow -w` or `tracer record`: the files of a rotated recording, or
    /// recordings of several nodes; - for stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// The format to write
    #[arg(short, long, value_enum)]
    pub format: Format,

    /// The file to write, or - for stdout; overwrites an existing file once the new one is complete
    #[arg(
        short,
        long,
        value_name = "OUT",
        default_value = "-",
        value_hint = ValueHint::FilePath
    )]
    pub output: PathBuf,

    /// Export only journeys that match: 'verdict:dropped pod:cart', 'port:80 >1ms', …
    #[arg(
        long = "where",
        value_name = "EXPR",
        allow_hyphen_values = true,
        long_help = help::EXPORT_WHERE
    )]
    pub query: Option<Query>,

    /// Write several files into the new folder OUT
    #[arg(long, value_enum, value_name = "BY")]
    pub split: Option<Split>,

    /// Write a Wireshark profile into the folder OUT.profile (pcapng). The profile adds columns for
    /// the point and the verdict, and colours by verdict. In it, one packet at several points is no
    /// retransmission
    #[arg(long, conflicts_with = "split")]
    pub profile: bool,
}

/// What `--format` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For Wireshark and tshark: a packet for each hop, with its journey as a comment
    Pcapng,
    /// For DuckDB, pyarrow and pandas: a new folder of tables, of hops, journeys, drops, points
    /// and owners
    Parquet,
    /// For scripts: what `tracer replay -o json` writes, one object a line
    Jsonl,
    /// For a browser: one file that loads nothing, with what is wrong, a search and all hops
    Html,
}

impl Format {
    /// Whether it is no text.
    pub(crate) const fn is_binary(self) -> bool {
        matches!(self, Self::Pcapng)
    }
}

/// What `--split` can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// A capture for each observation point, as if tcpdump had run there (pcapng)
    Point,
}

/// The arguments of `tracer bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// Recordings by `tracer follow -w` or `tracer record`: the files of a rotated recording, or
    /// recordings of several nodes; - for stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// The file to write, a tar archive compressed by zstd, or - for stdout; overwrites an
    /// existing file once the new one is complete
    #[arg(short, long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,

    /// Replace addresses, names and MACs in all files inside; equal ones stay equal
    #[arg(long)]
    pub anonymize: bool,
}

/// The arguments of `tracer schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Print only the schema of this kind, such as tracer.journey/2 or tracer.stats/1; default: all
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(SCHEMAS))]
    pub kind: Option<String>,
}
