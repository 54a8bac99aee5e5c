//! JSON for programs: one object a line, as docs/json.md describes it.

mod dropped;
mod drops;
mod packet;
mod record;

use std::io::{self, Write};

use serde::Serialize;

use super::{Changed, Started, View};
use crate::{
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

/// Writes JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }

    fn line(&mut self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl<W: Write> View for Json<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.line(&record::Started::new(scene, started))
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.line(&record::Changed::new(scene, changed))
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.line(&record::Journey::new(scene, journey, verdict, parts))
    }

    fn summary(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()> {
        self.line(&record::Summary::new(scene, summary))
    }
}
