//! The progress of a recording.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::{Look, Text, moment::Moment};
use crate::terminal::clean;

/// The time between two updates.
const EVERY: Duration = Duration::from_millis(500);

/// Shows what is recorded. On a terminal, it also shows the number of packets so far.
#[derive(Debug)]
pub struct Progress<W> {
    out: W,
    look: Look,
    terminal: bool,
    journeys: u64,
    said: Instant,
}

impl<W: Write> Progress<W> {
    /// Writes to `out`. If `out` is a `terminal`, each update replaces the line.
    pub fn new(out: W, look: Look, terminal: bool) -> Self {
        Self {
            out,
            look,
            terminal,
            journeys: 0,
            said: Instant::now(),
        }
    }

    fn say(&mut self) -> io::Result<()> {
        self.said = Instant::now();
        write!(self.out, "\r{} packets", self.journeys)?;
        self.out.flush()
    }
}

impl<W: Write> View for Progress<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        let points: usize = scene.nodes.iter().map(|hello| hello.points.len()).sum();
        for warning in &started.warnings {
            writeln!(self.out, "tracer: {}", clean(warning))?;
        }
        writeln!(
            self.out,
            "tracer: recording {} at {points} observation points; times in {}; Ctrl-C ends",
            clean(&started.follow),
            self.look.zone.name(Moment(started.time))
        )
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        if self.terminal {
            writeln!(self.out)?;
        }
        Text::new(&mut self.out, self.look.clone()).changed(scene, changed)
    }

    fn journey(&mut self, _: &Scene, _: &Journey, _: &Verdict, _: &Parts) -> io::Result<()> {
        self.journeys += 1;
        if self.terminal && self.said.elapsed() >= EVERY {
            self.say()?;
        }
        Ok(())
    }

    fn summary(&mut self, _: &Scene, _: &Summary, _: Option<&Selected>) -> io::Result<()> {
        if self.terminal {
            self.say()?;
            writeln!(self.out)?;
        }
        Ok(())
    }
}
