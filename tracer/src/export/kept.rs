//! Saves journeys of the live view, in the format that the file's name ends in.

use std::{io, path::Path};

use super::{html::Html, output::Output, pcapng::Pcapng};
use crate::{
    cli::Format,
    view::{Json, Kept, Saver},
};

/// The formats for saving.
pub(crate) const SAVER: Saver = Saver {
    check,
    write: |path, kept| {
        write(path, kept).map_err(|error| format!("cannot write {}: {error}", path.display()))
    },
};

/// The format of a file name.
fn format(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()? {
        "html" => Some(Format::Html),
        "jsonl" => Some(Format::Jsonl),
        "pcapng" => Some(Format::Pcapng),
        _ => None,
    }
}

fn check(path: &Path) -> Result<(), String> {
    if format(path).is_none() {
        return Err(
            "end the name in .html for a browser, .jsonl for scripts, or .pcapng for Wireshark"
                .to_owned(),
        );
    }
    if path.symlink_metadata().is_ok() {
        return Err("it is there already, and stays: give another name".to_owned());
    }
    Ok(())
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut output = Output::file_at(path)?;
    match format(path) {
        Some(Format::Pcapng) => kept.show(&mut Pcapng::new(&mut output, false))?,
        Some(Format::Html) => kept.show(&mut Html::new(output.file("")?))?,
        Some(Format::Jsonl) => kept.show(&mut Json::new(output.file("")?))?,
        // `check` refuses such names.
        Some(Format::Parquet) | None => return Err(io::ErrorKind::InvalidFilename.into()),
    }
    output.publish()
}
