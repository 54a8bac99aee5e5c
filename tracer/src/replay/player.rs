//! A replay with a position in time, which can go forwards and back.
//!
//! **The view at a time** is what a replay from the start has shown after all records up to
//! that time, and no later one. A verdict depends on everything before it: losses that make a
//! pattern, translated connections, numbers of journeys. So going back needs the whole state,
//! and nothing is guessed.
//!
//! **Going back** means continuing from an earlier [`State`]. The player keeps a state at
//! intervals, when it reads a part for the first time: the core, the position in the files, and
//! what the view was told. Their number and memory are bounded. If there are too many, every
//! second one is removed.

use std::io;

use tracer_core::{
    collect::Core,
    input::Record,
    journal::{Progress, Reader, Standing},
};

use super::{room, watch::Watch};
use crate::{
    store::{JoinError, Recordings},
    view::Travels,
};

/// Limit of states.
const STATES: usize = 256;

/// Memory limit of all states, approximate bytes.
const BYTES: usize = 1 << 30;

/// The states may take this fraction of the available memory.
const SHARE: usize = 4;

/// Number of packets between two states at first. Replaying this many takes an instant.
const SPACING: u64 = 100_000;

/// Number of journeys to look back at after a jump.
const LOOK_BACK: u64 = 1_000;

/// A replay with a position in time.
pub(super) struct Player<M> {
    recordings: Recordings,
    core: Core,
    /// By agent: whether the agent is gone.
    away: Vec<bool>,
    /// Why the next record cannot be read.
    broken: Option<JoinError>,
    /// Time of the latest record taken, Unix time, ns.
    time: i64,
    /// Whether all records were taken, and the summary was shown.
    ended: bool,
    /// Begin of the recording, Unix time, ns.
    from: i64,
    /// End of the recording, Unix time, ns, and number of entries then; `None` before it was
    /// read to its end.
    to: Option<(i64, u64)>,
    /// States in order of time; the first is the beginning.
    states: Vec<State<M>>,
    /// Memory that the states may take, approximate bytes.
    room: usize,
    /// Number of packets between two states.
    spacing: u64,
    /// Approximate number of journeys to look back at after a jump.
    look_back: u64,
    /// Number of packets taken since the latest state.
    taken: u64,
}

/// A state from which a replay continues.
struct State<M> {
    recordings: Recordings,
    core: Core,
    away: Vec<bool>,
    time: i64,
    progress: Progress,
    problems: u64,
    mark: M,
    /// Memory that the state takes, approximate bytes.
    weight: usize,
}

/// The reader and view of a replay.
pub(super) type Shown<'a, 'b, V> = Reader<'a, Watch<'b, V>>;

impl<M> Player<M> {
    /// A player at the beginning; `None` if the input can be read only once.
    pub(super) fn new<V: Travels<Mark = M>>(
        recordings: Recordings,
        reader: &mut Shown<'_, '_, V>,
    ) -> Option<Self> {
        let core = Core::new(recordings.beginning());
        let from = recordings.from();
        let mut player = Self {
            away: vec![false; recordings.head().nodes.len()],
            recordings,
            core,
            broken: None,
            time: from,
            ended: false,
            from,
            to: None,
            states: Vec::new(),
            room: room(),
            spacing: SPACING,
            look_back: LOOK_BACK,
            taken: 0,
        };
        player.keep(reader);
        (!player.states.is_empty()).then_some(player)
    }

    /// The player with another number of packets between two states.
    #[cfg(test)]
    pub(super) fn spaced(self, spacing: u64) -> Self {
        Self {
            spacing,
            look_back: spacing / 4,
            ..self
        }
    }

    /// Number of states.
    #[cfg(test)]
    pub(super) const fn states(&self) -> usize {
        self.states.len()
    }

    /// Begin of the recording, Unix time, ns.
    pub(super) const fn from(&self) -> i64 {
        self.from
    }

    /// End of the recording, Unix time, ns; `None` before it was read to its end.
    pub(super) fn to(&self) -> Option<i64> {
        self.to.map(|(time, _)| time)
    }

    /// Time of the latest record taken, Unix time, ns.
    pub(super) const fn time(&self) -> i64 {
        self.time
    }

    /// Time of the next record, Unix time, ns; `None` once all were taken.
    pub(super) fn next_time(&mut self) -> Option<i64> {
        self.recordings.next_time()
    }

