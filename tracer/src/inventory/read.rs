//! Reads objects from a file, a few at a time.
//!
//! kubectl's output for a large cluster has hundreds of megabytes, and only a small part is
//! needed. So this module holds only some items at a time. YAML goes through a [`Skimmer`]
//! first, and JSON is parsed as a stream. Both skip unneeded fields before these take memory.

use std::{io::BufRead, path::Path, str};

use serde::de::{DeserializeSeed as _, IgnoredAny};
use serde_json::error::Category;
use serde_saphyr::{Options, budget, options};

use super::{
    InventoryError,
    objects::Object,
    skim::{Chunk, Part, Skimmer},
    skimmed::{Skim, Skimmed, kind_of_items},
    unreadable::Error,
};

/// Passes all objects of a file to `take`: one document or several, in YAML or JSON.
///
/// # Errors
/// If the file is neither, or has no Kubernetes objects; also errors of `take`.
pub(super) fn objects(
    path: &Path,
    mut input: impl BufRead,
    mut take: impl FnMut(Object) -> Result<(), InventoryError>,
) -> Result<(), InventoryError> {
    let mut take = |object| take(object).map_err(Error::Taken);
    let is_json = input.fill_buf().map(|start| {
        let mut start = start.iter().filter(|byte| !byte.is_ascii_whitespace());
        start.next() == Some(&b'{')
    });
    let read = match is_json {
        Ok(true) => json(input, &mut take),
        Ok(false) => yaml(input, &mut take),
        Err(error) => Err(Error::Read(error)),
    };
    read.map_err(|error| error.of(path))
}

type Take<'a> = dyn FnMut(Object) -> Result<(), Error> + 'a;

fn json(input: impl BufRead, take: &mut Take<'_>) -> Result<(), Error> {
    let mut text = serde_json::Deserializer::from_reader(input);
    while text.end().is_err() {
        let mut failed = None;
        let each = |list: Option<&str>, item: Skimmed| {
            // The list's own kind may come after its items.
            let kind = match (list.map(kind_of_items), &item.kind) {
                (Some(None), _) | (None, None) => return Ok(Some(item)),
                (Some(Some(kind)), _) => kind,
                (None, Some(_)) => None,
            };
            if let Err(error) = item.objects(kind, take) {
                failed = Some(error);
                return Err(Error::NotObjects(String::new()));
            }
            Ok(None)
        };
        let skimmed = Skim(each).deserialize(&mut text).map_err(|error| {
            failed.take().unwrap_or_else(|| match error.classify() {
                Category::Io => Error::Read(error.into()),
                Category::Data => Error::NotObjects(without_place(&error.to_string())),
                Category::Syntax | Category::Eof => Error::NotJson(error.to_string()),
            })
        })?;
        skimmed.objects(None, take)?;
    }
    Ok(())
}

fn yaml(mut input: impl BufRead, take: &mut Take<'_>) -> Result<(), Error> {
    let mut skimmer = Skimmer::default();
    let mut reading = Reading {
        take,
        waiting: Vec::new(),
        result: Ok(()),
    };
    let mut line = Vec::new();
    while reading.result.is_ok() {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(Error::Read)? == 0 {
            skimmer.end(&mut |part| reading.part(part));
            break;
        }
        let not_text = |_| Error::NotYaml("it is not UTF-8 text".to_owned());
        let text = str::from_utf8(&line).map_err(not_text)?;
        skimmer.line(text, &mut |part| reading.part(part));
    }
    reading.result
}

/// The state of reading a YAML file.
struct Reading<'a, 't> {
    take: &'a mut Take<'t>,
    /// Items without a kind, which wait for the list's kind.
    waiting: Vec<Chunk>,
    result: Result<(), Error>,
}

impl Reading<'_, '_> {
    fn part(&mut self, part: Part) {
        if self.result.is_ok() {
            self.result = self.read(part);
        }
    }

    fn read(&mut self, part: Part) -> Result<(), Error> {
        match part {
            Part::Items(chunk) if chunk.kindless => self.waiting.push(chunk),
            Part::Items(chunk) => self.items(&chunk, None)?,
            Part::Document(chunk) => {
                let document = match chunk.text.is_empty() {
                    true => Skimmed::default(),
                    false => parse(&chunk)?,
                };
                let waiting = std::mem::take(&mut self.waiting);
                if let Some(kind) = document.kind.as_deref().and_then(kind_of_items) {
                    for chunk in waiting {
                        self.items(&chunk, kind)?;
                    }
                }
                document.objects(None, self.take)?;
            }
        }
        Ok(())
    }

    fn items(&mut self, chunk: &Chunk, kind: Option<&str>) -> Result<(), Error> {
        let items: Vec<Skimmed> = parse(chunk)?;
        let mut items = items.into_iter();
        items.try_for_each(|item| item.objects(kind, self.take))
    }
}

/// Parses a part; errors name the file's own lines.
fn parse<T: serde::de::DeserializeOwned>(chunk: &Chunk) -> Result<T, Error> {
    serde_saphyr::from_str_with_options(&chunk.text, unlimited()).map_err(|error| {
        // If an object lacks something, the parser names its end as the place, if any. So only
        // syntax errors keep their line.
        let text = serde_saphyr::from_str_with_options::<IgnoredAny>(&chunk.text, unlimited());
        let Err(error) = text else {
            return Error::NotObjects(without_place(&error.to_string()));
        };
        let why = without_place(&error.to_string());
        let place = error.location().map_or_else(String::new, |place| {
            let line = usize::try_from(place.line()).unwrap_or(usize::MAX);
            let line = chunk.lines.get(line.saturating_sub(1));
            // Some errors are found after the last line.
            let line = line.or(chunk.lines.last()).copied().unwrap_or(1);
            format!(" at line {line}, column {}", place.column())
        });
        Error::NotYaml(why + &place)
    })
}

/// The text of an error, without its place.
fn without_place(error: &str) -> String {
    let error = error.lines().next().unwrap_or_default();
    let (what, _) = error.split_once(" at line ").unwrap_or((error, ""));
    what.to_owned()
}

/// Options of the parser without its limits for small untrusted files, which an inline list of
/// a few thousand values exceeds. The limits on nesting and on aliases stay.
fn unlimited() -> Options {
    options! {
        budget: budget! {
            max_documents: usize::MAX,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}
