//! The state of the view. Drawing and the keys' names are elsewhere.

mod act;
mod command_line;
mod input;
mod open;
mod save;
mod select;
mod time;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracer_core::{
    journal::{Entry, Journal, Query},
    journey::Scene,
};
use tui_input::Input;

use super::{
    Kept, Saver,
    known::{Beginning, HELD, Known, Taken},
    list::{Conversation, List, conversations},
    tabs::Screen,
    travel::Wishes,
};
use crate::view::{Look, moment::Zone, path::Way};

/// The source of the packets.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Whether the packets are live.
    pub(super) live: bool,
    /// The words of the command line, without those about the output.
    pub(super) command: Vec<String>,
    /// Saves what is shown.
    pub(super) saver: Saver,
    /// Takes wishes to move in time, if the view can be moved.
    pub(super) wishes: Option<Wishes>,
}

/// What the screen showed when it was paused.
#[derive(Debug)]
pub(super) struct Paused {
    pub(super) known: Known,
    /// Number of the first entry after the pause began.
    pub(super) until: u64,
}

/// What is displayed over the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    Help,
    CommandLine(String),
}

/// A line of input, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Typing {
    pub(super) input: Input,
    pub(super) wrong: Option<String>,
    pub(super) what: What,
}

/// The purpose of a line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A filter. Holds the filter before.
    Filter(Option<Query>),
    /// The name of a file to save to.
    Name,
    /// A time to move to.
    Time,
}

/// What the loop of the thread has to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    Quit,
    Suspend,
    Redraw,
    Mouse,
    Save,
}

/// The state of the view.
#[derive(Debug)]
pub(super) struct State {
    pub(super) source: Source,
    pub(super) zone: Zone,
    pub(super) known: Known,
    pub(super) paused: Option<Paused>,
    pub(super) journal: Journal,
    pub(super) screen: Screen,
    pub(super) list: List,
    /// Whether journeys are grouped by conversation.
    pub(super) grouped: bool,
    /// The conversations while they are displayed, and when they were computed.
    pub(super) conversations: (Vec<Conversation>, Option<Instant>),
    /// Number of the chosen conversation.
    pub(super) conversation: Option<u64>,
    pub(super) open: Option<Arc<Entry>>,
    pub(super) fields: bool,
    pub(super) typing: Option<Typing>,
    /// The data to save and its file, until the loop saves it.
    pub(super) to_save: Option<(PathBuf, Kept)>,
    pub(super) over: Option<Over>,
    /// How far each screen is scrolled, and as the last one the help.
    pub(super) scroll: [usize; 5],
    /// Whether the view captures the mouse.
    pub(super) mouse: bool,
    /// Time of the latest notice.
    noticed: Option<Instant>,
    /// Why the latest wish had no effect.
    pub(super) answer: Option<String>,
    /// The lines of the list as last drawn: the first screen row, and the number of rows.
    pub(super) lines: (u16, u16),
}

impl State {
    pub(super) fn new(source: Source, look: &Look, query: Option<Query>) -> Self {
        Self {
            source,
            zone: look.zone.clone(),
            known: Known::default(),
            paused: None,
            journal: Journal::new(HELD),
            screen: Screen::Path,
            list: List::of(query),
            grouped: false,
            conversations: (Vec::new(), None),
            conversation: None,
            open: None,
            fields: false,
            typing: None,
            to_save: None,
            over: None,
            scroll: [0; 5],
            mouse: true,
            noticed: None,
            answer: None,
            lines: (0, 0),
        }
    }

    /// What the screen shows: the current data, or the data when it was paused.
    pub(super) fn shown(&self) -> &Known {
        self.paused
            .as_ref()
            .map_or(&self.known, |paused| &paused.known)
    }

    /// A scene that fits all entries.
    pub(super) fn scene(&self) -> &Arc<Scene> {
        &self.known.scene
    }

    /// Number of the first entry that is not shown. That entry came after a pause began, or is from
    /// a later time than the replay's position.
    pub(super) fn until(&self) -> u64 {
        match (&self.paused, &self.known.clock) {
            (Some(paused), _) => paused.until,
            (None, Some(_)) => self.known.tally.journeys(),
            (None, None) => u64::MAX,
        }
    }

