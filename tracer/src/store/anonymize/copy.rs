//! A recording that was made, once more, for somebody else.

use std::path::Path;

use thiserror::Error;

use super::Anonymizer;
use crate::store::{Event, Reader, RecordError, Rotation, TraceError, Writer};

/// Why a file could not be written anew.
#[derive(Debug, Error)]
pub(crate) enum CopyError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] TraceError),
    /// The other cannot be written.
    #[error(transparent)]
    Write(#[from] RecordError),
}

impl Anonymizer {
    /// Writes what is in a file into another. One that ends in the middle gives another
    /// that does. The pieces of a recording stay pieces of one, if this value replaces in
    /// all of them.
    ///
    /// # Errors
    /// If the one cannot be read, or the other cannot be written.
    pub(crate) fn copy(&mut self, mut from: Reader, to: &Path) -> Result<(), CopyError> {
        let mut writer = Writer::create(to, Rotation::default())?;
        writer.begin(self.head(from.head().clone()))?;
        for event in from.by_ref() {
            match event? {
                Event::Batch { agent, batch } => writer.batch(agent, &self.batch(&batch))?,
                Event::State {
                    agent,
                    stream,
                    watermark,
                    report,
                } => {
                    let report = report.map(|report| self.report(*report));
                    writer.state(agent, stream, watermark, report);
                }
                Event::Owners(change) => writer.owners_changed(&self.owners_changed(&change)),
                Event::Armed(time) => writer.armed(time),
                Event::Gone { agent, time } => writer.gone(agent, time),
                Event::Joined { hello, time } => writer.joined(&self.hello(*hello), time),
                Event::Clock {
                    agent,
                    question,
                    time,
                } => writer.clock(agent, question, time),
                Event::End(time) => {
                    writer.end(time)?;
                }
            }
        }
        writer.flush()?;
        if !from.cut() {
            writer.close()?;
        }
        Ok(())
    }
}
