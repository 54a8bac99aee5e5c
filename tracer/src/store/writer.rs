//! Writes a trace while it is recorded.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use arrow_ipc::{
    CompressionType, MetadataVersion,
    writer::{IpcWriteOptions, StreamWriter},
};
use tracer_core::{
    input::{Batch, OwnersChange, Report},
    model::Hello,
};
use tracing::info;

use super::{
    encode::{Rows, unix},
    error::RecordError,
    head::Head,
    message::ALIGNMENT,
    target::Target,
};
use crate::stdio::output;

/// Number of rows that are written at once, except that a batch is never split. They are enough
/// to compress well, and few enough for the processor's caches.
const ROWS: usize = 16_384;

/// How long rows may wait to be written. A crash may lose that much.
const DELAY: Duration = Duration::from_millis(500);

/// When a recording continues in another file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After this many bytes of rows; the head before them does not count.
    pub size: Option<u64>,
    /// After this time.
    pub time: Option<Duration>,
    /// Number of files to keep; the oldest are removed. `None`: all files.
    pub keep: Option<u32>,
}

/// Sums of what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of hops.
    pub hops: u64,
    /// Number of freed packets.
    pub drops: u64,
    /// Number of bytes in all files.
    pub bytes: u64,
    /// Number of files.
    pub files: u32,
}

/// Writes a trace, in one file or in pieces.
pub struct Writer {
    path: PathBuf,
    rotation: Rotation,
    target: Target,
    /// Whether the file gets its final name only at its end.
    held: bool,
    /// Length of the file, bytes, in complete messages.
    len: u64,
    /// Bytes of the head and of repeated states, which each file has anew.
    overhead: u64,
    /// Time when the file was begun.
    begun: Instant,
    written: Written,
    /// The recording; `None` before [`Writer::begin`].
    recording: Option<Recording>,
}

/// The part of a recording that is not in the file yet.
struct Recording {
    head: Head,
    stream: StreamWriter<Vec<u8>>,
    rows: Rows,
    /// Time when the oldest waiting row came.
    since: Option<Instant>,
    /// The last state of each stream, by agent, for the next file.
    states: Vec<Vec<State>>,
    armed: Option<i64>,
    /// Agents that are gone, with the time when the collector noticed it, Unix time, ns.
    gone: BTreeMap<usize, i64>,
    /// Time of the latest hop or drop, Unix time, ns.
    last: Option<i64>,
}

/// The last known state of a stream.
#[derive(Clone, Default)]
struct State {
    watermark: u64,
    report: Option<Report>,
}

impl Writer {
    /// Creates the file early, to find out whether it can be written. An existing file is
    /// replaced once the recording begins, but pieces of another recording are not. `-` is
    /// standard output.
    ///
    /// # Errors
    /// If the file cannot be created, or such pieces exist.
    pub fn create(path: &Path, rotation: Rotation) -> Result<Self, RecordError> {
        if (rotation.size.is_some() || rotation.time.is_some())
            && let Some(piece) = other_piece(path)
        {
            return Err(RecordError::Pieces { piece });
        }
        Ok(Self {
            target: create(path)?,
            path: path.to_owned(),
            rotation,
            held: false,
            len: 0,
            overhead: 0,
            begun: Instant::now(),
            written: Written {
                files: 1,
                ..Written::default()
            },
            recording: None,
        })
    }

