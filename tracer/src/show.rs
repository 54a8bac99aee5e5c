//! `tracer show`: what a recording holds.

use std::io::{self, Write as _};

use crate::{
    cli::{Failure, Outcome, Output, ShowArgs, look_of_stdout},
    store::Contents,
    view::{contents_json, contents_text},
};

/// Says what a file holds.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ShowArgs) -> Result<Outcome, Failure> {
    let contents = Contents::of(&args.file).map_err(Failure::new)?;
    let mut stdout = io::stdout().lock();
    match args.output {
        Output::Text => contents_text(&mut stdout, &look_of_stdout(args.times.utc), &contents)?,
        Output::Json => contents_json(&mut stdout, &contents)?,
    }
    stdout.flush()?;
    Ok(Outcome::Done)
}
