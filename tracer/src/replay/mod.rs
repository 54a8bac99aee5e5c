//! `tracer replay`: runs a recording through the same code as a live follow.

mod play;
mod player;
mod room;
mod watch;

use std::{
    io::{self, StdoutLock},
    sync::mpsc::Receiver,
};

use tracer_core::journal::{Reader, Selection, View as _};

use crate::{
    cli::{Failure, Outcome, ReplayArgs, Shape, look_of_stdout, selection},
    expect::{Compared, Expectations},
    export::{SAVER, Stream},
    playback::{Replayed, read, through},
    store::Recordings,
    view::{Condensed, Json, Live, Shown, Text, Wish},
};

#[cfg(test)]
pub(crate) use self::play::travel;
use self::{play::Play, player::Player, watch::Watch};

/// Hint on how to see all journeys that the terminal did not show.
const ALL: &str = "To see all: --hops, a pipe, or -o json; --where chooses.";

/// Shows recordings.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ReplayArgs) -> Result<Outcome, Failure> {
    let stdout = io::stdout();
    let look = look_of_stdout(args.times.utc);
    let shape = args.shape.shape()?;
    let utc = args.times.utc || matches!(shape, Shape::Json | Shape::Pcapng);
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
                // Input from a pipe can be read only once.
                let (view, _) = Live::start(shown, stdout.lock(), look).map_err(Failure::new)?;
                let view = &mut Compared { view, expectations };
                read(recordings, view, selection, Failure::from)
            }
        }
        Shape::Text if args.shape.is_condensed() => {
            // A second of the recording shows as many lines as a live second.
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
        Shape::Pcapng => {
            let view = Stream::new(stdout.lock());
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

/// Shows recordings in the live view, where the user moves in time, until the user quits.
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
        // A user who has left does not need the rest.
        _ => Err(Failure::BrokenPipe),
    }
}

#[cfg(test)]
mod tests;
