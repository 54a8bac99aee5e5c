//! `tracer replay`: a recording through the same code as a live follow.

mod play;
mod player;
mod room;
mod watch;

use std::{
    io::{self, StdoutLock},
    path::PathBuf,
    sync::mpsc::Receiver,
};

use tracer_core::{
    collect::Core,
    journal::{Reader, Selection, View},
};

use crate::{
    cli::{Failure, Outcome, ReplayArgs, Shape, selection},
    expect::{Compared, Expectations},
    export::SAVER,
    store::{JoinError, Recordings},
    terminal::{look_of_stdout, tell},
    view::{Condensed, Json, Live, Shown, Text, Wish},
};

#[cfg(test)]
pub(crate) use self::play::travel;
use self::{play::Play, player::Player, watch::Watch};

/// How one sees all journeys that a terminal was not shown.
const ALL: &str = "To see all: --hops, a pipe, or -o json; --where chooses.";

/// Shows what was recorded.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ReplayArgs) -> Result<Outcome, Failure> {
    let stdout = io::stdout();
    let look = look_of_stdout(args.times.utc);
    let shape = args.shape.shape()?;
    let utc = args.times.utc || shape == Shape::Json;
    let selection = selection(args.query.as_ref(), utc, None);
    let expectations = &mut Expectations::of(&args.flows).map_err(Failure::new)?;
    let replayed = match shape {
        Shape::Live => {
            let recordings = Recordings::open(&args.files).map_err(Failure::new)?;
            let files = args.files.iter().map(|file| file.display().to_string());
            let shown = Shown {
                live: false,
                command: words(["tracer", "replay"]).chain(files).collect(),
                query: args.query.clone(),
                saver: SAVER,
            };
            if recordings.again().is_some() {
                let view = Live::movable(shown, stdout.lock(), look).map_err(Failure::new)?;
                moved(recordings, view, expectations, selection)
            } else {
                // What comes through a pipe can be read once.
                let (view, _) = Live::start(shown, stdout.lock(), look).map_err(Failure::new)?;
                let view = &mut Compared { view, expectations };
                read(recordings, view, selection, Failure::from)
            }
        }
        Shape::Text if args.shape.is_condensed() => {
            // A second of the recording has as many lines as one that is live.
            let clock = |time| time;
            let view = Condensed::new(stdout.lock(), look, clock, ALL.to_owned());
            through(&args.files, &mut Compared { view, expectations }, selection)
        }
        Shape::Text => {
            let view = Text::new(stdout.lock(), look);
            through(&args.files, &mut Compared { view, expectations }, selection)
        }
        Shape::Json => {
            let view = Json::new(stdout.lock());
            through(&args.files, &mut Compared { view, expectations }, selection)
        }
    };
    let outcome = replayed?.outcome()?;
    match expectations {
        Some(expectations) => expectations.outcome(&args.flows),
        None => Ok(outcome),
    }
}

fn words(words: [&str; 2]) -> impl Iterator<Item = String> {
    words.into_iter().map(str::to_owned)
}

/// Shows what is selected of what is in files to a view, and says what is wrong with
/// them.
pub(crate) fn through(
    files: &[PathBuf],
    view: &mut impl View,
    selection: Option<Selection>,
) -> Result<Replayed, Failure> {
    shown(files, view, selection, Failure::from)
}

/// The same by a view that writes elsewhere than to standard output, and has its own
/// words if it cannot.
pub(crate) fn shown(
    files: &[PathBuf],
    view: &mut impl View,
    selection: Option<Selection>,
    unwritten: impl FnOnce(io::Error) -> Failure,
) -> Result<Replayed, Failure> {
    let recordings = Recordings::open(files).map_err(Failure::new)?;
    read(recordings, view, selection, unwritten)
}

fn read(
    mut recordings: Recordings,
    view: &mut impl View,
    selection: Option<Selection>,
    unwritten: impl FnOnce(io::Error) -> Failure,
) -> Result<Replayed, Failure> {
    let replayed = replay(&mut recordings, &mut Reader::new(view, selection)).map_err(unwritten)?;
    limits(&recordings);
    Ok(replayed)
}

/// Shows recordings to somebody who moves them in time, until that one has seen enough.
fn moved(
    recordings: Recordings,
    (view, wishes): (Live<StdoutLock<'_>>, Receiver<Wish>),
    expectations: &mut Option<Expectations>,
    selection: Option<Selection>,
) -> Result<Replayed, Failure> {
    let is_expected = expectations.is_some();
    let mut watch = Watch::new(view, expectations);
    let mut reader = Reader::new(&mut watch, selection);
    let player = Player::new(recordings, &mut reader).expect("it can be read again");
    let replayed = Play::new(player).run(&mut reader, &wishes)?;
    match (replayed, watch.whole()) {
        (Some(replayed), Some((scene, summary, selected))) => {
            let view = watch.view();
            view.summary(&scene, &summary, selected.as_ref())?;
            Ok(replayed)
        }
        _ if is_expected => Err(Failure::new(
            "left before all of the recording was read, so nothing is said of the flows: wait for \
             its end, or give -o text",
        )),
        // Nobody needs the rest.
        _ => Err(Failure::BrokenPipe),
    }
}

/// Says what is known of recordings after the last event, and limits what can be said.
fn limits(recordings: &Recordings) {
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
}

/// What came of a replay.
pub struct Replayed {
    /// Journeys judged that are more than ARP and neighbour discovery.
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
pub fn replay<V: View>(
    recordings: &mut Recordings,
    reader: &mut Reader<'_, V>,
) -> io::Result<Replayed> {
    let mut core = Core::new(recordings.beginning());
    let mut broken = None;
    for record in recordings.by_ref() {
        match record {
            Ok(record) => core.take(record),
            Err(error) => broken = Some(error),
        }
        core.show(reader)?;
    }
    core.end(reader)?;
    core.sum_up(reader)?;
    Ok(Replayed {
        matched: core.matched(),
        broken,
    })
}

#[cfg(test)]
mod tests;
