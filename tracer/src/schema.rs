//! `tracer schema`: what lines and documents of JSON are like, for programs.

use std::io;

use crate::{
    cli::{Failure, Outcome, SchemaArgs},
    view::write_schema,
};

/// Prints a schema.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &SchemaArgs) -> Result<Outcome, Failure> {
    write_schema(io::stdout().lock(), args.kind.as_deref())?;
    Ok(Outcome::Done)
}
