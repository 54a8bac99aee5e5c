//! Reads one recording, piece after piece.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
};

use tracer_core::{
    input::{Batch, OwnersChange, Record, Report},
    model::Hello,
};

use crate::store::{
    encode::unix,
    error::JoinError,
    head::Head,
    reader::{Event, Reader},
};

/// The pieces of a recording, of which one is open at a time. A clone continues from the same
/// place.
#[derive(Clone)]
pub(super) struct Chain {
    /// Nanoseconds that are added to the recording's Unix times: the difference between its
    /// estimate of the clock and that of another recording on the same kernel.
    shift: i64,
    reader: Reader,
    /// The pieces after the open one.
    rest: VecDeque<PathBuf>,
    /// Records that were read and not taken yet, with their Unix times, ns.
    ready: VecDeque<(i64, Record)>,
    /// Latest time read so far, Unix time, ns.
    clock: i64,
    /// Whether only states were read of the open piece so far.
    fresh: bool,
    /// Time up to which events are in a missing piece, Unix time, ns.
    begins: Option<i64>,
    /// Whether the time from which all points are observed was reported.
    armed: bool,
    /// Whether rows are missing before the open piece.
    gap: bool,
    /// Pieces that end in the middle.
    cut: Vec<PathBuf>,
    /// Time when the recording ended, Unix time, ns, if it says so.
    ended: Option<i64>,
    over: bool,
}

impl Chain {
    /// Opens a recording at its first piece. Agents have the recording's own indexes.
    pub(super) fn open(mut pieces: VecDeque<PathBuf>) -> Result<Self, JoinError> {
        let path = pieces.pop_front().expect("a recording has a piece");
        let reader = Reader::open(&path)?;
        let begins = (reader.head().piece > 0).then(|| reader.head().last.unwrap_or(i64::MIN));
        Ok(Self {
            shift: 0,
            reader,
            rest: pieces,
            ready: VecDeque::new(),
            clock: i64::MIN,
            fresh: true,
            begins,
            armed: false,
            gap: false,
            cut: Vec::new(),
            ended: None,
            over: false,
        })
    }

    /// The head of the open piece.
    pub(super) fn head(&self) -> &Head {
        self.reader.head()
    }

    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// Shifts all Unix times by `shift`, ns; before the first read.
    pub(super) fn shift(&mut self, shift: i64) {
        self.shift = shift;
        self.begins = self.begins.map(|time| time.saturating_add(shift));
    }

    /// The shift of Unix times, ns.
    pub(super) const fn shifted(&self) -> i64 {
        self.shift
    }

    /// Time when the recording's agents had started, Unix time, ns.
    pub(super) fn begun(&self) -> i64 {
        self.head().time.saturating_add(self.shift)
    }

    /// Time from which events are in these pieces, Unix time, ns; before the first read.
    pub(super) fn from(&self) -> i64 {
        self.begins
            .map_or_else(|| self.begun(), |begins| begins.max(self.begun()))
    }

    /// Whether a clone can read the same input.
    pub(super) fn can_be_read_again(&self) -> bool {
        self.reader.can_be_read_again()
    }

    /// Checks that the open piece still exists.
    pub(super) fn check(&mut self) -> Result<(), JoinError> {
        Ok(self.reader.check()?)
    }

