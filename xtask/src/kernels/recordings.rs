//! Gets recordings out of a machine that has no disk and no network: over its serial line, in
//! base64 (RFC 4648), between two marker lines.

use std::{mem, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The directory in a machine where tests record.
pub(super) const DIRECTORY: &str = "/recordings";

/// The line before a recording, with the recording's length in bytes and its name.
const BEGIN: &str = "tracer-machine: recording ";
/// The line after a recording.
const END: &str = "tracer-machine: recorded";

/// A recording from a machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Recording {
    /// The file's name.
    pub(crate) name: String,
    /// The file's content.
    pub(crate) content: Vec<u8>,
}

/// The lines of a machine's script that print the recordings. They silence the kernel, whose
/// messages would otherwise come in between.
pub(super) fn telling() -> String {
    format!(
        "dmesg -n 1
for file in {DIRECTORY}/*; do
    [ -f \"$file\" ] || continue
    echo \"{BEGIN}$(stat -c %s \"$file\") ${{file##*/}}\"
    base64 \"$file\"
    echo '{END}'
done
"
    )
}

/// Takes recordings out of a machine's lines.
#[derive(Default)]
pub(super) struct Recordings {
    complete: Vec<Recording>,
    /// The unfinished recording, and the length that it will have.
    open: Option<(Recording, usize)>,
}

impl Recordings {
    /// Takes a line, if it belongs to a recording.
    ///
    /// # Errors
    /// If the line cannot come next, because a part of the recording is missing.
    pub(super) fn take(&mut self, line: &str) -> Result<bool> {
        if let Some(head) = line.strip_prefix(BEGIN) {
            if let Some((open, _)) = &self.open {
                bail!("the end of the recording {} is missing", open.name);
            }
            self.open = Some(announced(head)?);
            return Ok(true);
        }
        let Some((Recording { name, content }, length)) = &mut self.open else {
            return Ok(false);
        };
        if line == END {
            ensure!(
                content.len() == *length,
                "{} of {length} bytes of the recording {name} came",
                content.len()
            );
            self.complete.extend(self.open.take().map(|(all, _)| all));
            return Ok(true);
        }
        let part = STANDARD
            .decode(line)
            .with_context(|| format!("in the recording {name} there is \"{line}\""))?;
        content.extend(part);
        Ok(true)
    }

    /// The complete recordings.
    pub(super) fn take_complete(&mut self) -> Vec<Recording> {
        mem::take(&mut self.complete)
    }
}

/// An announced recording, and its length: `LENGTH NAME`.
fn announced(head: &str) -> Result<(Recording, usize)> {
    let (length, name) = head.split_once(' ').context("a recording has no name")?;
    let is_plain = Path::new(name).file_name().is_some_and(|own| own == name);
    ensure!(is_plain, "a recording is called \"{name}\"");
    let length = length
        .parse()
        .with_context(|| format!("the recording {name} has no length"))?;
    let recording = Recording {
        name: name.to_owned(),
        content: Vec::new(),
    };
    Ok((recording, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The recordings in lines that all belong to recordings.
    fn taken(lines: &[&str]) -> Result<Vec<Recording>> {
        let mut recordings = Recordings::default();
        for line in lines {
            assert!(recordings.take(line)?, "{line}");
        }
        Ok(recordings.take_complete())
    }

    #[test]
    fn lines_are_put_together() {
        let begin = format!("{BEGIN}7 one.arrows");
        let other = format!("{BEGIN}0 none.arrows");
        let all = taken(&[&begin, "AAEC", "/v9oaQ==", END, &other, END]).expect("all is there");
        let recording = |name: &str, content: &[u8]| Recording {
            name: name.to_owned(),
            content: content.to_owned(),
        };
        let expected = [
            recording("one.arrows", b"\0\x01\x02\xfe\xffhi"),
            recording("none.arrows", b""),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn other_lines_are_not_taken() {
        let mut recordings = Recordings::default();
        assert!(!recordings.take("AAEC").expect("nothing is wrong"));
        assert!(recordings.take_complete().is_empty());
    }

    #[test]
    fn what_is_broken_is_an_error() {
        let begin = &*format!("{BEGIN}6 one.arrows");
        let error = |lines: &[&str]| taken(lines).expect_err("it is broken").to_string();
        let oops = "[    9.1] Oops: int3: 0000 [#1] SMP NOPTI";
        assert!(error(&[begin, "AAEC", oops]).contains(oops));
        assert!(error(&[begin, "AAE"]).contains("one.arrows"));
        // One line is missing, or the whole rest.
        let missing = "3 of 6 bytes of the recording one.arrows came";
        assert_eq!(error(&[begin, "AAEC", END]), missing);
        assert!(error(&[begin, "AAEC", begin]).contains("the end of"));
        for head in ["", "6", "six one.arrows", "6 ../one.arrows", "6 "] {
            assert!(taken(&[&format!("{BEGIN}{head}")]).is_err(), "{head}");
        }
    }
}
