//! A replay that is at a time: on to a later one, back to an earlier one.
//!
//! **What is shown at a time** is what a replay from the start has shown once it has taken
//! every record up to then, and none that is later. A verdict rests on all that came before
//! it: which losses make a pattern, which connection was translated, which number a journey
//! has. So nothing less than the whole state may be gone back to, and nothing is guessed.
//!
//! **Going back** is going on from an earlier [`State`]. The player keeps one from time to
//! time, as it reads on where it has not been yet: the core, the place in the files, and what
//! the view was told. There are a bounded number of them, in bounded memory: whenever there
//! are too many, every second one goes.

use std::io;

use tracer_core::{
    collect::Core,
    input::Record,
    journal::{Bound, Progress, Reader, Standing},
};

use super::{room, watch::Watch};
use crate::{
    store::{JoinError, Recordings},
    view::Travels,
};

/// How many states are kept.
const STATES: usize = 256;

/// About how many bytes all of them may take at most.
const BYTES: usize = 1 << 30;

/// Of how much memory that is there they may take one part.
const SHARE: usize = 4;

/// How many packets lie between two states, at first: those that are replayed in an instant.
const SPACING: u64 = 100_000;

/// How many journeys there are to look back at after a jump.
const LOOK_BACK: u64 = 1_000;

/// A replay at a time.
pub(super) struct Player<M> {
    recordings: Recordings,
    core: Core,
    /// By agent: whether it is gone.
    away: Vec<bool>,
    /// Why what comes next cannot be read.
    broken: Option<JoinError>,
    /// The latest time of what was taken, Unix time, ns.
    time: i64,
    /// Whether all was taken, and summed up.
    ended: bool,
    /// When it begins.
    from: i64,
    /// When it ends, and how many entries are known then, once all of it was read.
    to: Option<(i64, u64)>,
    /// In rising order. The first is the beginning.
    states: Vec<State<M>>,
    /// About how many bytes they may take.
    room: usize,
    /// How many packets lie between two states.
    spacing: u64,
    /// How many journeys there are to look back at after a jump, about.
    look_back: u64,
    /// How many were taken since the latest state.
    taken: u64,
}

/// What a replay goes on from.
struct State<M> {
    recordings: Recordings,
    core: Core,
    away: Vec<bool>,
    time: i64,
    progress: Progress,
    problems: u64,
    mark: M,
    /// About how many bytes it takes.
    weight: usize,
}

/// Who shows a replay.
pub(super) type Shown<'a, 'b, V> = Reader<'a, Watch<'b, V>>;

impl<M> Player<M> {
    /// At the beginning; `None` if what is replayed can be read once only.
    pub(super) fn new<V: Travels<Mark = M>>(
        recordings: Recordings,
        reader: &mut Shown<'_, '_, V>,
    ) -> Option<Self> {
        let mut core = Core::new(recordings.beginning());
        // The view holds what was judged.
        core.keep(Bound { bytes: 0 });
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

    /// One that keeps states more often, or less.
    #[cfg(test)]
    pub(super) fn spaced(self, spacing: u64) -> Self {
        Self {
            spacing,
            look_back: spacing / 4,
            ..self
        }
    }

    /// How many states there are.
    #[cfg(test)]
    pub(super) const fn states(&self) -> usize {
        self.states.len()
    }

    /// When the recording begins, Unix time, ns.
    pub(super) const fn from(&self) -> i64 {
        self.from
    }

    /// When it ends, if all of it was read once.
    pub(super) fn to(&self) -> Option<i64> {
        self.to.map(|(time, _)| time)
    }

    /// The latest time of what was taken.
    pub(super) const fn time(&self) -> i64 {
        self.time
    }

    /// When what comes next was; `None` once all was taken.
    pub(super) fn next_time(&mut self) -> Option<i64> {
        self.recordings.next_time()
    }

    /// Whether all was taken, and summed up.
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    pub(super) const fn core(&self) -> &Core {
        &self.core
    }

    /// Takes why not all could be read, if so.
    pub(super) const fn broken(&mut self) -> Option<JoinError> {
        self.broken.take()
    }

    pub(super) const fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    /// Takes what comes next. False if nothing does.
    ///
    /// # Errors
    /// Those of the view.
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

    /// Sums up, after all was taken.
    ///
    /// # Errors
    /// Those of the view.
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

    /// Has the view show how it stands.
    ///
    /// # Errors
    /// Those of the view.
    pub(super) fn tell_standing<V: Travels<Mark = M>>(
        &self,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        let standing = Standing {
            accounting: self.core.accounting(),
            away: self.away.clone(),
            // What was sampled is in the accounting.
            sample: u32::MAX,
        };
        reader.standing(self.core.scene(), &standing)
    }

    /// Keeps a state, where there is none after.
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

    /// The state from which to go on to a time: the latest with which there are journeys to
    /// look back at.
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

    /// About how many entries are known at a time after a state and before the next one.
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

    /// The latest state that knows of fewer entries than so many.
    pub(super) fn state_with_fewer(&self, entries: u64) -> usize {
        let more = self
            .states
            .partition_point(|state| state.progress.read < entries);
        more.saturating_sub(1)
    }

    /// When a state is, how many entries were known then, and how many problems.
    pub(super) fn known_at(&self, state: usize) -> (i64, u64, u64) {
        let state = &self.states[state];
        (state.time, state.progress.read, state.problems)
    }

    /// Goes back to a state, or on to a later one.
    ///
    /// # Errors
    /// If what comes after it cannot be read any more: all is as it was.
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

/// About how many bytes all states may take here.
fn room() -> usize {
    room::available().map_or(BYTES, |bytes| BYTES.min(bytes / SHARE))
}

/// About how many bytes a state takes: rather too many than too few.
fn weight(core: &Core, recordings: &Recordings) -> usize {
    /// What was read and waits to be taken, without what was captured of it.
    const WAITING: usize = 1 << 10;
    /// How many captured frames there are at most to each KiB of what refers to them.
    const FRAMES: usize = 4;

    let bytes = core.weight() + recordings.waiting() * WAITING;
    let nodes = recordings.head().nodes.iter();
    let captured = nodes.map(|hello| hello.snaplen as usize).max().unwrap_or(0);
    bytes + (bytes >> 10) * FRAMES * captured
}
