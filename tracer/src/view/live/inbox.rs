//! What the session hands to whoever has the terminal.

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
    state::{HELD, Known, State},
    tally::Tally,
};
use crate::collector::unix_now;

/// How many notices are kept.
const NOTICES: usize = 200;

/// What is new since it was last taken.
#[derive(Debug)]
pub(super) struct Inbox {
    live: bool,
    new: Mutex<New>,
    /// Whether whoever has the terminal is to give it back.
    left: AtomicBool,
}

#[derive(Debug, Default)]
struct New {
    /// Whether there is anything.
    is_any: bool,
    started: Option<Started>,
    scene: Arc<Scene>,
    /// How many points each node has in that scene.
    points: Vec<usize>,
    tally: Tally,
    entries: VecDeque<Arc<Entry>>,
    /// What these take.
    bytes: usize,
    standing: Option<Standing>,
    notices: Vec<String>,
    summary: Option<Arc<Summary>>,
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
        // Whatever panicked, what is in there was whole before.
        let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
        new.is_any = true;
        new
    }

    pub(super) fn notice(&self, line: &str) {
        self.new_in().say(line.to_owned());
    }

    /// Hands over what is new, if anything is.
    pub(super) fn take(&self, state: &mut State) -> bool {
        let (known, entries) = {
            let mut new = self.new.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut new.is_any) {
                return false;
            }
            new.bytes = 0;
            let entries = std::mem::take(&mut new.entries);
            let now = if self.live && new.summary.is_none() {
                unix_now()
            } else {
                // One second more, so that the last one counts as a whole one.
                new.tally
                    .latest
                    .unwrap_or_default()
                    .saturating_add(1_000_000_000)
            };
            let known = Known {
                started: new.started.clone(),
                scene: Arc::clone(&new.scene),
                tally: Arc::new(new.tally.clone()),
                standing: new.standing.clone(),
                notices: new.notices.clone(),
                summary: new.summary.clone(),
                now,
            };
            (known, entries)
        };
        state.take(known, entries.into_iter());
        true
    }

    /// Tells whoever has the terminal to give it back.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Release);
    }

    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }
}

/// All that a session tells goes in here.
impl View for &Inbox {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        let mut new = self.new_in();
        new.look_at(scene);
        new.notices.extend(started.warnings.iter().cloned());
        new.started = Some(started.clone());
        Ok(())
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        let mut new = self.new_in();
        new.look_at(scene);
        let node = &scene.nodes[changed.node].node;
        for note in &changed.notes {
            new.say(format!("{node}: {note}"));
        }
        Ok(())
    }

    fn journey(&mut self, _: &Scene, _: &Journey, _: &Verdict, _: &Parts) -> io::Result<()> {
        unreachable!("it takes entries")
    }

    /// Takes a journey. It is counted here, so that no count depends on whether it is
    /// fetched before it is forgotten.
    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, _: bool) -> io::Result<()> {
        let mut new = self.new_in();
        if new.has_other_points(scene) {
            new.look_at(scene);
        }
        new.tally.add(scene, entry);
        new.bytes += entry.weight();
        new.entries.push_back(Arc::clone(entry));
        // More than what is held in the end need not wait.
        while new.bytes > HELD.bytes && new.entries.len() > 1 {
            let oldest = new.entries.pop_front();
            new.bytes -= oldest.map_or(0, |oldest| oldest.weight());
        }
        drop(new);
        // Of a recording, nobody needs the rest.
        if !self.live && self.is_left() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn shows_standing(&self) -> bool {
        true
    }

    fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        let mut new = self.new_in();
        // Owners come and go without a word.
        if new.scene.owners != scene.owners {
            new.look_at(scene);
        }
        new.standing = Some(standing.clone());
        Ok(())
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        _: Option<&Selected>,
    ) -> io::Result<()> {
        let mut new = self.new_in();
        new.look_at(scene);
        new.summary = Some(Arc::new(summary.clone()));
        Ok(())
    }
}

impl New {
    fn look_at(&mut self, scene: &Scene) {
        self.points = scene.nodes.iter().map(|hello| hello.points.len()).collect();
        self.scene = Arc::new(scene.clone());
    }

    /// Whether there are points that the scene that was handed over has not.
    fn has_other_points(&self, scene: &Scene) -> bool {
        let now = scene.nodes.iter().map(|hello| hello.points.len());
        !now.eq(self.points.iter().copied())
    }

    fn say(&mut self, line: String) {
        if self.notices.len() == NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(line);
    }
}
