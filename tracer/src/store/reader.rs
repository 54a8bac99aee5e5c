//! Reads a trace one batch at a time, so that memory does not grow with the file.

use std::{
    collections::VecDeque,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{convert::try_fb_to_schema, root_as_message};
use tracer_core::{
    input::{Batch, OwnersChange, Report},
    model::Hello,
};
use tracing::info;

use super::{
    again::{Decoder, Input},
    decode::Unreadable,
    error::TraceError,
    head::{HEAD_KEY, Head, SCHEMA_KEY},
    message::{self, Kind, Layout, Next},
    table::{Record, SCHEMA, Table},
};

/// Limit of hops and drops in a batch, above what any agent holds back.
const LARGEST: usize = 1 << 22;

/// Length of the end marker, bytes.
const END: u64 = 8;

/// An event of a trace, in the order of the recording.
#[derive(Clone, Debug)]
pub enum Event {
    /// An agent sent a batch.
    Batch {
        /// The agent: index into [`Head::nodes`].
        agent: usize,
        /// The batch.
        batch: Box<Batch>,
    },
    /// The state of a stream from before the file.
    State {
        /// The agent: index into [`Head::nodes`].
        agent: usize,
        /// Index of the stream among the agent's.
        stream: usize,
        /// Time before which everything is in an earlier file, the agent's monotonic clock, ns.
        watermark: u64,
        /// Last report of the stream.
        report: Option<Box<Report>>,
    },
    /// Addresses got or lost an owner.
    Owners(Box<OwnersChange>),
    /// All points are observed from this time on, Unix time, ns.
    Armed(i64),
    /// An agent is gone, or the connection to it is broken.
    Gone {
        /// The agent: index into [`Head::nodes`].
        agent: usize,
        /// Time when the collector noticed it, Unix time, ns.
        time: i64,
    },
    /// An agent of another node has started. Its index is the next one.
    Joined {
        /// The agent's description of itself.
        hello: Box<Hello>,
        /// Time when the agent had started, Unix time, ns.
        time: i64,
    },
    /// An agent's answer to a collector that asked for its clock.
    Clock {
        /// The agent: index into [`Head::nodes`].
        agent: usize,
        /// Number of the question.
        question: u16,
        /// The agent's monotonic clock when the question came, ns.
        time: u64,
    },
    /// The recording ended at this time, Unix time, ns.
    End(i64),
}

/// Reads a trace. A clone continues from the same place.
#[derive(Clone)]
pub struct Reader<R = Input> {
    path: PathBuf,
    input: R,
    decoder: Decoder,
    head: Arc<Head>,
    layout: Layout,
    /// Number of bytes read so far.
    at: u64,
    /// Events that were read, and not taken yet.
    ready: VecDeque<Event>,
    /// Hops and drops whose batch is not complete.
    open: Batch,
    /// Index of their agent.
    owner: Option<usize>,
    cut: bool,
    done: bool,
}

impl Reader {
    /// Opens a file, or standard input for `-`, and reads its head.
    ///
    /// # Errors
    /// If the input is no trace.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let (path, input) = Input::open(path).map_err(|source| TraceError::Read {
            path: path.to_owned(),
            source,
        })?;
        let reader = Self::new(path, input)?;
        info!(
            "reading {}: piece {} of a recording of {} nodes by tracer {}",
            path.display(),
            reader.head.piece,
            reader.head.nodes.len(),
            reader.head.version
        );
        Ok(reader)
    }

    /// Whether a clone can read the same input.
    pub(super) const fn can_be_read_again(&self) -> bool {
        self.input.is_file()
    }

    /// Checks that the file of a clone still exists.
    ///
    /// # Errors
    /// If the file is gone.
    pub(super) fn check(&mut self) -> Result<(), TraceError> {
        self.input.reopen().map_err(|source| TraceError::Read {
            path: self.path.clone(),
            source,
        })
    }
}

