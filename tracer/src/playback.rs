//! Recordings through the same code as a live follow, to a view: what all commands do that read
//! recordings.

use std::{io, path::PathBuf};

use tracer_core::{
    collect::Core,
    journal::{Reader, Selection, View},
};

use crate::{
    cli::{Failure, Outcome},
    store::{JoinError, Recordings},
    terminal::tell,
};

/// Shows the selected journeys of files to a view, and prints what is wrong with the files.
pub(crate) fn through(
    files: &[PathBuf],
    view: &mut impl View,
    selection: Option<Selection>,
) -> Result<Replayed, Failure> {
    shown(files, view, selection, Failure::from)
}

/// As [`through`], with a view that does not write to standard output and has its own errors.
pub(crate) fn shown(
    files: &[PathBuf],
    view: &mut impl View,
    selection: Option<Selection>,
    unwritten: impl FnOnce(io::Error) -> Failure,
) -> Result<Replayed, Failure> {
    let recordings = Recordings::open(files).map_err(Failure::new)?;
    read(recordings, view, selection, unwritten)
}

/// As [`shown`], with recordings that are open.
pub(crate) fn read(
    mut recordings: Recordings,
    view: &mut impl View,
    selection: Option<Selection>,
    unwritten: impl FnOnce(io::Error) -> Failure,
) -> Result<Replayed, Failure> {
    let replayed = replay(&mut recordings, &mut Reader::new(view, selection)).map_err(unwritten)?;
    limits(&recordings);
    Ok(replayed)
}

/// Prints what is known after the last event, and what limits the verdicts.
pub(crate) fn limits(recordings: &Recordings) {
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

/// The result of a replay.
pub struct Replayed {
    /// Number of journeys, without ARP and neighbour discovery.
    pub matched: u64,
    /// Why the recording could not be read to its end; `None` if it was.
    pub broken: Option<JoinError>,
}

impl Replayed {
    /// The outcome of a command that showed the replay.
    ///
    /// # Errors
    /// If the recording could not be read to its end.
    pub(crate) fn outcome(self) -> Result<Outcome, Failure> {
        match self.broken {
            Some(error) => Err(Failure::new(error)),
            None => Ok(Outcome::of(self.matched)),
        }
    }
}

/// Replays recordings, and shows what the follow showed.
///
/// A file that cannot be read any further ends the replay of all files. Everything before is
/// shown.
///
/// # Errors
/// Errors of the view.
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
