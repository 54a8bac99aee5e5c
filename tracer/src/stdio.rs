//! `-` as the name of a file: standard input, or standard output.

use std::{fs::File, io, os::fd::AsFd as _, path::Path};

/// What messages call what `-` stands for.
pub(crate) const INPUT: &str = "standard input";
const OUTPUT: &str = "standard output";

/// Whether a name stands for a standard stream.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What messages call a file that is read.
pub(crate) fn input(path: &Path) -> String {
    named(path, INPUT)
}

/// What messages call a file that is written.
pub(crate) fn output(path: &Path) -> String {
    named(path, OUTPUT)
}

fn named(path: &Path, dash: &str) -> String {
    if is_dash(path) {
        dash.to_owned()
    } else {
        path.display().to_string()
    }
}

/// Opens a file to be read, and says what to call it.
///
/// # Errors
/// If it cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<(&Path, File)> {
    if is_dash(path) {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        return Ok((Path::new(INPUT), input.into()));
    }
    Ok((path, File::open(path)?))
}