    /// Number of events and records that were read and not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.reader.waiting() + self.ready.len()
    }

    /// Time of the recording's end, or the last known time; after its last event.
    pub(super) fn ended(&self) -> i64 {
        self.ended.unwrap_or_else(|| self.clock.max(self.begun()))
    }

    /// Pieces that end in the middle; after the last event.
    pub(super) fn cut(&self) -> impl Iterator<Item = &Path> {
        self.cut.iter().map(PathBuf::as_path)
    }

    /// The next record with its Unix time, ns.
    pub(super) fn read(&mut self) -> Result<Option<(i64, Record)>, JoinError> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Ok(Some(next));
            }
            if self.over {
                return Ok(None);
            }
            match self.reader.next().transpose()? {
                Some(event) => self.take(event),
                None => self.go_on()?,
            }
        }
    }

    /// Opens the next piece, if there is one.
    fn go_on(&mut self) -> Result<(), JoinError> {
        self.begin_rows();
        let path = self.path().to_owned();
        self.gap = self.reader.cut();
        if self.gap {
            self.cut.push(path.clone());
        }
        let Some(next) = self.rest.pop_front() else {
            self.over = true;
            let ended = Record::Ended {
                agents: (0..self.head().nodes.len()).collect(),
                time: self.ended(),
            };
            // The end gets the earliest time, so that no record of another recording comes
            // between it and the last event.
            self.ready.push_back((i64::MIN, ended));
            return Ok(());
        };
        let reader = Reader::open(&next)?;
        let (known, nodes) = (&self.head().nodes, &reader.head().nodes);
        // The missing rows may have held changes.
        let continues = |(one, other): (&Hello, &Hello)| one.continues(other);
        let same = known.len() <= nodes.len() && nodes.iter().zip(known).all(continues);
        if nodes != known && !(same && self.gap) {
            let other = path;
            return Err(JoinError::OtherNodes { path: next, other });
        }
        if self.gap {
            let known = known.len();
            for (agent, hello) in nodes.clone().into_iter().enumerate() {
                let hello = Box::new(hello);
                if agent < known {
                    self.push(Record::Known { agent, hello });
                } else {
                    let time = self.clock;
                    self.join(hello, time);
                }
            }
            let (known, owners) = (&self.head().owners, &reader.head().owners);
            let changes: Vec<_> = OwnersChange::between(known, owners).collect();
            for change in changes {
                self.change_owners(change);
            }
        }
        self.reader = reader;
        self.fresh = true;
        Ok(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::State {
                agent,
                stream,
                watermark,
                report,
            } => self.state(agent, stream, watermark, report),
            Event::Owners(change) => {
                self.begin_rows();
                self.change_owners(*change);
            }
            Event::Armed(time) => {
                self.begin_rows();
                self.arm(time.saturating_add(self.shift));
            }
            Event::Batch { agent, batch } => {
                self.begin_rows();
                self.clock = self.clock.max(self.time_of(agent, &batch));
                self.push(Record::Batch { agent, batch });
            }
            // Only the collector that asked needs it.
            Event::Clock { .. } => self.begin_rows(),
            Event::Gone { agent, time } => {
                self.begin_rows();
                let time = time.saturating_add(self.shift);
                self.push(Record::Gone { agent, time });
            }
            Event::Joined { hello, time } => {
                self.begin_rows();
                self.join(hello, time.saturating_add(self.shift));
            }
            Event::End(time) => {
                self.begin_rows();
                self.ended = Some(time.saturating_add(self.shift));
            }
        }
    }

    /// Adds an agent that had started at `time`, in the Unix time of all recordings.
    fn join(&mut self, mut hello: Box<Hello>, time: i64) {
        hello.realtime_offset = hello.realtime_offset.saturating_add(self.shift);
        self.push(Record::Joined { hello, time });
    }

    fn change_owners(&mut self, change: OwnersChange) {
        let time = change.time.saturating_add(self.shift);
        self.push(Record::Owners(Box::new(OwnersChange { time, ..change })));
    }

    /// Takes a state that a piece repeats from those before. It is all that is known of them if
    /// they are missing or end in the middle.
    fn state(&mut self, agent: usize, stream: usize, watermark: u64, report: Option<Box<Report>>) {
        let mut known = watermark_time(watermark).map(|time| self.unix(agent, time));
        if let Some(report) = &report {
            known = known.max(Some(self.unix(agent, report.time)));
        }
        let known = known.unwrap_or(i64::MIN);
        let first = self.begins.is_some();
        if let Some(begins) = &mut self.begins {
            *begins = known.max(*begins);
        }
        if first {
            self.push(Record::State {
                agent,
                stream,
                watermark,
                report,
            });
        } else if self.gap {
            let last = self.head().last.unwrap_or(i64::MIN);
            self.push(Record::Gap {
                agent,
                stream,
                watermark,
                report,
                to: known.max(last.saturating_add(self.shift)),
            });
        }
    }

    /// Adds the records that come before a piece's first row that is no state.
    fn begin_rows(&mut self) {
        if !std::mem::take(&mut self.fresh) {
            return;
        }
        self.gap = false;
        let begins = self.begins.take();
        if let Some(before) = begins {
            self.push(Record::Later(before));
        }
        if let Some(time) = self.head().armed {
            let time = time.saturating_add(self.shift);
            self.arm(time.max(begins.unwrap_or(time)));
        }
    }

    fn arm(&mut self, time: i64) {
        if !std::mem::replace(&mut self.armed, true) {
            self.push(Record::Armed(time));
        }
    }

    fn push(&mut self, recorded: Record) {
        self.ready.push_back((self.clock, recorded));
    }

    /// Unix time of a batch, ns, which keeps joined recordings in step. It is the watermark,
    /// unless the stream has none yet or has ended.
    fn time_of(&self, agent: usize, batch: &Batch) -> i64 {
        let reported = batch.report.as_ref().map(|report| report.time);
        let time = watermark_time(batch.watermark).or_else(|| batch.latest().max(reported));
        time.map_or(i64::MIN, |time| self.unix(agent, time))
    }

    fn unix(&self, agent: usize, time: u64) -> i64 {
        let offset = self.head().nodes[agent].realtime_offset;
        unix(time, offset.saturating_add(self.shift))
    }
}

/// The time of a watermark; `None` for 0 (no time yet) and `u64::MAX` (nothing more comes).
fn watermark_time(watermark: u64) -> Option<u64> {
    (watermark > 0 && watermark < u64::MAX).then_some(watermark)
}
