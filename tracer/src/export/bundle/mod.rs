//! `tracer bundle`: everything that another person needs to examine a fault, in one file.
//!
//! Recordings come first, unchanged or anonymized. Everything else in the bundle is made from
//! the recordings in it, not from the originals. So replaced names and addresses cannot appear
//! elsewhere.

mod readme;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};
use tempfile::TempDir;
use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Scene},
    model::Hello,
    verdict::{Parts, Summary, Verdict},
};
use zstd::Encoder;

use self::readme::Part;
use super::{html::Html, output::beside, unwritten};
use crate::{
    cli::{BundleArgs, Failure, Outcome},
    playback::{Replayed, shown},
    stdio,
    store::{Anonymizer, Contents, CopyError, Reader, RecordError, Target},
    view::{Look, Text, contents_text},
};

/// Files of a bundle besides the recordings, in this order.
const PAGE: &str = "trace.html";
const SUMMARY: &str = "summary.txt";
const CONTENTS: &str = "contents.txt";
const NODES: &str = "nodes.json";

/// Writes a bundle.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &BundleArgs) -> Result<Outcome, Failure> {
    let out = &args.output;
    let to_stdout = stdio::is_dash(out);
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::Other(
            "a bundle is binary and not for a terminal: name a file with -o FILE".to_owned(),
        ));
    }
    let mut target = Target::create(out).map_err(|error| unwritten(out, error))?;
    let place = if to_stdout {
        std::env::temp_dir()
    } else {
        beside(out)
    };
    let mut folder = tempfile::Builder::new();
    let folder = folder.prefix(".tracer-bundle-").tempdir_in(place);
    let folder = folder.map_err(|error| unwritten(out, error))?;
    let parts = recordings(args, &folder)?;
    let described = describe(args, &folder, &parts);
    let (replayed, begun) = described.map_err(|failure| of_originals(failure, args, &parts))?;
    if let Some(error) = &replayed.broken {
        return Err(of_originals(incomplete(out, error), args, &parts));
    }
    let packed = pack(&target.file, args, &folder, &parts, begun);
    packed.map_err(|error| unwritten(out, error))?;
    target.publish().map_err(|error| unwritten(out, error))?;
    replayed.outcome()
}

/// The error if a recording is damaged. The damage may be the reason for the ticket, so an
/// incomplete bundle would hide it.
fn incomplete(out: &Path, error: &impl std::fmt::Display) -> Failure {
    let out = out.display();
    Failure::Other(format!(
        "{error}; {out} was not written: attach the file itself"
    ))
}

/// A failure that names the user's files instead of their copies.
fn of_originals(failure: Failure, args: &BundleArgs, parts: &[Part]) -> Failure {
    let Failure::Other(mut sentence) = failure else {
        return failure;
    };
    for (file, part) in args.files.iter().zip(parts) {
        let copy = part.path.display().to_string();
        sentence = sentence.replace(&copy, &stdio::input(file));
    }
    Failure::Other(sentence)
}

/// Puts the recordings into the folder, and returns their contents.
fn recordings(args: &BundleArgs, folder: &TempDir) -> Result<Vec<Part>, Failure> {
    let out = &args.output;
    let mut anonymizer = args.anonymize.then(Anonymizer::new);
    let mut first = None;
    let mut parts = Vec::new();
    for (number, path) in (1..).zip(&args.files) {
        let name = format!("{number}.arrows");
        let copy = folder.path().join(&name);
        if let Some(anonymizer) = &mut anonymizer {
            let reader = Reader::open(path).map_err(Failure::new)?;
            let recording = reader.head().recording;
            if *first.get_or_insert(recording) != recording {
                return Err(Failure::Other(format!(
                    "{} is another recording, and anonymized ones cannot be read as one: make a \
                     bundle of each, or leave out --anonymize",
                    path.display()
                )));
            }
            anonymizer
                .copy(reader, &copy)
                .map_err(|error| match error {
                    CopyError::Read(error) => incomplete(out, &error),
                    CopyError::Write(
                        RecordError::Create { source, .. } | RecordError::Write { source, .. },
                    ) => unwritten(out, source),
                    CopyError::Write(error) => Failure::new(error),
                })?;
        } else {
            let (_, mut file) = stdio::open(path).map_err(|error| {
                let path = stdio::input(path);
                Failure::Other(format!("cannot read {path}: {error}"))
            })?;
            let copied = File::create_new(&copy).and_then(|mut to| io::copy(&mut file, &mut to));
            copied.map_err(|error| unwritten(out, error))?;
        }
        parts.push(Part {
            name,
            original: path
                .file_name()
                .filter(|_| !args.anonymize)
                .map(|name| name.to_string_lossy().into_owned()),
            path: copy,
        });
    }
    Ok(parts)
}