    /// Creates a file that gets its final name once it is complete. It is for copies of
    /// existing files, which nobody reads early.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(crate) fn create_whole(path: &Path) -> Result<Self, RecordError> {
        Ok(Self {
            held: true,
            ..Self::create(path, Rotation::default())?
        })
    }

    /// Begins the recording.
    ///
    /// # Errors
    /// If the file cannot be written any further.
    pub fn begin(&mut self, head: Head) -> Result<(), RecordError> {
        let schema = head.schema();
        let states = head.nodes.iter();
        let states = states.map(|hello| vec![State::default(); hello.streams]);
        let recording = Recording {
            states: states.collect(),
            stream: stream(&head),
            rows: Rows::new(schema, &head.nodes),
            since: None,
            armed: None,
            gone: BTreeMap::new(),
            last: None,
            head,
        };
        self.recording = Some(recording);
        self.write()?;
        self.overhead = self.len;
        if self.held {
            return Ok(());
        }
        publish(&mut self.target, &self.path)
    }

    /// Adds a batch of an agent.
    ///
    /// # Errors
    /// If the file cannot be written any further.
    pub fn batch(&mut self, agent: usize, batch: &Batch) -> Result<(), RecordError> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        self.written.hops += batch.hops.len() as u64;
        self.written.drops += batch.freed.len() as u64;
        recording.rows.batch(agent, batch);
        if let Some(change) = &batch.change {
            let hello = &mut recording.head.nodes[agent];
            hello.change(change);
            recording.states[agent].resize(hello.streams, State::default());
            if change.begins_anew() {
                recording.gone.remove(&agent);
            }
        }
        let offset = recording.head.nodes[agent].realtime_offset;
        let latest = batch.latest().map(|time| unix(time, offset));
        recording.last = recording.last.max(latest);
        let state = &mut recording.states[agent][batch.stream];
        state.watermark = state.watermark.max(batch.watermark);
        if batch.report.is_some() {
            state.report.clone_from(&batch.report);
        }
        recording.since.get_or_insert_with(Instant::now);
        let full = recording.rows.len() >= ROWS;
        // Rows are written here as well, because steady batches may keep the caller from
        // calling [`Writer::flush`].
        if full || self.due().is_some_and(|due| due <= Instant::now()) {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds the state of a stream from before the file.
    pub(crate) fn state(
        &mut self,
        agent: usize,
        stream: usize,
        watermark: u64,
        report: Option<Report>,
    ) {
        if let Some(recording) = &mut self.recording {
            let rows = &mut recording.rows;
            rows.state(agent, stream, watermark, report.as_ref());
            recording.states[agent][stream] = State { watermark, report };
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Adds a change of owners.
    pub fn owners_changed(&mut self, change: &OwnersChange) {
        if let Some(recording) = &mut self.recording {
            change.apply(&mut recording.head.owners);
            recording.rows.owners(change);
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Adds that all points are observed from `time` on, Unix time, ns.
    pub fn armed(&mut self, time: i64) {
        if let Some(recording) = &mut self.recording {
            recording.armed = Some(time);
            recording.rows.armed(time);
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Adds that an agent is gone, or that the connection to it is broken, at `time`, Unix
    /// time, ns.
    pub fn gone(&mut self, agent: usize, time: i64) {
        if let Some(recording) = &mut self.recording {
            recording.rows.gone(agent, time);
            recording.gone.insert(agent, time);
            for state in &mut recording.states[agent] {
                state.watermark = u64::MAX;
            }
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Adds that an agent of another node has started at `time`, Unix time, ns. Its index is
    /// the next one.
    pub fn joined(&mut self, hello: &Hello, time: i64) {
        if let Some(recording) = &mut self.recording {
            recording.rows.joined(hello, time);
            recording.states.push(vec![State::default(); hello.streams]);
            recording.head.join(hello.clone());
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Adds an agent's answer about its clock: its monotonic clock when the question with this
    /// number came, ns.
    pub(crate) fn clock(&mut self, agent: usize, question: u16, time: u64) {
        if let Some(recording) = &mut self.recording {
            recording.rows.clock(agent, question, time);
            recording.since.get_or_insert_with(Instant::now);
        }
    }

    /// Ends the recording: nothing comes after `time`, Unix time, ns.
    ///
    /// # Errors
    /// If the file cannot be written any further.
    pub fn end(&mut self, time: i64) -> Result<Written, RecordError> {
        if let Some(recording) = &mut self.recording {
            recording.rows.end(time);
        }
        self.close()?;
        if self.held {
            publish(&mut self.target, &self.path)?;
        }
        Ok(self.written)
    }

    /// Ends the file without ending the recording.
    ///
    /// # Errors
    /// If the file cannot be written any further.
    pub(crate) fn close(&mut self) -> Result<(), RecordError> {
        self.write()?;
        self.finish()?;
        self.recording = None;
        Ok(())
    }

    /// Time by which waiting rows must be written; `None` if no row waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        let since = self.recording.as_ref()?.since?;
        Some(since + DELAY)
    }

    /// Writes the waiting rows, and continues in another file if that is due.
    ///
    /// # Errors
    /// If the file cannot be written any further.
    pub(crate) fn flush(&mut self) -> Result<(), RecordError> {
        self.write()?;
        let rows = self.len - self.overhead;
        let age = self.begun.elapsed();
        let too_large = self.rotation.size.is_some_and(|size| rows >= size);
        let too_old = self.rotation.time.is_some_and(|most| age >= most);
        if rows > 0 && (too_large || too_old) {
            self.rotate()?;
        }
        Ok(())
    }

    /// Writes the waiting rows.
    fn write(&mut self) -> Result<(), RecordError> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        recording.since = None;
        if recording.rows.len() > 0 {
            write_rows(&mut recording.stream, &recording.rows.finish());
        }
        let bytes = std::mem::take(recording.stream.get_mut());
        self.append(&bytes)
    }

    /// Continues in another file, which begins with the states that its rows need.
    fn rotate(&mut self) -> Result<(), RecordError> {
        self.finish()?;
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        recording.head.piece += 1;
        recording.head.armed = recording.armed;
        recording.head.last = recording.last;
        let piece = recording.head.piece;
        let path = piece_path(&self.path, piece);
        self.target = create(&path)?;
        self.len = 0;
        self.begun = Instant::now();
        self.written.files += 1;
        if let Some(old) = self.rotation.keep.and_then(|keep| piece.checked_sub(keep)) {
            // Somebody may have moved the file away.
            let _: io::Result<()> = fs::remove_file(piece_path(&self.path, old));
        }
        recording.stream = stream(&recording.head);
        for (agent, streams) in recording.states.iter().enumerate() {
            for (stream, state) in streams.iter().enumerate() {
                let report = state.report.as_ref();
                recording.rows.state(agent, stream, state.watermark, report);
            }
        }
        for (agent, time) in &recording.gone {
            recording.rows.gone(*agent, *time);
        }
        self.write()?;
        self.overhead = self.len;
        publish(&mut self.target, &path)
    }

    /// Marks the file as complete.
    fn finish(&mut self) -> Result<(), RecordError> {
        if let Some(recording) = &mut self.recording {
            recording.stream.finish().expect(IN_MEMORY);
            let bytes = std::mem::take(recording.stream.get_mut());
            self.append(&bytes)?;
        }
        Ok(())
    }

    /// Writes all bytes, or leaves the file as it was.
    fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        if let Err(source) = self.target.file.write_all(bytes) {
            // Half a message is of no use. If it cannot be removed, readers leave it out.
            let _: io::Result<()> = self.target.file.set_len(self.len);
            let piece = self
                .recording
                .take()
                .map_or(0, |recording| recording.head.piece);
            return Err(RecordError::Write {
                path: piece_path(&self.path, piece),
                source,
                kept: format!("{} bytes", self.len),
            });
        }
        let added = bytes.len() as u64;
        self.len += added;
        self.written.bytes += added;
        Ok(())
    }
}

/// Why writing an Arrow stream cannot fail here.
const IN_MEMORY: &str = "rows have the schema's columns and memory takes all";

fn create(path: &Path) -> Result<Target, RecordError> {
    Target::create(path).map_err(|source| RecordError::Create {
        path: path.to_owned(),
        source,
    })
}

fn publish(target: &mut Target, path: &Path) -> Result<(), RecordError> {
    info!("recording into {}", output(path));
    target.publish().map_err(|source| RecordError::Create {
        path: path.to_owned(),
        source,
    })
}

/// Path of a piece: `trace.arrows`, and from the second piece on `trace.1.arrows`.
pub(crate) fn piece_path(path: &Path, piece: u32) -> PathBuf {
    if piece == 0 {
        return path.to_owned();
    }
    let extension = match path.extension() {
        Some(extension) => format!("{piece}.{}", extension.to_string_lossy()),
        None => piece.to_string(),
    };
    path.with_extension(extension)
}

/// A piece that an earlier recording of this name left, if there is one. New pieces would get
/// mixed up with such pieces.
fn other_piece(path: &Path) -> Option<PathBuf> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let entries = fs::read_dir(directory.unwrap_or(Path::new("."))).ok()?;
    let pieces = entries.flatten().filter(|entry| {
        let number = piece_number(path, Path::new(&entry.file_name()));
        number.is_some_and(|piece| piece > 0)
    });
    pieces
        .map(|entry| path.with_file_name(entry.file_name()))
        .min()
}

/// Number of the piece, if a file of this name is a piece of a recording into `path`.
fn piece_number(path: &Path, name: &Path) -> Option<u32> {
    let number = match path.extension() {
        Some(extension) => {
            let stem = name
                .file_stem()
                .filter(|_| name.extension() == Some(extension))?;
            Path::new(stem).extension()?.to_str()?
        }
        None => name.extension()?.to_str()?,
    };
    let piece = number.parse().ok()?;
    let same = piece_path(path, piece).file_name() == Some(name.as_os_str());
    same.then_some(piece)
}

/// A stream that begins with the schema.
fn stream(head: &Head) -> StreamWriter<Vec<u8>> {
    // With few rows, most columns are short, so a small alignment saves much.
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
        .and_then(|options| options.try_with_compression(Some(CompressionType::ZSTD)))
        .expect("this build can compress");
    StreamWriter::try_new_with_options(Vec::new(), &head.schema(), options).expect(IN_MEMORY)
}

fn write_rows(stream: &mut StreamWriter<Vec<u8>>, rows: &RecordBatch) {
    stream.write(rows).expect(IN_MEMORY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_names_that_sort_beside_the_first() {
        let name = |path: &str, piece| piece_path(Path::new(path), piece);
        assert_eq!(name("a/b.arrows", 0), Path::new("a/b.arrows"));
        assert_eq!(name("a/b.arrows", 12), Path::new("a/b.12.arrows"));
        assert_eq!(name("a.b/c", 1), Path::new("a.b/c.1"));
        for (path, piece) in [("b.arrows", 12), ("c", 1), ("d.e.arrows", 3)] {
            let found = piece_number(Path::new(path), &name(path, piece));
            assert_eq!(found, Some(piece), "{path}");
        }
        for other in ["b.arrows", "b.01.arrows", "b.x.arrows", "c.1.arrows", "b.1"] {
            let found = piece_number(Path::new("b.arrows"), Path::new(other));
            assert_eq!(found, None, "{other}");
        }
    }
}
