//! Errors of an import, each in one sentence.

use std::path::PathBuf;

use thiserror::Error;

use super::capture::CaptureError;
use crate::{inventory::InventoryError, stdio, store::RecordError};

/// Why captures cannot be imported.
#[derive(Debug, Error)]
pub(super) enum ImportError {
    /// A file cannot be read as a capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The cluster's objects cannot be read, or lack a named object.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The packets' link type is not supported.
    #[error(
        "{file} has packets of link type {number}, which tracer does not read; it reads Ethernet, \
         raw IP, SLL and SLL2"
    )]
    Link {
        /// Name of the capture.
        file: String,
        /// Number of the link type (LINKTYPE).
        number: u32,
    },
    /// The place of the packets is not known.
    #[error("{0}")]
    Place(String),
    /// Two files have recordings inside, or one has a recording and another is a capture.
    #[error(
        "{} is an export of tracer's and carries its recording: import it alone, and give \
         `tracer replay` all recordings together",
        stdio::input(.0)
    )]
    NotAlone(PathBuf),
    /// An export has several recordings inside, so standard output is not enough.
    #[error(
        "{file} carries {count} recordings, and standard output takes one: name a file with -o FILE"
    )]
    Several {
        /// Name of the export.
        file: String,
        /// Number of recordings.
        count: usize,
    },
    /// The pieces of the recording inside do not fit together.
    #[error(
        "the recording that {0} carries is damaged: export it again, or import packets of a copy that Wireshark has saved"
    )]
    Pieces(String),
    /// A file has the name that one of several recordings needs.
    #[error("{} is there already: name another file with -o, or move it away", .0.display())]
    Taken(PathBuf),
}