/// Makes the other files from the recordings in the folder. Returns the begin of the first
/// recording, Unix time, s.
fn describe(
    args: &BundleArgs,
    folder: &TempDir,
    parts: &[Part],
) -> Result<(Replayed, u64), Failure> {
    let failed = |error| unwritten(&args.output, error);
    let create = |name: &str| {
        let file = File::create_new(folder.path().join(name)).map_err(failed)?;
        Ok::<_, Failure>(BufWriter::new(file))
    };
    let mut view = Told {
        page: Html::new(create(PAGE)?),
        sums: Text::new(create(SUMMARY)?, Look::plain()),
    };
    let paths: Vec<PathBuf> = parts.iter().map(|part| part.path.clone()).collect();
    let replayed = shown(&paths, &mut view, None, failed)?;
    if replayed.broken.is_some() {
        return Ok((replayed, 0));
    }
    let mut begun = i64::MAX;
    let mut list = create(CONTENTS)?;
    let mut nodes: BTreeMap<String, Vec<Hello>> = BTreeMap::new();
    let mut versions = Vec::new();
    let mut snaplen = 0;
    let mut follow = String::new();
    for part in parts {
        let contents = Contents::of(&part.path).map_err(Failure::new)?;
        writeln!(list, "recordings/{}", part.name).map_err(failed)?;
        contents_text(&mut list, &Look::plain(), &contents).map_err(failed)?;
        writeln!(list).map_err(failed)?;
        let captured = contents.head.nodes.iter().map(|hello| hello.snaplen);
        snaplen = captured.fold(snaplen, u32::max);
        nodes.insert(format!("recordings/{}", part.name), contents.head.nodes);
        begun = begun.min(contents.head.time);
        versions.push(contents.head.version);
        follow = contents.head.follow;
    }
    list.flush().map_err(failed)?;
    let mut file = create(NODES)?;
    serde_json::to_writer_pretty(&mut file, &nodes).map_err(|error| failed(error.into()))?;
    file.flush().map_err(failed)?;
    versions.sort();
    versions.dedup();
    let mut file = create(readme::NAME)?;
    readme::write(
        &mut file,
        parts,
        &follow,
        &versions,
        args.anonymize,
        snaplen,
    )
    .map_err(failed)?;
    file.flush().map_err(failed)?;
    Ok((replayed, u64::try_from(begun / 1_000_000_000).unwrap_or(0)))
}

/// Packs the folder into a file. All files get the time of the recording, so that the bundle
/// does not tell who made it and when.
fn pack(
    file: &File,
    args: &BundleArgs,
    folder: &TempDir,
    parts: &[Part],
    begun: u64,
) -> io::Result<()> {
    let top = top(&args.output);
    let mut tar = Builder::new(Encoder::new(BufWriter::new(file), 0)?);
    let mut add = |name: &str, path: &Path| {
        let file = File::open(path)?;
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.metadata()?.len());
        header.set_mode(0o644);
        header.set_mtime(begun);
        tar.append_data(&mut header, format!("{top}/{name}"), file)
    };
    for name in [readme::NAME, PAGE, SUMMARY, CONTENTS, NODES] {
        add(name, &folder.path().join(name))?;
    }
    for part in parts {
        add(&format!("recordings/{}", part.name), &part.path)?;
    }
    let mut file = tar.into_inner()?.finish()?;
    file.flush()
}

/// Name of the folder in the bundle: `ticket` for `ticket.tar.zst`.
fn top(out: &Path) -> String {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split(".tar").next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let stem: String = stem.chars().filter(|c| allowed(*c)).collect();
    if stem.trim_matches('-').is_empty() {
        "tracer-bundle".to_owned()
    } else {
        stem
    }
}

/// Writes journeys to a page, and sums as text.
struct Told<P, S> {
    page: P,
    sums: S,
}

impl<P: View, S: View> View for Told<P, S> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.page.started(scene, started)?;
        self.sums.started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.page.changed(scene, changed)?;
        self.sums.changed(scene, changed)
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.page.journey(scene, journey, verdict, parts)
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.page.summary(scene, summary, selected)?;
        self.sums.summary(scene, summary, selected)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::top;

    #[test]
    fn a_bundle_becomes_a_folder_of_its_name() {
        for (out, folder) in [
            ("ticket.tar.zst", "ticket"),
            ("/tmp/a b/ticket-7.tar.zst", "ticket-7"),
            ("4711", "4711"),
            ("-", "tracer-bundle"),
            ("..tar.zst", "tracer-bundle"),
        ] {
            assert_eq!(top(Path::new(out)), folder);
        }
    }
}
