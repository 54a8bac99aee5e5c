//! Why a trace cannot be written or read.

use std::{io, net::IpAddr, path::PathBuf};

use jiff::Timestamp;

use super::table::SCHEMA;
use crate::stdio::{input, output};

/// Why a recording ended, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made.
    #[error("cannot write {p}: {source}", p = output(path))]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Files of an earlier recording are where this one's would go.
    #[error(
        "{p} is a piece of an earlier recording: remove its pieces or choose another file",
        p = piece.display()
    )]
    Pieces {
        /// One of them.
        piece: PathBuf,
    },
    /// The file takes no more.
    #[error(
        "cannot go on writing {p}: {source}; it holds what came before, {kept}",
        p = output(path)
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// How much that is, in words.
        kept: String,
    },
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read {p}: {source}", p = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing in it.
    #[error("{p} is empty: nothing was recorded into it", p = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Not even what it is about is in it.
    #[error("{p} ends within its first bytes: nothing in it can be read", p = path.display())]
    Beheaded {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error(
        "{p} is no trace: give a file that `tracer follow -w` or `tracer record` wrote",
        p = path.display()
    )]
    NotATrace {
        /// The file.
        path: PathBuf,
    },
    /// Another version of tracer wrote it, in another format.
    #[error(
        "{p} is a trace of the kind {schema}, which {writer} wrote; this one reads {SCHEMA}: read it with the version that wrote it",
        p = path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        schema: String,
        /// Who wrote it: `tracer` and its version.
        writer: String,
    },
    /// Bytes in it are not what was written.
    #[error(
        "{p} is damaged at byte {at} ({what}): what comes after cannot be read",
        p = path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the part begins that cannot be read.
        at: u64,
        /// What is wrong with it, in a phrase.
        what: String,
    },
}

/// RFC 3339, in UTC, to the second.
fn moment(time: i64) -> String {
    let time = Timestamp::from_nanosecond(time.into())
        .expect("64 bits of nanoseconds reach from 1677 to 2262");
    format!("{time:.0}")
}

/// Why several traces cannot be read as one.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// One alone cannot.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// One of several is a pipe.
    #[error(
        "{} is no file and can be read once only, so it cannot be joined with others: give it alone, or write it to a file first",
        input(path)
    )]
    Once {
        /// What was given.
        path: PathBuf,
    },
    /// The same piece was given two times.
    #[error("{} and {} are the same recording: give each file once", path.display(), other.display())]
    Twice {
        /// A file.
        path: PathBuf,
        /// Another.
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
        /// The one before the gap.
        other: PathBuf,
    },
    /// Pieces that say that they are of one recording, but were made otherwise.
    #[error(
        "{} does not go on with the nodes of {}: they are not of one recording",
        path.display(),
        other.display()
    )]
    OtherNodes {
        /// The later piece.
        path: PathBuf,
        /// The one before.
        other: PathBuf,
    },
    /// One names by numbers that mean nothing to the others.
    #[error(
        "{} is anonymized, with names and addresses of its own: replay it alone, or record all nodes with one tracer",
        path.display()
    )]
    Anonymized {
        /// The file.
        path: PathBuf,
    },
    /// They are of different follows.
    #[error(
        "{} follows {follow}, and {} follows {other_follow}: only recordings of the same ends, protocol and ports can be joined, and their {what} differ; replay them apart, or record with the same",
        path.display(),
        other.display()
    )]
    Unrelated {
        /// What is not the same.
        what: &'static str,
        /// A file.
        path: PathBuf,
        /// What it follows.
        follow: String,
        /// Another.
        other: PathBuf,
        /// What that follows.
        other_follow: String,
    },
    /// They are of different clusters.
    #[error(
        "{address} belongs to {owner} in {}, and to {known} in {}, both at {}: they were not recorded in one cluster",
        path.display(),
        other.display(),
        moment(*time)
    )]
    Clusters {
        /// A file.
        path: PathBuf,
        /// An address.
        address: IpAddr,
        /// Who has it in the file.
        owner: String,
        /// Another file.
        other: PathBuf,
        /// Who has it in that.
        known: String,
        /// When, Unix time, ns.
        time: i64,
    },
    /// Two recordings of one node.
    #[error(
        "{} is a second recording of {node}: give one per node, or replay them apart",
        path.display()
    )]
    SameNode {
        /// A file.
        path: PathBuf,
        /// The node.
        node: String,
    },
}
