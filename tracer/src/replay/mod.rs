//! `tracer replay`: a recording through the same code as a live follow.

use std::{io, path::PathBuf};

use tracer_core::{
    collect::Core,
    journal::{Started, View},
};

use crate::{
    cli::{Failure, Outcome, Output, ReplayArgs},
    store::{JoinError, Recorded, Recordings},
    terminal::{look_of_stdout, tell},
    view::{Json, Text},
};

/// Shows what was recorded.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ReplayArgs) -> Result<Outcome, Failure> {
    let stdout = io::stdout();
    let look = look_of_stdout(args.times.utc);
    let replayed = match args.output {
        Output::Text => through(&args.files, &mut Text::new(stdout.lock(), look)),
        Output::Json => through(&args.files, &mut Json::new(stdout.lock())),
    };
    replayed?.outcome()
}

/// Shows what is in files to a view, and says what is wrong with them.
pub(crate) fn through(files: &[PathBuf], view: &mut impl View) -> Result<Replayed, Failure> {
    let mut recordings = Recordings::open(files).map_err(Failure::new)?;
    let replayed = replay(&mut recordings, view)?;
    for path in recordings.cut() {
        tell(&format!(
            "{} ends in the middle, as when its recorder is killed or its disk was full: what was \
             on its way then is unknown",
            path.display()
        ));
    }
    if let Some(sentence) = recordings.apart() {
        tell(&sentence);
    }
    Ok(replayed)
}

/// What came of a replay.
pub struct Replayed {
    /// Journeys shown that are more than ARP and neighbour discovery.
    pub matched: u64,
    /// Why what was read is not all, if it is not.
    pub broken: Option<JoinError>,
}

impl Replayed {
    /// How a command ends that has shown it.
    ///
    /// # Errors
    /// If it is not all.
    pub(crate) fn outcome(self) -> Result<Outcome, Failure> {
        match self.broken {
            Some(error) => Err(Failure::new(error)),
            None => Ok(Outcome::of(self.matched)),
        }
    }
}

/// Goes through recordings, and shows what the follow showed.
///
/// A file that cannot be read on ends them all there: what came before is
/// shown.
///
/// # Errors
/// Those of the view.
pub fn replay(recordings: &mut Recordings, view: &mut impl View) -> io::Result<Replayed> {
    let mut replay = Replay::new(recordings);
    let mut broken = None;
    for recorded in recordings.by_ref() {
        match recorded {
            Ok(recorded) => replay.take(recorded, view)?,
            Err(error) => broken = Some(error),
        }
    }
    replay.end(view)?;
    Ok(Replayed {
        matched: replay.core.matched(),
        broken,
    })
}

/// A replay on its way.
pub(crate) struct Replay {
    pub(crate) core: Core,
    started: Started,
    /// Whether all points are observed, so that journeys can be shown.
    armed: bool,
}

impl Replay {
    pub(crate) fn new(recordings: &Recordings) -> Self {
        let head = recordings.head();
        let mut started = Started {
            time: head.time,
            follow: head.follow.clone(),
            warnings: head.warnings.clone(),
        };
        started.warnings.extend(recordings.warnings());
        let mut core = Core::new(recordings.beginning());
        core.allow_for(recordings.skew());
        Self {
            core,
            started,
            armed: false,
        }
    }

    pub(crate) fn take(&mut self, recorded: Recorded, view: &mut impl View) -> io::Result<()> {
        let core = &mut self.core;
        match recorded {
            Recorded::Begun { agents, time } => core.begun(agents, time),
            Recorded::State {
                agent,
                stream,
                watermark,
                report,
            } => core.state(agent, stream, watermark, report.map(|report| *report)),
            Recorded::Known { agent, hello } => core.known(agent, *hello),
            Recorded::Later(before) => core.later(before),
            Recorded::Gap {
                agent,
                stream,
                watermark,
                report,
                to,
            } => core.gap(agent, stream, (watermark, report.map(|report| *report)), to),
            Recorded::Batch { agent, batch } => {
                core.take(agent, *batch);
                self.show(view)?;
            }
            Recorded::Armed(time) => self.arm(time, view)?,
            Recorded::Ended { agents, time } => {
                core.ended(agents, time);
                self.show(view)?;
            }
        }
        Ok(())
    }

    /// Takes note that all points are observed from `time` on; `i64::MAX` if
    /// they never were.
    fn arm(&mut self, time: i64, view: &mut impl View) -> io::Result<()> {
        self.core.armed(time);
        self.armed = true;
        if time < i64::MAX {
            self.started.time = time;
        }
        view.started(self.core.scene(), &self.started)
    }

    fn show(&mut self, view: &mut impl View) -> io::Result<()> {
        if self.armed {
            self.core.show(view)?;
        }
        Ok(())
    }

    fn end(&mut self, view: &mut impl View) -> io::Result<()> {
        if !self.armed {
            self.arm(i64::MAX, view)?;
        }
        self.core.end(view)?;
        self.core.sum_up(view)
    }
}

#[cfg(test)]
mod tests;
