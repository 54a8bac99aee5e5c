//! Records a follow while it runs.

use std::{fmt, path::PathBuf};

use tokio::time::Instant;
use tracer_core::{
    collect::Beginning,
    input::{Batch, OwnersChange},
    model::Hello,
};

use super::{Plan, Write};
use crate::{
    stdio::output,
    store::{Anonymizer, Head, RecordError, Writer, Written},
};

/// Writes what agents send, in order of arrival.
pub(super) struct Recorder {
    path: PathBuf,
    writer: Writer,
    anonymizer: Option<Anonymizer>,
    written: Written,
}

impl Recorder {
    /// Creates the file.
    pub(super) fn create(write: &Write) -> Result<Self, RecordError> {
        Ok(Self {
            path: write.path.clone(),
            writer: Writer::create(&write.path, write.rotation)?,
            anonymizer: write.anonymize.then(Anonymizer::new),
            written: Written::default(),
        })
    }

    /// Writes the recording's head.
    pub(super) fn begin(&mut self, plan: &Plan, beginning: Beginning) -> Result<(), RecordError> {
        let key = plan.agents.first().map(|(_, agent)| agent.key);
        let mut head = Head::new(beginning, plan.filter.pairs.clone(), key);
        if let Some(anonymizer) = &mut self.anonymizer {
            head = anonymizer.head(head);
        }
        self.writer.begin(head)
    }

    pub(super) fn armed(&mut self, time: i64) {
        self.writer.armed(time);
    }

    pub(super) fn batch(&mut self, agent: usize, batch: &Batch) -> Result<(), RecordError> {
        match &mut self.anonymizer {
            Some(anonymizer) => self.writer.batch(agent, &anonymizer.batch(batch)),
            None => self.writer.batch(agent, batch),
        }
    }

    pub(super) fn owners_changed(&mut self, change: &OwnersChange) {
        match &mut self.anonymizer {
            Some(anonymizer) => self
                .writer
                .owners_changed(&anonymizer.owners_changed(change)),
            None => self.writer.owners_changed(change),
        }
    }

    pub(super) fn gone(&mut self, agent: usize, time: i64) {
        self.writer.gone(agent, time);
    }

    pub(super) fn joined(&mut self, hello: Hello, time: i64) {
        let hello = match &mut self.anonymizer {
            Some(anonymizer) => anonymizer.hello(hello),
            None => hello,
        };
        self.writer.joined(&hello, time);
    }

    /// Time by which waiting rows must be written; `None` if no row waits.
    pub(super) fn due(&self) -> Option<Instant> {
        let left =
            |due: std::time::Instant| due.saturating_duration_since(std::time::Instant::now());
        // In tests, Tokio's clock may be paused.
        self.writer.due().map(|due| Instant::now() + left(due))
    }

    pub(super) fn flush(&mut self) -> Result<(), RecordError> {
        self.writer.flush()
    }

    pub(super) fn end(&mut self, time: i64) -> Result<(), RecordError> {
        self.written = self.writer.end(time)?;
        Ok(())
    }
}

/// Writes one line on what was recorded.
impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written {
            hops,
            drops,
            bytes,
            files,
        } = self.written;
        write!(f, "wrote {}", output(&self.path))?;
        if files > 1 {
            write!(f, " and {} more", files - 1)?;
        }
        write!(f, ": {hops} hops, {drops} drops, {bytes} bytes")
    }
}
