//! Errors of writing and reading traces.

use std::{io, net::IpAddr, path::PathBuf};

use jiff::Timestamp;

use super::table::SCHEMA;
use crate::stdio::{input, output};

/// Why a recording ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be created.
    #[error("cannot write {p}: {source}", p = output(path))]
    Create {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Files of an earlier recording have names that this one needs.
    #[error(
        "{p} is a piece of an earlier recording: remove its pieces or choose another file",
        p = piece.display()
    )]
    Pieces {
        /// One of these files.
        piece: PathBuf,
    },
    /// The file cannot be written any further.
    #[error(
        "cannot go on writing {p}: {source}; it holds what came before, {kept}",
        p = output(path)
    )]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
        /// How much was written before, in words.
        kept: String,
    },
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read {p}: {source}", p = path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{p} is empty: nothing was recorded into it", p = path.display())]
    Empty {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file ends before its head is complete.
    #[error("{p} ends within its first bytes: nothing in it can be read", p = path.display())]
    Beheaded {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file is not a recording.
    #[error(
        "{p} is not a recording: give a file that `tracer follow -w` or `tracer record` wrote",
        p = path.display()
    )]
    NotATrace {
        /// Path of the file.
        path: PathBuf,
    },
    /// Another version of tracer wrote it, in another format.
    #[error(
        "{p} is a trace of the kind {schema}, which {writer} wrote; this one reads {SCHEMA}: read it with the version that wrote it",
        p = path.display()
    )]
    Version {
        /// Path of the file.
        path: PathBuf,
        /// The schema that the file names.
        schema: String,
        /// The writer: `tracer` and its version.
        writer: String,
    },
    /// The file is damaged.
    #[error(
        "{p} is damaged at byte {at} ({what}): what comes after cannot be read",
        p = path.display()
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// Offset of the part that cannot be read, bytes.
        at: u64,
        /// What is wrong with this part, in a phrase.
        what: String,
    },
}

/// A time as RFC 3339 text in UTC, to the second.
fn moment(time: i64) -> String {
    let time = Timestamp::from_nanosecond(time.into())
        .expect("64 bits of nanoseconds reach from 1677 to 2262");
    format!("{time:.0}")
}

/// Why several traces cannot be read as one.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// One of them cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// One of several is a pipe.
    #[error(
        "{} is no file and can be read once only, so it cannot be joined with others: give it alone, or write it to a file first",
        input(path)
    )]
    Once {
        /// Path of the pipe.
        path: PathBuf,
    },
    /// The same piece was given twice.
    #[error("{} and {} are the same recording: give each file once", path.display(), other.display())]
    Twice {
        /// Path of a file.
        path: PathBuf,
        /// Path of another file.
        other: PathBuf,
    },
    /// A piece is missing in the middle.
    #[error(
        "{} does not follow {} directly: give the pieces of the recording in between, too",
        path.display(),
        other.display()
    )]
    Missing {
        /// The later piece.
        path: PathBuf,
        /// Path of the piece before the gap.
        other: PathBuf,
    },
    /// The pieces claim to be of one recording, but their nodes differ.
    #[error(
        "{} does not go on with the nodes of {}: they are not of one recording",
        path.display(),
        other.display()
    )]
    OtherNodes {
        /// The later piece.
        path: PathBuf,
        /// Path of the piece before.
        other: PathBuf,
    },
    /// A recording is anonymized, so its names and addresses mean nothing in the others.
    #[error(
        "{} is anonymized, with names and addresses of its own: replay it alone, or record all nodes with one tracer",
        path.display()
    )]
    Anonymized {
        /// Path of the file.
        path: PathBuf,
    },
    /// The recordings are of different follows.
    #[error(
        "{} follows {follow}, and {} follows {other_follow}, so their {what} differ: replay them apart, or record the same ends, protocol and ports",
        path.display(),
        other.display()
    )]
    Unrelated {
        /// What differs.
        what: &'static str,
        /// Path of a file.
        path: PathBuf,
        /// What the first recording follows.
        follow: String,
        /// Path of another file.
        other: PathBuf,
        /// What the other recording follows.
        other_follow: String,
    },
    /// The recordings are of different clusters.
    #[error(
        "{address} belongs to {owner} in {}, and to {known} in {}, both at {}: they were not recorded in one cluster",
        path.display(),
        other.display(),
        moment(*time)
    )]
    Clusters {
        /// Path of a file.
        path: PathBuf,
        /// An address with two owners.
        address: IpAddr,
        /// Its owner in the first file.
        owner: String,
        /// Path of another file.
        other: PathBuf,
        /// Its owner in the other file.
        known: String,
        /// Time at which both own the address, Unix time, ns.
        time: i64,
    },
    /// Two recordings are of one node.
    #[error(
        "{} is a second recording of {node}: give one per node, or replay them apart",
        path.display()
    )]
    SameNode {
        /// Path of a file.
        path: PathBuf,
        /// Name of the node.
        node: String,
    },
}
