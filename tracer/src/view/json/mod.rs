//! JSON for programs: one object per line, as docs/json.md describes it.

mod dns;
pub(super) mod dropped;
pub(super) mod drops;
pub(super) mod evidence;
mod packet;
mod place;
pub(super) mod record;

pub(super) use place::Place;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Drop, Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use self::{dropped::Fact, evidence::Evidence};
use crate::terminal::is_steering;

/// Writes JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }

    fn line(&mut self, record: &impl Serialize) -> io::Result<()> {
        self.out.write_all(&line(record)?)?;
        self.out.flush()
    }
}

/// An object as one line, with a newline.
pub(super) fn line(record: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    record.serialize(&mut Serializer::with_formatter(&mut line, Escaped))?;
    line.push(b'\n');
    Ok(line)
}

/// The journey's hop with this number, from 0, as in the line of the journey.
pub(crate) fn hop_json(scene: &Scene, journey: &Journey, hop: usize) -> io::Result<String> {
    text(&record::Hop::numbered(scene, journey, hop))
}

/// A drop of a journey, as in the line of the journey.
pub(crate) fn drop_json(scene: &Scene, drop: &Drop) -> io::Result<String> {
    text(&dropped::Drop::new(scene, drop))
}

/// The evidence of a verdict, one object each, as in the line of the journey.
pub(crate) fn evidence_json(
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
) -> io::Result<Vec<String>> {
    let all = Evidence::all(scene, journey, &verdict.evidence);
    all.iter().map(text).collect()
}

/// What an agent read at a drop, one object each, as in the line of the journey.
pub(crate) fn facts_json(drop: &Drop) -> io::Result<Vec<String>> {
    Fact::all(&drop.facts).iter().map(text).collect()
}

/// How the agent found the network namespace of a drop, as the value of `known_by`.
pub(crate) fn drop_known_by(drop: &Drop) -> &'static str {
    drop.scope.map_or("last hop", drops::known_by)
}

fn text(value: &impl Serialize) -> io::Result<String> {
    let mut line = line(value)?;
    line.pop();
    String::from_utf8(line).map_err(io::Error::other)
}

/// Compact JSON. Control sequences for terminals are escaped, although JSON does not demand
/// that (RFC 8259, section 7). A program reads the same text.
struct Escaped;

impl Formatter for Escaped {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut written = 0;
        for (at, steering) in fragment.match_indices(is_steering) {
            writer.write_all(&fragment.as_bytes()[written..at])?;
            for c in steering.chars() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            written = at + steering.len();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

impl<W: Write> View for Json<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.line(&record::Started::new(scene, started))
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.line(&record::Changed::new(scene, changed))
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.line(&record::Journey::new(scene, journey, verdict, parts))
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.line(&record::Summary::new(scene, summary, selected))
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn strings_cannot_steer_a_terminal_and_stay_what_they_are() {
        let name = "é\u{1b}[2J\u{9b}0\u{7f}\u{202e}→\u{feff}";
        let json = line(&name).expect("memory takes all");
        let text = String::from_utf8(json).expect("text");
        assert_eq!(text, "\"é\\u001b[2J\\u009b0\\u007f\\u202e→\\ufeff\"\n");
        let read: String = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read, name);
    }
}
