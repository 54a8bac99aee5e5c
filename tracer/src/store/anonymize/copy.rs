//! Copies a recording with replaced names and addresses.

use std::path::Path;

use thiserror::Error;

use super::Anonymizer;
use crate::store::{Event, Reader, RecordError, Rotation, TraceError, Writer};

/// Why a file could not be copied.
#[derive(Debug, Error)]
pub(crate) enum CopyError {
    /// The original cannot be read.
    #[error(transparent)]
    Read(#[from] TraceError),
    /// The copy cannot be written.
    #[error(transparent)]
    Write(#[from] RecordError),
}

impl Anonymizer {
    /// Copies a file into another one. If the original ends in the middle, so does the copy.
    /// The pieces of a recording stay pieces of one recording, if the same [`Anonymizer`]
    /// copies all of them.
    ///
    /// # Errors
    /// If the original cannot be read, or the copy cannot be written.
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
