//! Manual pages, made from the same definitions as the help.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{args::Arguments, error::Failure};

/// Writes tracer.1 and a page for each command into a directory. Makes the directory if it does not
/// exist.
///
/// # Errors
/// If the directory cannot be made, or a page cannot be written.
pub(super) fn write(directory: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| {
        Failure::Other(format!("cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut tracer = Arguments::command().disable_help_subcommand(true);
    // Gives commands their whole names, such as `tracer-follow`.
    tracer.build();
    let commands = tracer.get_subcommands();
    let within = tracer.get_subcommands().flat_map(Command::get_subcommands);
    for command in [&tracer].into_iter().chain(commands).chain(within) {
        let man = Man::new(command.clone());
        let path = directory.join(man.get_filename());
        page(command, &man)
            .and_then(|page| fs::write(&path, page))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Makes a page. The help after the options has its own layout, which the page keeps.
fn page(command: &Command, man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let end = command.get_after_help().map(ToString::to_string);
    let mut roff = Roff::new();
    let mut is_open = false;
    for line in end.iter().flat_map(|end| end.lines()) {
        if is_heading(line) {
            if is_open {
                roff.control("fi", []);
            }
            roff.control("SH", [line]).control("nf", []);
            is_open = true;
        } else {
            // The help indents the text of a section. A page indents it anyway.
            roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
    }
    if is_open {
        roff.control("fi", []);
    }
    roff.to_writer(&mut page)?;
    Ok(page)
}

/// Whether a line of the help begins a section: `EXIT CODES`.
fn is_heading(line: &str) -> bool {
    !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c == ' ')
}