    /// Whether all records were taken, and the summary was shown.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    pub(super) const fn core(&self) -> &Core {
        &self.core
    }

    /// Takes the reason why the recording could not be read to its end.
    pub(super) const fn broken(&mut self) -> Option<JoinError> {
        self.broken.take()
    }

    pub(super) const fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// Takes the next record; false if there is none.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn step<V: Travels<Mark = M>>(
        &mut self,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<bool> {
        let Some(time) = self.recordings.next_time() else {
            return Ok(false);
        };
        if self.taken >= self.spacing
            && (self.recordings.waiting() == 0 || self.taken >= 2 * self.spacing)
        {
            self.keep(reader);
        }
        self.time = self.time.max(time);
        reader.view().at(self.time);
        match self.recordings.next() {
            Some(Ok(record)) => self.take(record),
            Some(Err(error)) => self.broken = Some(error),
            None => return Ok(false),
        }
        self.core.show(reader)?;
        Ok(true)
    }

    fn take(&mut self, record: Record) {
        self.taken += 1;
        match &record {
            Record::Batch { agent, batch } => {
                self.taken += (batch.hops.len() + batch.freed.len()) as u64;
                self.away[*agent] &= !batch.begins_anew();
            }
            Record::Gone { agent, .. } => self.away[*agent] = true,
            Record::Joined { .. } => self.away.push(false),
            _ => {}
        }
        self.core.take(record);
    }

    /// Shows the summary, after all records were taken.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn end<V: Travels<Mark = M>>(
        &mut self,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        if !self.ended {
            self.ended = true;
            self.time = self.time.max(self.recordings.ended());
            reader.view().at(self.time);
            self.core.end(reader)?;
            self.to = Some((self.time, reader.progress().read));
            self.core.sum_up(reader)?;
        }
        Ok(())
    }

    /// Tells the view the state of the follow.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn tell_standing<V: Travels<Mark = M>>(
        &self,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        let standing = Standing {
            accounting: self.core.accounting(),
            away: self.away.clone(),
            // The accounting has the packets left out by sampling.
            sample: u32::MAX,
        };
        reader.standing(self.core.scene(), &standing)
    }

    /// Keeps a state, if there is no later one.
    fn keep<V: Travels<Mark = M>>(&mut self, reader: &mut Shown<'_, '_, V>) {
        self.taken = 0;
        let progress = reader.progress();
        let latest = self.states.last().map(|state| state.progress.read);
        if latest.is_some_and(|latest| progress.read <= latest) {
            return;
        }
        let Some(recordings) = self.recordings.again() else {
            return;
        };
        let mark = reader.view().view().mark();
        self.states.push(State {
            core: self.core.clone(),
            away: self.away.clone(),
            time: if latest.is_none() {
                i64::MIN
            } else {
                self.time
            },
            progress,
            problems: reader.view().problems(),
            weight: weight(&self.core, &recordings) + V::weight(&mark),
            mark,
            recordings,
        });
        let bytes: usize = self.states.iter().map(|state| state.weight).sum();
        if self.states.len() > STATES || bytes > self.room && self.states.len() > 2 {
            let mut index = 0;
            self.states.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.spacing *= 2;
        }
    }

    /// The state from which to continue to a time: the latest one with enough journeys to look
    /// back at.
    pub(super) fn state_before(&self, time: i64) -> usize {
        let later = self.states.partition_point(|state| state.time <= time);
        let latest = later.saturating_sub(1);
        let known = self.known_about(latest, time);
        let has_few = |state: &usize| {
            let since = known.saturating_sub(self.states[*state].progress.read);
            since < self.look_back
        };
        (1..=latest)
            .rev()
            .find(|state| !has_few(state))
            .unwrap_or(0)
    }

    /// Approximate number of entries at a time between a state and the next one.
    fn known_about(&self, state: usize, time: i64) -> u64 {
        let (begin, known) = (&self.states[state], self.states[state].progress.read);
        let Some((end, last)) = (match self.states.get(state + 1) {
            Some(next) => Some((next.time, next.progress.read)),
            None => self.to,
        }) else {
            return known;
        };
        let begin = begin.time.max(self.from);
        let span = (end.saturating_sub(begin)).max(1) as f64;
        let part = (time.saturating_sub(begin) as f64 / span).clamp(0.0, 1.0);
        known + (last.saturating_sub(known) as f64 * part) as u64
    }

    /// The latest state with fewer entries than this number.
    pub(super) fn state_with_fewer(&self, entries: u64) -> usize {
        let more = self
            .states
            .partition_point(|state| state.progress.read < entries);
        more.saturating_sub(1)
    }

    /// Time of a state, Unix time, ns, and number of entries and of problems at it.
    pub(super) fn known_at(&self, state: usize) -> (i64, u64, u64) {
        let state = &self.states[state];
        (state.time, state.progress.read, state.problems)
    }

    /// Continues from a state, an earlier or a later one.
    ///
    /// # Errors
    /// If the files can no longer be read; then nothing has changed.
    pub(super) fn resume<V: Travels<Mark = M>>(
        &mut self,
        state: usize,
        reader: &mut Shown<'_, '_, V>,
    ) -> Result<(), JoinError> {
        let state = &self.states[state];
        let mut recordings = state
            .recordings
            .again()
            .expect("it was read again to be kept");
        recordings.check()?;
        self.recordings = recordings;
        self.core = state.core.clone();
        self.away.clone_from(&state.away);
        self.time = state.time.max(self.from);
        self.taken = 0;
        self.ended = false;
        self.broken = None;
        reader.resume(state.progress);
        reader.view().resume(state.problems);
        reader.view().view().go_back(&state.mark);
        Ok(())
    }
}

/// Memory that all states may take on this machine, approximate bytes.
fn room() -> usize {
    room::available().map_or(BYTES, |bytes| BYTES.min(bytes / SHARE))
}

/// Memory that a state takes, approximate bytes, rather too many than too few.
fn weight(core: &Core, recordings: &Recordings) -> usize {
    /// Bytes of a record that waits, without captured bytes.
    const WAITING: usize = 1 << 10;
    /// Limit of captured frames per KiB of records that refer to them.
    const FRAMES: usize = 4;

    let bytes = core.weight() + recordings.waiting() * WAITING;
    let nodes = recordings.head().nodes.iter();
    let captured = nodes.map(|hello| hello.snaplen as usize).max().unwrap_or(0);
    bytes + (bytes >> 10) * FRAMES * captured
}
