//! Reading a trace, a batch at a time: of a large file no more is in memory
//! than of a small one.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{convert::try_fb_to_schema, reader::StreamDecoder, root_as_message};

use super::{
    decode::{Row, Unreadable},
    error::TraceError,
    head::{HEAD_KEY, Head, SCHEMA_KEY},
    message::{self, Next},
    table::{SCHEMA, Table},
};
use crate::link::{Batch, Report};

/// What is in a trace, in the order in which it came.
#[derive(Debug)]
pub enum Event {
    /// What an agent sent.
    Batch {
        /// Index into [`Head::nodes`].
        agent: usize,
        /// What it was.
        batch: Box<Batch>,
    },
    /// What was known of a stream before the file began.
    State {
        /// Index into [`Head::nodes`].
        agent: usize,
        /// Which of its streams.
        stream: usize,
        /// What was before this time is in an earlier file: the agent's
        /// monotonic clock, ns.
        watermark: u64,
        /// Its last report.
        report: Option<Box<Report>>,
    },
    /// All points are observed from then on, Unix time, ns.
    Armed(i64),
    /// The recording ended then, Unix time, ns.
    End(i64),
}

/// A trace that is being read.
pub struct Reader<R = BufReader<File>> {
    path: PathBuf,
    input: R,
    decoder: StreamDecoder,
    head: Head,
    /// Bytes that were read.
    at: u64,
    /// Events that were read and not taken yet.
    ready: VecDeque<Event>,
    /// Hops and drops whose batch is not complete.
    open: Batch,
    /// Whose those are.
    owner: Option<usize>,
    cut: bool,
    done: bool,
}

impl Reader {
    /// Opens a file and reads what it is about.
    ///
    /// # Errors
    /// If it is no trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::new(path, BufReader::with_capacity(1 << 16, file))
    }
}

impl<R: Read> Reader<R> {
    /// Reads from `input`, which errors will call `path`.
    ///
    /// # Errors
    /// If it is no trace.
    pub fn new(path: &Path, mut input: R) -> Result<Self, TraceError> {
        let path = path.to_owned();
        let mut first = [0];
        let count = input.read(&mut first).map_err(|source| TraceError::Read {
            path: path.clone(),
            source,
        })?;
        if count == 0 {
            return Err(TraceError::Empty { path });
        }
        let next = message::read(&mut first.as_slice().chain(&mut input));
        let message = match next {
            Ok(Next::Message(message)) => message,
            Ok(Next::Cut) if first == [0xff] => return Err(TraceError::Beheaded { path }),
            Ok(Next::Cut | Next::End | Next::Damage(_)) => {
                return Err(TraceError::NotATrace { path });
            }
            Err(source) => return Err(TraceError::Read { path, source }),
        };
        let head = head(&path, &message)?;
        let mut reader = Self {
            path,
            input,
            decoder: StreamDecoder::new(),
            head,
            at: 0,
            ready: VecDeque::new(),
            open: Batch::default(),
            owner: None,
            cut: false,
            done: false,
        };
        reader.decode(message)?;
        Ok(reader)
    }

    /// What it is about.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it ended in the middle, where its recorder was killed or the
    /// file was cut; known after the last event.
    pub const fn cut(&self) -> bool {
        self.cut
    }

    /// How many bytes were read.
    pub const fn position(&self) -> u64 {
        self.at
    }

    fn read(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.done {
                return Ok(None);
            }
            match message::read(&mut self.input) {
                Ok(Next::Message(message)) => {
                    if let Some(rows) = self.decode(message)? {
                        self.take(&rows)?;
                    }
                }
                Ok(Next::End) => self.done = true,
                Ok(Next::Cut) => {
                    self.cut = true;
                    self.done = true;
                }
                Ok(Next::Damage(what)) => return Err(self.damage(what)),
                Err(source) => {
                    self.done = true;
                    let path = self.path.clone();
                    return Err(TraceError::Read { path, source });
                }
            }
        }
    }

    fn damage(&mut self, what: impl Into<String>) -> TraceError {
        self.done = true;
        TraceError::Damaged {
            path: self.path.clone(),
            at: self.at,
            what: what.into(),
        }
    }

    /// Unpacks a message; only those with rows give any.
    fn decode(&mut self, mut message: Buffer) -> Result<Option<RecordBatch>, TraceError> {
        let len = message.len() as u64;
        let rows = match self.decoder.decode(&mut message) {
            Ok(rows) => rows,
            Err(error) => return Err(self.damage(error.to_string())),
        };
        self.at += len;
        Ok(rows)
    }

    /// Makes events of rows.
    fn take(&mut self, rows: &RecordBatch) -> Result<(), TraceError> {
        let table = match Table::of(rows) {
            Ok(table) => table,
            Err(column) => return Err(self.damage(format!("the column {column} is not there"))),
        };
        for row in 0..table.rows {
            match table.row(&self.head.nodes, row) {
                Ok(row) => self.add(row)?,
                Err(Unreadable(column)) => {
                    return Err(self.damage(format!("{column} of a row cannot be")));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, row: Row) -> Result<(), TraceError> {
        match row {
            Row::Hop(agent, hop) => {
                self.own(agent)?;
                self.open.hops.push(hop);
            }
            Row::Freed(agent, freed) => {
                self.own(agent)?;
                self.open.freed.push(freed);
            }
            Row::Border {
                agent,
                stream,
                watermark,
                report,
                state: false,
            } => {
                self.own(agent)?;
                let batch = Batch {
                    stream,
                    watermark,
                    report,
                    ..std::mem::take(&mut self.open)
                };
                self.owner = None;
                let batch = Box::new(batch);
                self.ready.push_back(Event::Batch { agent, batch });
            }
            Row::Border {
                agent,
                stream,
                watermark,
                report,
                state: true,
            } => self.ready.push_back(Event::State {
                agent,
                stream,
                watermark,
                report: report.map(Box::new),
            }),
            Row::Armed(time) => self.ready.push_back(Event::Armed(time)),
            Row::End(time) => self.ready.push_back(Event::End(time)),
        }
        Ok(())
    }

    /// Batches are written whole, one after the other.
    fn own(&mut self, agent: usize) -> Result<(), TraceError> {
        if *self.owner.get_or_insert(agent) == agent {
            Ok(())
        } else {
            Err(self.damage("batches of two nodes are mixed"))
        }
    }
}

/// The events; an error is the last item: what comes next is not what was
/// written.
impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// What the first message says the trace is about.
fn head(path: &Path, message: &[u8]) -> Result<Head, TraceError> {
    let path = path.to_owned();
    // The length and what comes before it are no part of the message.
    let schema = message.get(8..).and_then(|message| {
        let schema = root_as_message(message).ok()?.header_as_schema()?;
        try_fb_to_schema(schema).ok()
    });
    let Some(mut metadata) = schema.map(|schema| schema.metadata) else {
        return Err(TraceError::NotATrace { path });
    };
    match metadata.remove(SCHEMA_KEY) {
        Some(schema) if schema == SCHEMA => {}
        Some(schema) => return Err(TraceError::Version { path, schema }),
        None => return Err(TraceError::NotATrace { path }),
    }
    let head = metadata.get(HEAD_KEY);
    let head = head.and_then(|head| serde_json::from_str::<Head>(head).ok());
    head.filter(Head::is_sound).ok_or(TraceError::Damaged {
        path,
        at: 0,
        what: "what it is about cannot be read".to_owned(),
    })
}
