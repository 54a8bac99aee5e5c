//! The `tracer` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracer::cli::run(tracer::follow::run, tracer::drops::run)
}
