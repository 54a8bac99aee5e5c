//! `tracer replay`: a recording through the same code as a live follow.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use crate::{
    cli::{Failure, Outcome, Output, ReplayArgs},
    collector::Core,
    follow::tell,
    store::{Event, JoinError, Recordings},
    view::{Json, Started, Text, View},
};

/// Shows what was recorded.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ReplayArgs) -> Result<Outcome, Failure> {
    let stdout = io::stdout();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    match args.output {
        Output::Text => through(&args.files, &mut Text::new(stdout.lock(), colours)),
        Output::Json => through(&args.files, &mut Json::new(stdout.lock())),
    }
}

/// Shows what is in files to a view, and says what is wrong with them.
pub(crate) fn through(files: &[PathBuf], view: &mut impl View) -> Result<Outcome, Failure> {
    let mut recordings = Recordings::open(files).map_err(Failure::new)?;
    let replayed = replay(&mut recordings, view)?;
    for path in recordings.cut() {
        tell(&format!(
            "{} ends in the middle, as when its recorder is killed: what was on its way then is \
             unknown",
            path.display()
        ));
    }
    match replayed.broken {
        Some(error) => Err(Failure::new(error)),
        None => Ok(Outcome::of(replayed.matched)),
    }
}

/// What came of a replay.
pub struct Replayed {
    /// Journeys shown that are more than ARP and neighbour discovery.
    pub matched: u64,
    /// Why what was read is not all, if it is not.
    pub broken: Option<JoinError>,
}

/// Goes through recordings, and shows what the follow showed.
///
/// A file that cannot be read on ends them all there: what came before is
/// shown.
///
/// # Errors
/// Those of the view.
pub fn replay(recordings: &mut Recordings, view: &mut impl View) -> io::Result<Replayed> {
    let head = recordings.head();
    let mut started = Started {
        time: i64::MIN,
        follow: head.follow.clone(),
        warnings: head.warnings.clone(),
    };
    started.warnings.extend(recordings.warnings());
    let mut core = Core::new(head.beginning());
    let mut unarmed = recordings.recordings();
    let mut broken = None;
    for event in recordings.by_ref() {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                broken = Some(error);
                break;
            }
        };
        match event {
            Event::Batch { agent, batch } => {
                core.take(agent, *batch);
                if unarmed == 0 {
                    core.show(view)?;
                }
            }
            Event::State {
                agent,
                stream,
                watermark: _,
                report,
            } => {
                if let Some(report) = report {
                    core.state(agent, stream, *report);
                }
            }
            Event::Armed(time) => {
                core.armed(time);
                started.time = started.time.max(time);
                unarmed = unarmed.saturating_sub(1);
                if unarmed == 0 {
                    view.started(core.scene(), &started)?;
                }
            }
            Event::End(_) => {}
        }
    }
    if unarmed > 0 {
        started.time = started.time.max(recordings.head().time);
        view.started(core.scene(), &started)?;
    }
    core.end(view)?;
    core.sum_up(view)?;
    Ok(Replayed {
        matched: core.matched(),
        broken,
    })
}
