//! Why captures make no recording, in one sentence each.

use std::path::PathBuf;

use thiserror::Error;

use super::capture::CaptureError;
use crate::{inventory::InventoryError, stdio, store::RecordError};

/// Why captures make no recording.
#[derive(Debug, Error)]
pub(super) enum ImportError {
    /// A file cannot be read as a capture.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The objects cannot be read, or lack what was named.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Packets begin with a header that is not read.
    #[error(
        "{file} has packets of link type {number}, which tracer does not read; it reads Ethernet, \
         raw IP, SLL and SLL2"
    )]
    Link {
        /// The capture.
        file: String,
        /// LINKTYPE.
        number: u32,
    },
    /// It is not said where packets were seen.
    #[error("{0}")]
    Place(String),
    /// Two files carry recordings, or one does and another is a capture.
    #[error(
        "{} is an export of tracer's and carries its recording: import it alone, and give \
         `tracer replay` all recordings together",
        stdio::input(.0)
    )]
    NotAlone(PathBuf),
    /// An export carries several recordings, for which one name will not do.
    #[error(
        "{file} carries {count} recordings, and standard output takes one: name a file with -o FILE"
    )]
    Several {
        /// The export.
        file: String,
        /// How many.
        count: usize,
    },
    /// The pieces of what it carries do not fit together.
    #[error(
        "the recording that {0} carries is damaged: export it again, or import packets of a copy that Wireshark has saved"
    )]
    Pieces(String),
    /// A name is taken that one of several recordings is to have.
    #[error("{} is there already: name another file with -o, or move it away", .0.display())]
    Taken(PathBuf),
}
