//! `tracer extcap`: a capture interface of Wireshark.
//!
//! Wireshark runs each program of its extcap folder. It first asks for the program's interfaces and
//! their options, and later starts a capture into a FIFO (man 4 extcap). Here the options are those
//! of `tracer follow`, and the capture is the output of `-o pcapng`.

mod config;
mod install;

use std::{
    env,
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use clap::Parser as _;
use nix::unistd::dup2_stdout;
use tracer_core::journal::Query;

use super::{
    Program,
    args::{Arguments, Command, ExtcapArgs, ExtcapCommand},
    error::{Failure, Outcome},
    is_help, print,
    settings::Settings,
};

/// The name of the link to this program that Wireshark runs.
const LINK: &str = "tracer-extcap";
/// The name of the only interface on a command line.
const INTERFACE: &str = "tracer";
/// The option for all options of a follow that have no field.
const OPTIONS: &str = "--options";

/// The words on the command line. Wireshark's extcap folder has a link to this program, and a
/// link cannot hold the name of a command.
pub(super) fn words() -> impl Iterator<Item = OsString> {
    let mut words = env::args_os();
    let program = words.next();
    let is_link = program
        .as_ref()
        .is_some_and(|program| Path::new(program).file_name() == Some(LINK.as_ref()));
    let command = is_link.then(|| "extcap".into());
    program.into_iter().chain(command).chain(words)
}

/// Answers Wireshark, captures, or installs the link.
///
/// # Errors
/// [`Failure`], in one sentence.
pub(super) fn run<P: Program>(args: &ExtcapArgs) -> Result<Outcome, Failure> {
    if let Some(ExtcapCommand::Install { dir }) = &args.command {
        return print(install::run(dir.as_deref())?.as_bytes());
    }
    if args.extcap_interfaces {
        return print(config::interfaces().as_bytes());
    }
    match args.extcap_interface.as_deref() {
        Some(INTERFACE) => {}
        Some(other) => {
            return Err(Failure::Syntax(format!(
                "there is no interface {other}: give --extcap-interface {INTERFACE}"
            )));
        }
        None => {
            return Err(Failure::Syntax(format!(
                "Wireshark runs this command: `tracer extcap install` puts it where Wireshark finds \
                 it (or give --extcap-interface {INTERFACE})"
            )));
        }
    }
    if let (true, Some(fifo)) = (args.capture, &args.fifo) {
        return capture::<P>(fifo, args);
    }
    if args.extcap_dlts {
        return print(config::DLTS.as_bytes());
    }
    if args.extcap_config {
        return print(config::fields().as_bytes());
    }
    if let Some(filter) = &args.extcap_capture_filter {
        // Wireshark asks whether a filter is right. The output says what is wrong.
        return match filter.parse::<Query>() {
            Ok(_) => Ok(Outcome::Done),
            Err(error) => print(format!("{error}\n").as_bytes()),
        };
    }
    Err(Failure::Syntax(
        "give --extcap-dlts, --extcap-config or --capture".to_owned(),
    ))
}

/// Follows packets into a FIFO, as into standard output.
fn capture<P: Program>(fifo: &PathBuf, args: &ExtcapArgs) -> Result<Outcome, Failure> {
    // The FIFO is opened first, because Wireshark waits for that even if the arguments are wrong.
    let opened = File::options().write(true).truncate(true).open(fifo);
    opened
        .and_then(|fifo| dup2_stdout(fifo).map_err(io::Error::from))
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", fifo.display())))?;
    let words = follow(&args.words, args.extcap_capture_filter.as_deref())?;
    let arguments = Arguments::try_parse_from(words).map_err(|error| {
        if is_help(error.kind()) {
            return Failure::Syntax(
                "a capture has no --help and no --version: run `tracer follow --help` in a \
                 terminal"
                    .to_owned(),
            );
        }
        error.into()
    })?;
    match arguments.command {
        Command::Follow(args) => P::follow(Settings::resolve(&args)?),
        _ => Err(Failure::Syntax(
            "only options of `tracer follow` can be given".to_owned(),
        )),
    }
}

/// The command line of the follow that Wireshark's words ask for.
fn follow(given: &[String], filter: Option<&str>) -> Result<Vec<String>, Failure> {
    let mut words = ["tracer", "follow", "--output", "pcapng"]
        .map(str::to_owned)
        .to_vec();
    let mut given = given.iter().peekable();
    while let Some(word) = given.next() {
        // The user left the field empty.
        if word.starts_with("--") && given.next_if(|next| next.is_empty()).is_some() {
            continue;
        }
        if word == OPTIONS {
            let more = given.next().map_or("", String::as_str);
            let more = shlex::split(more).ok_or_else(|| {
                Failure::Syntax(format!("quotes are not closed in {OPTIONS}: {more}"))
            })?;
            words.extend(more);
            continue;
        }
        words.push(word.clone());
    }
    if let Some(filter) = filter {
        words.extend(["--where".to_owned(), filter.to_owned()]);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(given: &[&str], filter: Option<&str>) -> Result<Vec<String>, Failure> {
        let given: Vec<String> = given.iter().map(|word| (*word).to_owned()).collect();
        let words = follow(&given, filter)?;
        assert_eq!(words[..4], ["tracer", "follow", "--output", "pcapng"]);
        Ok(words[4..].to_vec())
    }

    #[test]
    fn fields_that_are_empty_are_left_out() {
        let given = [
            "--src",
            "pod/web",
            "--namespace",
            "",
            "--dns",
            "--options",
            "",
        ];
        let words = followed(&given, None).expect("right options");
        assert_eq!(words, ["--src", "pod/web", "--dns"]);
    }

    #[test]
    fn more_options_are_split_as_a_shell_does() {
        let given = ["--options", "--agent 'a=exec:ssh b tracer' --xdp", "--dns"];
        let words = followed(&given, Some("verdict:lost")).expect("right options");
        let expected = [
            "--agent",
            "a=exec:ssh b tracer",
            "--xdp",
            "--dns",
            "--where",
            "verdict:lost",
        ];
        assert_eq!(words, expected);
        let open = followed(&["--options", "--agent 'a"], None);
        assert!(matches!(open, Err(Failure::Syntax(_))), "{open:?}");
    }
}