    /// Number of the shown entries that the journal still has.
    pub(super) fn held(&self) -> u64 {
        self.count().saturating_sub(self.journal.evicted())
    }

    /// Number of all entries that are or were shown.
    pub(super) fn count(&self) -> u64 {
        self.until().min(self.journal.next())
    }

    /// The entry of the journey with this number, if the journal has it and it is shown.
    pub(super) fn with_id(&self, id: u64) -> Option<&Arc<Entry>> {
        let entry = self.journal.with_id(id)?;
        (entry.number < self.until()).then_some(entry)
    }

    /// Number of entries since the pause began.
    pub(super) fn waiting(&self) -> u64 {
        self.paused
            .as_ref()
            .map_or(0, |paused| self.journal.next().saturating_sub(paused.until))
    }

    pub(super) fn way(&self) -> Way {
        Way::of(self.scene(), &self.shown().tally)
    }

    /// Takes new data.
    pub(super) fn take(&mut self, new: Taken) {
        let Taken {
            known,
            from,
            entries,
            chosen,
            answer,
        } = new;
        // After a move back in time, there are no new notices.
        let is_longer = known.notices.len() >= self.known.notices.len();
        if is_longer && known.notices != self.known.notices {
            self.noticed = Some(Instant::now());
        }
        self.known = known;
        if let Some(from) = from {
            self.begin_from(from);
        }
        for entry in entries {
            // Entries that are replayed again are in the journal already.
            if entry.number >= self.journal.next() {
                self.journal.push(entry);
            }
        }
        self.forget_later();
        self.refresh();
        if let Some(number) = chosen {
            self.choose(number);
        }
        self.answer = answer.or(self.answer.take());
    }

    /// Continues with entries from a number on. Entries before it may be missing.
    fn begin_from(&mut self, from: Beginning) {
        let held = self.journal.evicted()..=self.journal.next();
        if held.contains(&from.number) {
            return;
        }
        let since = if from.number > self.journal.next() {
            let starts = self.journal.since(0).map(|entry| entry.journey.start());
            from.since.max(self.journal.held_since()).max(starts.max())
        } else {
            from.since
        };
        self.journal = Journal::from(HELD, from.number, since);
        self.list.begin_anew();
    }

    /// Closes a journey that is from a later time than the one that is shown.
    fn forget_later(&mut self) {
        let until = self.until();
        self.list.forget_from(until);
        if self.open.as_ref().is_some_and(|open| open.number >= until) {
            self.open = None;
            if self.screen == Screen::Journey {
                self.screen = Screen::Journeys;
            }
        }
    }

    /// Why the latest wish had no effect, until the next wish. Otherwise the latest notice, for as
    /// long as it takes to read.
    pub(super) fn notice(&self) -> Option<&str> {
        const READ: Duration = Duration::from_secs(20);
        if self.answer.is_some() {
            return self.answer.as_deref();
        }
        let is_new = self.noticed.is_some_and(|at| at.elapsed() < READ);
        self.known
            .notices
            .last()
            .filter(|_| is_new)
            .map(String::as_str)
    }

    /// Looks for matching entries among the new ones.
    fn refresh(&mut self) {
        let until = self.until();
        let scene = Arc::clone(&self.known.scene);
        self.list.update(&self.journal, &scene, &self.zone.0, until);
    }

    /// Computes the conversations again, if they are old.
    pub(super) fn group(&mut self) {
        const OLD: Duration = Duration::from_millis(500);
        let (_, made) = &self.conversations;
        if made.is_none_or(|made| made.elapsed() >= OLD) {
            self.conversations = (
                conversations(&self.list, &self.journal, self.until()),
                Some(Instant::now()),
            );
        }
    }

    /// The row of the chosen conversation.
    pub(super) fn conversation_row(&self) -> usize {
        let (all, _) = &self.conversations;
        let chosen = self
            .conversation
            .and_then(|number| all.iter().position(|one| one.number == number));
        chosen.unwrap_or(0)
    }

    /// How far the current screen is scrolled.
    pub(super) fn scrolled(&mut self) -> &mut usize {
        let at = if self.over == Some(Over::Help) {
            4
        } else {
            self.screen as usize
        };
        &mut self.scroll[at]
    }
}
