//! `tracer export`: a recording in the formats of other programs. `tracer bundle`: a
//! recording for a ticket.
//!
//! A recording goes through the core, as in a replay, and a view writes the results. So an
//! export has the journeys and verdicts that `tracer replay` shows. Each format limits the
//! journeys in memory, and says how many it leaves out.

mod bundle;
mod html;
mod kept;
mod names;
mod output;
mod parquet;
mod pcapng;
mod sorted;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    path::Path,
};

use tracer_core::journal::View;

pub use self::bundle::run as bundle;
use self::{
    html::Html,
    output::Output,
    parquet::Parquet,
    pcapng::{Pcapng, profile},
};
pub(crate) use self::{kept::SAVER, pcapng::Stream};
use crate::{
    cli::{ExportArgs, Failure, Format, Outcome, selection},
    playback::{Replayed, shown},
    stdio,
    view::Json,
};

/// Writes recordings in another format.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ExportArgs) -> Result<Outcome, Failure> {
    check(args)?;
    let to_stdout = stdio::is_dash(&args.output);
    let folder = args.split.is_some() || args.format == Format::Parquet;
    let made = if folder {
        Output::folder_at(&args.output)
    } else {
        Output::file_at(&args.output)
    };
    let mut output = made.map_err(|error| unwritten(&args.output, error))?;
    let replayed = match args.format {
        Format::Pcapng => {
            let mut view = Pcapng::new(&mut output, args.split.is_some());
            // The recording would have more than the selected journeys.
            if args.query.is_none() {
                // Errors of a file are reported when it is replayed.
                let _: io::Result<()> = view.carry(&args.files);
            }
            through(args, &mut view)?
        }
        Format::Parquet => {
            let mut view = Parquet::new(&output);
            through(args, &mut view)?
        }
        Format::Jsonl => {
            let file = output
                .file("")
                .map_err(|error| unwritten(&args.output, error))?;
            let mut view = Json::new(file);
            through(args, &mut view)?
        }
        Format::Html => {
            let file = output
                .file("")
                .map_err(|error| unwritten(&args.output, error))?;
            let mut view = Html::new(file);
            through(args, &mut view)?
        }
    };
    // The requested journeys may be after the damage.
    if let Some(error) = &replayed.broken {
        let out = args.output.display();
        return Err(Failure::new(if to_stdout {
            error.to_string()
        } else if folder {
            format!("{error}; {out} was not written: -f jsonl writes what comes before")
        } else {
            format!("{error}; {out} was not written: -o - writes what comes before")
        }));
    }
    output
        .publish()
        .map_err(|error| unwritten(&args.output, error))?;
    if args.profile {
        let folder = profile::beside(&args.output);
        profile::write(&folder).map_err(|error| unwritten(&folder, error))?;
    }
    replayed.outcome()
}

/// Refuses options that do not fit together.
fn check(args: &ExportArgs) -> Result<(), Failure> {
    let to_stdout = stdio::is_dash(&args.output);
    let is_pcapng = args.format == Format::Pcapng;
    let wrong = if args.split.is_some() && !is_pcapng {
        "only pcapng can be split: leave out --split, or give --format pcapng"
    } else if args.split.is_some() && to_stdout {
        "--split makes a folder of files: name it with -o FOLDER"
    } else if args.profile && !is_pcapng {
        "only pcapng has a profile: leave out --profile, or give --format pcapng"
    } else if args.profile && to_stdout {
        "--profile makes a folder beside the file: name the file with -o FILE"
    } else if to_stdout && args.format == Format::Parquet {
        "parquet is a folder of files: name it with -o FOLDER"
    } else {
        if to_stdout && args.format.is_binary() && io::stdout().is_terminal() {
            return Err(Failure::Other(
                "this format is binary and not for a terminal: name a file with -o FILE".to_owned(),
            ));
        }
        return Ok(());
    };
    Err(Failure::Syntax(wrong.to_owned()))
}

/// Replays recordings into a view.
fn through(args: &ExportArgs, view: &mut impl View) -> Result<Replayed, Failure> {
    let selection = selection(args.query.as_ref(), true, None);
    shown(&args.files, view, selection, |error| {
        unwritten(&args.output, error)
    })
}

/// The error if an export cannot be written.
fn unwritten(out: &Path, error: io::Error) -> Failure {
    if stdio::is_dash(out) {
        return error.into();
    }
    Failure::Other(format!("cannot write {}: {error}", out.display()))
}
