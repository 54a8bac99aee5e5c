//! Recorded traces: everything that a collector got, in a file.
//!
//! **What for.** A fault does not wait for somebody to look. A trace holds what
//! agents sent, as they sent it and in that order; replaying it runs the same
//! code on the same input as the live follow did ([`crate::collector`]), and so
//! gives the same journeys and verdicts, anywhere, without root.
//!
//! **Format.** An Arrow IPC stream (`.arrows`) of one table, compressed, that
//! pyarrow, DuckDB and others read as it is. A row is a hop, a drop, or the
//! border of an agent's batch (`store/table.rs`); the schema's metadata tell what holds
//! for all rows ([`Head`]): nodes and their points, clocks, cluster objects.
//! docs/trace.md documents both.
//!
//! **What a crash leaves.** Rows are written with at most half a second's delay,
//! and only whole batches of them, so that a file that ends anywhere can be
//! read up to there ([`Reader::cut`]). Nothing is taken on trust: files come
//! from other people.
//!
//! **Pieces.** A long recording is rotated. Each piece can be read alone: its
//! first rows repeat what agents had reported. Together, pieces give what one
//! file would have given ([`Recordings`]).

mod again;
mod anonymize;
pub(crate) mod carried;
mod column;
mod contents;
mod decode;
mod encode;
mod error;
mod head;
mod message;
#[cfg(any(test, feature = "fuzz"))]
mod plain;
mod reader;
mod recordings;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod writer;

pub use anonymize::Anonymizer;
pub(crate) use anonymize::CopyError;
pub use contents::Contents;
pub use error::{JoinError, RecordError, TraceError};
pub use head::Head;
pub(crate) use head::unwatched_end;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use plain::plain;
pub use reader::{Event, Reader};
pub use recordings::Recordings;
pub use table::SCHEMA;
pub(crate) use target::Target;
pub(crate) use writer::piece_path;
pub use writer::{Rotation, Writer, Written};
