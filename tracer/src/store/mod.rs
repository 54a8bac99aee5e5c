//! Recorded traces: the whole input of a collector, in a file.
//!
//! **Purpose.** A fault may be over before somebody looks. A trace holds what agents sent,
//! unchanged and in the same order. A replay runs the same code on the same input as the live
//! follow ([`crate::collector`]). So it gives the same journeys and verdicts, on any machine,
//! without root.
//!
//! **Format.** A trace is an Arrow IPC stream (`.arrows`) of one table, compressed, which
//! pyarrow, DuckDB and others can read. A row is a hop, a drop, or the end of an agent's batch
//! (`store/table.rs`). The schema's metadata hold for all rows ([`Head`]): nodes and their
//! points, clocks, cluster objects. docs/trace.md documents both.
//!
//! **After a crash.** Rows are written in whole batches, at most half a second late. So a file
//! that ends anywhere can be read up to there ([`Reader::cut`]). Readers trust nothing in a
//! file, because files come from other people.
//!
//! **Pieces.** A long recording is rotated. Each piece can be read alone, because its first
//! rows repeat what agents had reported. Together, the pieces give the same result as a single
//! file ([`Recordings`]).

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
pub(crate) use encode::unix;
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
