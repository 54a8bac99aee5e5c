//! One recording: its pieces, one after the other.

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

/// A recording: its pieces. One of them is open at a time. A clone goes on from the same
/// place.
#[derive(Clone)]
pub(super) struct Chain {
    /// Added to its Unix times, ns: what its reading of the clock differs by
    /// from that of another recording made on the same kernel.
    shift: i64,
    reader: Reader,
    /// The pieces after the one that is being read.
    rest: VecDeque<PathBuf>,
    /// What was read and not taken yet, and when that was, Unix time, ns.
    ready: VecDeque<(i64, Record)>,
    /// The latest of what was read, Unix time, ns.
    clock: i64,
    /// Whether nothing but states was read of this piece yet.
    fresh: bool,
    /// Until when what happened is in a piece that is not there, Unix time, ns.
    begins: Option<i64>,
    /// Whether it was said from when on all points are observed.
    armed: bool,
    /// Whether rows are missing before this piece.
    gap: bool,
    /// The pieces that end in the middle.
    cut: Vec<PathBuf>,
    /// When the recording ended, where it says so.
    ended: Option<i64>,
    over: bool,
}

impl Chain {
    /// Opens a recording at its first piece. Its agents have their numbers in it.
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

    /// What the piece that is open says of the recording.
    pub(super) fn head(&self) -> &Head {
        self.reader.head()
    }

    pub(super) fn path(&self) -> &Path {
        self.reader.path()
    }

    /// Takes its Unix times to be `shift` later; before anything is read.
    pub(super) fn shift(&mut self, shift: i64) {
        self.shift = shift;
        self.begins = self.begins.map(|time| time.saturating_add(shift));
    }

    /// By how much later its Unix times are taken to be.
    pub(super) const fn shifted(&self) -> i64 {
        self.shift
    }

    /// When its agents had started, Unix time, ns.
    pub(super) fn begun(&self) -> i64 {
        self.head().time.saturating_add(self.shift)
    }

    /// Since when what happened is in these pieces, Unix time, ns; before anything is read.
    pub(super) fn from(&self) -> i64 {
        self.begins
            .map_or_else(|| self.begun(), |begins| begins.max(self.begun()))
    }

    /// Whether a clone can read what this one reads.
    pub(super) fn can_be_read_again(&self) -> bool {
        self.reader.can_be_read_again()
    }

    /// Makes sure that the piece that is open is still there.
    pub(super) fn check(&mut self) -> Result<(), JoinError> {
        Ok(self.reader.check()?)
    }

    /// Events and records that were read and not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.reader.waiting() + self.ready.len()
    }

    /// When it ended, or the last that is known of it; after its last event.
    pub(super) fn ended(&self) -> i64 {
        self.ended.unwrap_or_else(|| self.clock.max(self.begun()))
    }

    /// The pieces that end in the middle; after the last event.
    pub(super) fn cut(&self) -> impl Iterator<Item = &Path> {
        self.cut.iter().map(PathBuf::as_path)
    }

    /// What comes next, and when that was.
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

    /// Goes on to the next piece, if there is one.
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
            // Nothing of another recording comes between it and the last event.
            self.ready.push_back((i64::MIN, ended));
            return Ok(());
        };
        let reader = Reader::open(&next)?;
        let (known, nodes) = (&self.head().nodes, &reader.head().nodes);
        // What has changed meanwhile may be in the rows that are missing.
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
            // Of use to who asked only.
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

    /// Takes in another agent, which had started at `time`, by the time that all have.
    fn join(&mut self, mut hello: Box<Hello>, time: i64) {
        hello.realtime_offset = hello.realtime_offset.saturating_add(self.shift);
        self.push(Record::Joined { hello, time });
    }

    fn change_owners(&mut self, change: OwnersChange) {
        let time = change.time.saturating_add(self.shift);
        self.push(Record::Owners(Box::new(OwnersChange { time, ..change })));
    }

    /// Takes what a piece repeats of those before it: all that is known of
    /// them, if they are not there or end in the middle.
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

    /// What is to be said before the first row of a piece that is no state.
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

    /// When what is in a batch was, so that recordings side by side keep step.
    /// A watermark tells, unless there is none yet or it is the last.
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

/// The time that a watermark is, if it is one: it is none before all that
/// waited has come, and none when nothing will come any more.
fn watermark_time(watermark: u64) -> Option<u64> {
    (watermark > 0 && watermark < u64::MAX).then_some(watermark)
}