impl<R: Read> Reader<R> {
    /// Reads from `input`; errors name it `path`.
    ///
    /// # Errors
    /// If the input is no trace.
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
        let next = message::read(&mut first.as_slice().chain(&mut input), &Layout::default());
        let (message, kind) = match next {
            Ok(Next::Message(message, kind)) => (message, kind),
            Ok(Next::Cut) if first == [0xff] => return Err(TraceError::Beheaded { path }),
            Ok(Next::Cut | Next::End | Next::Damage(_)) => {
                return Err(TraceError::NotATrace { path });
            }
            Err(source) => return Err(TraceError::Read { path, source }),
        };
        let (head, layout) = head(&path, &message)?;
        let mut reader = Self {
            path,
            input,
            decoder: Decoder::default(),
            head: Arc::new(head),
            layout,
            at: 0,
            ready: VecDeque::new(),
            open: Batch::default(),
            owner: None,
            cut: false,
            done: false,
        };
        reader.decode(message, kind)?;
        Ok(reader)
    }

    /// The head, with nodes and owners as they are known so far.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the trace ended in the middle, because its recorder was killed or the file was
    /// truncated. Known after the last event.
    pub const fn cut(&self) -> bool {
        self.cut
    }

    /// Number of bytes read so far.
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Events that were read, and not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.ready.len()
    }

    fn read(&mut self) -> Result<Option<Event>, TraceError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.done {
                return Ok(None);
            }
            match message::read(&mut self.input, &self.layout) {
                Ok(Next::Message(message, kind)) => {
                    if let Some(rows) = self.decode(message, kind)? {
                        self.take(&rows)?;
                    }
                }
                Ok(Next::End) => {
                    self.at += END;
                    self.done = true;
                }
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

    /// Decodes a message. Returns rows if the message has any.
    fn decode(&mut self, message: Buffer, kind: Kind) -> Result<Option<RecordBatch>, TraceError> {
        let len = message.len() as u64;
        let rows = match self.decoder.decode(message, kind) {
            Ok(rows) => rows,
            Err(error) => return Err(self.damage(error.to_string())),
        };
        self.at += len;
        Ok(rows)
    }

    /// Turns rows into events.
    fn take(&mut self, rows: &RecordBatch) -> Result<(), TraceError> {
        let table = match Table::of(rows) {
            Ok(table) => table,
            Err(column) => {
                return Err(self.damage(format!("the column {column} is of another type")));
            }
        };
        let mut agents = table.agents(&self.head.nodes);
        for row in 0..table.rows {
            let known = self.head.nodes.len();
            if let Err(Unreadable(column)) = self.add(&table, &agents, row) {
                return Err(self.damage(format!("column {column} has an invalid value")));
            }
            if self.head.nodes.len() > known {
                agents = table.agents(&self.head.nodes);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        table: &Table,
        agents: &[Option<usize>],
        row: usize,
    ) -> Result<(), Unreadable> {
        let (record, time) = table.record(row)?;
        match record {
            Record::Owners => {
                let change = table.owners(row, time)?;
                change.apply(&mut Arc::make_mut(&mut self.head).owners);
                self.ready.push_back(Event::Owners(Box::new(change)));
                return Ok(());
            }
            Record::Joined => {
                let hello = table.hello(&self.head.nodes, row)?;
                Arc::make_mut(&mut self.head).nodes.push(hello.clone());
                let hello = Box::new(hello);
                self.ready.push_back(Event::Joined { hello, time });
                return Ok(());
            }
            Record::Armed => {
                self.ready.push_back(Event::Armed(time));
                return Ok(());
            }
            Record::End => {
                self.ready.push_back(Event::End(time));
                return Ok(());
            }
            Record::Hop
            | Record::Drop
            | Record::Batch
            | Record::State
            | Record::Gone
            | Record::Clock => {}
        }
        let agent = table.agent(agents, row)?;
        let hello = &self.head.nodes[agent];
        // A batch is written as a whole, so rows of two agents are not mixed.
        let is_batch = !matches!(record, Record::State | Record::Gone | Record::Clock);
        if is_batch && *self.owner.get_or_insert(agent) != agent {
            return Err(Unreadable("node"));
        }
        match record {
            Record::Hop | Record::Drop
                if self.open.hops.len() + self.open.freed.len() >= LARGEST =>
            {
                return Err(Unreadable("number"));
            }
            Record::Hop => self.open.hops.push(table.hop(hello, row, time)?),
            Record::Drop => self.open.freed.push(table.freed(hello, row, time)?),
            Record::Batch => {
                let change = table.change(hello, row)?;
                if let Some(change) = &change {
                    Arc::make_mut(&mut self.head).nodes[agent].change(change);
                }
                let border = table.border(&self.head.nodes[agent], row)?;
                let batch = Batch {
                    stream: border.stream,
                    watermark: border.watermark,
                    report: border.report,
                    overdue: table.is_overdue(row),
                    change,
                    ..std::mem::take(&mut self.open)
                };
                self.owner = None;
                let batch = Box::new(batch);
                self.ready.push_back(Event::Batch { agent, batch });
            }
            Record::State => {
                let border = table.border(hello, row)?;
                self.ready.push_back(Event::State {
                    agent,
                    stream: border.stream,
                    watermark: border.watermark,
                    report: border.report.map(Box::new),
                });
            }
            Record::Gone => self.ready.push_back(Event::Gone { agent, time }),
            Record::Clock => {
                let (question, time) = table.clock(row)?;
                self.ready.push_back(Event::Clock {
                    agent,
                    question,
                    time,
                });
            }
            Record::Owners | Record::Joined | Record::Armed | Record::End => {}
        }
        Ok(())
    }
}

/// The events. An error is the last item, because what follows is not what was written.
impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The head and the layout of rows, from the first message.
fn head(path: &Path, message: &[u8]) -> Result<(Head, Layout), TraceError> {
    let path = path.to_owned();
    // The message begins after the marker and the length.
    let schema = message.get(8..).and_then(|message| {
        let schema = root_as_message(message).ok()?.header_as_schema()?;
        try_fb_to_schema(schema).ok()
    });
    let Some(schema) = schema else {
        return Err(TraceError::NotATrace { path });
    };
    let head = schema.metadata.get(HEAD_KEY);
    match schema.metadata.get(SCHEMA_KEY).map(String::as_str) {
        Some(SCHEMA) => {}
        Some(schema) => {
            return Err(TraceError::Version {
                path,
                schema: schema.to_owned(),
                writer: writer(head.map_or("", String::as_str)),
            });
        }
        None => return Err(TraceError::NotATrace { path }),
    }
    let head = head.and_then(|head| serde_json::from_str::<Head>(head).ok());
    let head = head.filter(Head::is_sound);
    head.zip(Layout::of(&schema)).ok_or(TraceError::Damaged {
        path,
        at: 0,
        what: "the metadata cannot be read".to_owned(),
    })
}

/// The writer of a head of another version; each version has this field.
fn writer(head: &str) -> String {
    let head = serde_json::from_str::<serde_json::Value>(head).ok();
    let version = head.as_ref().and_then(|head| head.get("version")?.as_str());
    version.map_or_else(
        || "another tracer".to_owned(),
        |version| format!("tracer {version}"),
    )
}
