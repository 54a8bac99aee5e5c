//! The command line: arguments as typed, settings as meant, and how a command ends.
//!
//! ```text
//! text ──clap──► Arguments ──look up──► Settings ──follow──► Outcome | Failure ──► exit code
//! ```
//!
//! Data goes to stdout and everything else to stderr. An error is one sentence. It is no failure if
//! the reader of stdout goes away, as `head` does.

mod agents;
mod args;
pub mod at;
mod complete;
mod drops;
mod ends;
mod error;
mod extcap;
mod help;
mod load;
mod look;
mod man;
mod selection;
mod settings;
mod targets;
#[cfg(test)]
mod tests;
mod values;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser as _, error::ErrorKind};
use tracing::Level;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

pub use args::{
    AccessArgs, AgentArgs, Arguments, BundleArgs, Command, Destination, DropsArgs, ExpectArgs,
    Expected, ExportArgs, FollowArgs, Format, GroupBy, ImportArgs, Output, Protocol, RecordArgs,
    RecordingArgs, ReplayArgs, SchemaArgs, Shape, ShapeArgs, ShowArgs, Source, Split, StatsArgs,
    WatchArgs,
};
pub(crate) use args::{AgentArguments, AgentCommand};
#[cfg(test)]
pub(crate) use drops::tests::settings as drops_settings;
pub use drops::{DropsLive, DropsSettings};
pub use ends::{End, EndKind, Port};
pub use error::{Failure, Outcome, SettingsError};
pub(crate) use look::{look_of_stderr, look_of_stdout};
pub use selection::selection;
pub use settings::{Live, Settings};
pub use values::{AgentSpec, EndName, PodName, PortName, ServiceName};

use crate::terminal::Lines;

/// The commands of the program.
pub trait Program {
    /// Follows packets.
    ///
    /// # Errors
    /// [`Failure`], in one sentence, here and below.
    fn follow(settings: Settings) -> Result<Outcome, Failure>;

    /// Records a follow without showing it.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn record(settings: Settings) -> Result<Outcome, Failure>;

    /// Shows what kernels drop.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn drops(settings: DropsSettings) -> Result<Outcome, Failure>;

    /// Serves a collector on this node.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn agent(args: &AgentArgs) -> Result<Outcome, Failure>;

    /// Shows recorded journeys.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn replay(args: &ReplayArgs) -> Result<Outcome, Failure>;

    /// Writes recordings in another format.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn export(args: &ExportArgs) -> Result<Outcome, Failure>;

    /// Makes a recording of captures.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn import(args: &ImportArgs) -> Result<Outcome, Failure>;

    /// Packs recordings and their replay into one file.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn bundle(args: &BundleArgs) -> Result<Outcome, Failure>;

    /// Prints the schema of JSON lines and documents.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn schema(args: &SchemaArgs) -> Result<Outcome, Failure>;

    /// Describes the contents of a recording.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn show(args: &ShowArgs) -> Result<Outcome, Failure>;

    /// Summarizes recordings.
    ///
    /// # Errors
    /// See [`Program::follow`].
    fn stats(args: &StatsArgs) -> Result<Outcome, Failure>;
}

/// Runs the program: reads its arguments and executes the command.
///
/// Help ends the process here.
pub fn run<P: Program>() -> ExitCode {
    if let Some(answer) = complete::answer() {
        let printed = answer
            .map_err(Failure::new)
            .and_then(|answer| print(&answer));
        return error::finish(printed);
    }
    let arguments = match Arguments::try_parse_from(extcap::words()) {
        Ok(arguments) => arguments,
        Err(help) if is_help(help.kind()) => help.exit(),
        Err(refusal) => return error::finish(Err(refusal.into())),
    };
    log_to_stderr(arguments.verbose);
    error::finish(match arguments.command {
        Command::Follow(args) => Settings::resolve(&args)
            .map_err(Failure::from)
            .and_then(P::follow),
        Command::Record(args) => Settings::recording(&args)
            .map_err(Failure::from)
            .and_then(P::record),
        Command::Agent(args) => P::agent(&args),
        Command::Replay(args) => P::replay(&args),
        Command::Export(args) => P::export(&args),
        Command::Extcap(args) => extcap::run::<P>(&args),
        Command::Import(args) => P::import(&args),
        Command::Bundle(args) => P::bundle(&args),
        Command::Schema(args) => P::schema(&args),
        Command::Show(args) => P::show(&args),
        Command::Stats(args) => P::stats(&args),
        Command::Drops(args) => DropsSettings::resolve(&args)
            .map_err(Failure::from)
            .and_then(P::drops),
        Command::Version => print(format!("tracer {}\n", env!("CARGO_PKG_VERSION")).as_bytes()),
        Command::Man { dir } => man::write(&dir).map(|()| Outcome::Done),
        Command::Completions { shell } => {
            let script = complete::script(shell).map_err(Failure::new);
            script.and_then(|script| print(&script))
        }
    })
}

/// Runs the program that has only the agent.
///
/// Help ends the process here.
pub fn run_agent(agent: fn(&AgentArgs) -> Result<Outcome, Failure>) -> ExitCode {
    let arguments = match AgentArguments::try_parse() {
        Ok(arguments) => arguments,
        Err(help) if is_help(help.kind()) => help.exit(),
        Err(refusal) if refusal.kind() == ErrorKind::InvalidSubcommand => {
            return error::finish(Err(Failure::Syntax(
                "this program is only tracer's agent: for other commands, use the whole tracer \
                 (`cargo xtask build` makes it)"
                    .to_owned(),
            )));
        }
        Err(refusal) => return error::finish(Err(refusal.into())),
    };
    log_to_stderr(arguments.verbose);
    error::finish(match arguments.command {
        AgentCommand::Agent(args) => agent(&args),
        AgentCommand::Version => {
            print(concat!("tracer ", env!("CARGO_PKG_VERSION"), ", the agent\n").as_bytes())
        }
    })
}

fn is_help(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

fn print(text: &[u8]) -> Result<Outcome, Failure> {
    io::stdout().write_all(text)?;
    io::stdout().flush()?;
    Ok(Outcome::Done)
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        2 => Level::DEBUG,
        _ => Level::TRACE,
    };
    // The API client's errors reach the user as errors of a command, so its own log is off.
    let kube = if verbose > 1 {
        level.into()
    } else {
        LevelFilter::OFF
    };
    let targets = Targets::new()
        .with_default(level)
        .with_target("kube_client", kube)
        .with_target("kube_runtime", kube);
    let lines = fmt::layer()
        .with_writer(|| Lines(io::stderr()))
        // Colours are control characters, which `Lines` replaces.
        .with_ansi(false);
    registry().with(lines.with_filter(targets)).init();
}
