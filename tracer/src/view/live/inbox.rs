//! The data that the session hands to the thread with the terminal.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracer_core::{
    journal::{Changed, Entry, Selected, Standing, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::{
    known::{Beginning, HELD, Known, Taken},
    travel::{Clock, Travels},
};
use crate::{clock::unix_now, view::path::Tally};

/// Maximum number of notices that are kept.
const NOTICES: usize = 200;

/// The data that is new since the last [`Inbox::take`].
#[derive(Debug)]
pub(super) struct Inbox {
    live: bool,
    new: Mutex<New>,
    /// Whether the thread with the terminal has to give it back, or has done so.
    left: AtomicBool,
}

#[derive(Debug, Default)]
struct New {
    /// Whether there is any new data.
    is_any: bool,
    told: Told,
    tally: Tally,
    entries: VecDeque<Arc<Entry>>,
    /// Bytes of these entries.
    bytes: usize,
    /// The first of these entries, if they do not follow those that were taken before.
    from: Option<Beginning>,
    summary: Option<Arc<Summary>>,
    clock: Option<Clock>,
    /// The entry that a search found.
    chosen: Option<u64>,
    /// Why a wish had no effect.
    answer: Option<String>,
}

/// What the session told besides journeys.
#[derive(Clone, Debug, Default)]
struct Told {
    started: Option<Started>,
    scene: Arc<Scene>,
    /// Number of points of each node in that scene.
    points: Vec<usize>,
    standing: Option<Standing>,
    notices: Vec<Notice>,
}

/// A message that is not data.
#[derive(Clone, Debug)]
struct Notice {
    line: String,
    /// Whether the message is part of the recording, and not from the replay itself.
    is_replayed: bool,
}

/// What the view was told up to a time.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    told: Told,
    tally: Arc<Tally>,
}

impl Inbox {
    pub(super) fn new(live: bool) -> Self {
        Self {
            live,
            new: Mutex::default(),
            left: AtomicBool::new(false),
        }
    }

    fn new_in(&self) -> MutexGuard<'_, New> {
        // A panic of another thread leaves complete data behind, so use the data.
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.is_any = true;
        new
    }

    pub(super) fn notice(&self, line: &str) {
        self.new_in().told.say(line.to_owned(), false);
    }

    /// Hands over the new data, if there is any.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut new.is_any) {
            return None;
        }
        new.bytes = 0;
        let now = match new.clock {
            _ if self.live && new.summary.is_none() => unix_now(),
            Some(clock) if new.summary.is_none() => clock.position,
            // One second more, so that the last second counts as a whole one.
            _ => new
                .tally
                .latest
                .unwrap_or_default()
                .saturating_add(1_000_000_000),
        };
        let notices = new.told.notices.iter();
        let known = Known {
            started: new.told.started.clone(),
            scene: Arc::clone(&new.told.scene),
            tally: Arc::new(new.tally.clone()),
            standing: new.told.standing.clone(),
            notices: notices.map(|notice| notice.line.clone()).collect(),
            summary: new.summary.clone(),
            clock: new.clock,
            now,
        };
        Some(Taken {
            known,
            from: new.from.take(),
            entries: std::mem::take(&mut new.entries),
            chosen: new.chosen.take(),
            answer: new.answer.take(),
        })
    }

    /// Tells the thread with the terminal to give it back.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }
}

/// The inbox receives everything that a session tells.
impl View for &Inbox {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        let told = &mut self.new_in().told;
        told.look_at(scene);
        for warning in &started.warnings {
            told.say(warning.clone(), true);
        }
        told.started = Some(started.clone());
        Ok(())
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        let told = &mut self.new_in().told;
        told.look_at(scene);
        let node = &scene.nodes[changed.node].node;
        for note in &changed.notes {
            told.say(format!("{node}: {note}"), true);
        }
        Ok(())
    }

    fn journey(&mut self, _: &Scene, _: &Journey, _: &Verdict, _: &Parts) -> io::Result<()> {
        unreachable!("it takes entries")
    }

    /// Adds a journey. It is counted here, so that no count depends on whether the journey is
    /// fetched before it is dropped.
    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, _: bool) -> io::Result<()> {
        let mut new = self.new_in();
        if new.told.has_other_points(scene) {
            new.told.look_at(scene);
        }
        let judged = (&*entry.journey, &entry.verdict);
        new.tally.add(scene, judged, || Arc::clone(entry));
        new.bytes += entry.weight();
        new.entries.push_back(Arc::clone(entry));
        // The view holds no more than this, so older entries can go.
        while new.bytes > HELD.bytes && new.entries.len() > 1 {
            let Some(oldest) = new.entries.pop_front() else {
                break;
            };
            new.bytes -= oldest.weight();
            let since = new.from.and_then(|from| from.since);
            new.from = Some(Beginning {
                number: oldest.number + 1,
                since: since.max(Some(oldest.journey.start())),
            });
        }
        drop(new);
        // If the view has ended, the rest of a recording need not be read.
        if !self.live && self.is_left() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn shows_standing(&self) -> bool {
        true
    }

    fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        let told = &mut self.new_in().told;
        // Owners change without a message.
        if told.scene.owners != scene.owners {
            told.look_at(scene);
        }
        told.standing = Some(standing.clone());
        Ok(())
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        _: Option<&Selected>,
    ) -> io::Result<()> {
        let mut new = self.new_in();
        new.told.look_at(scene);
        new.summary = Some(Arc::new(summary.clone()));
        Ok(())
    }
}

/// After a move back in time, the inbox has what it had at that time.
impl Travels for &Inbox {
    type Mark = Mark;

    fn mark(&mut self) -> Mark {
        let new = self.new_in();
        Mark {
            told: new.told.clone(),
            tally: Arc::new(new.tally.clone()),
        }
    }

    /// Nearly all of the weight is counts. Marks share the scene until it changes.
    fn weight(mark: &Mark) -> usize {
        mark.tally.weight()
    }

    fn go_back(&mut self, mark: &Mark) {
        let mut new = self.new_in();
        let new = &mut *new;
        let own = new.told.notices.drain(..).filter(|one| !one.is_replayed);
        let own: Vec<Notice> = own.collect();
        new.told = mark.told.clone();
        new.told.notices.retain(|notice| notice.is_replayed);
        new.told.notices.extend(own);
        new.tally = Tally::clone(&mark.tally);
        new.entries.clear();
        new.bytes = 0;
        new.from = Some(Beginning {
            number: new.tally.journeys(),
            since: new.tally.latest,
        });
        new.summary = None;
        new.chosen = None;
    }

    fn clock(&mut self, clock: Clock) {
        self.new_in().clock = Some(clock);
    }

    fn ended(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()> {
        self.summary(scene, summary, None)
    }

    fn say(&mut self, line: &str) {
        self.notice(line);
    }

    fn answer(&mut self, line: &str) {
        self.new_in().answer = Some(line.to_owned());
    }

    fn choose(&mut self, number: u64) {
        self.new_in().chosen = Some(number);
    }
}

impl Told {
    fn look_at(&mut self, scene: &Scene) {
        self.points = scene.nodes.iter().map(|hello| hello.points.len()).collect();
        self.scene = Arc::new(scene.clone());
    }

    /// Whether the scene has other points than the scene that was handed over.
    fn has_other_points(&self, scene: &Scene) -> bool {
        let now = scene.nodes.iter().map(|hello| hello.points.len());
        !now.eq(self.points.iter().copied())
    }

    fn say(&mut self, line: String, is_replayed: bool) {
        if self.notices.len() == NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(Notice { line, is_replayed });
    }
}
