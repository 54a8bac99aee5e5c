//! What the view shows, apart from how it is drawn and from what keys are called.

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
    journal::{Bound, Entry, Journal, Query, Standing, Started},
    journey::Scene,
    verdict::Summary,
};
use tui_input::Input;

use super::{
    Kept, Saver,
    inbox::{Beginning, Taken},
    list::{Conversation, List, conversations},
    tally::Tally,
    travel::{Clock, Wishes},
    way::Way,
};
use crate::view::{Look, moment::Zone};

/// How much of what was seen one can scroll back over.
pub(super) const HELD: Bound = Bound { bytes: 192 << 20 };

/// A screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Path,
    Journeys,
    Journey,
    Sums,
}

impl Screen {
    pub(super) const ALL: [Self; 4] = [Self::Path, Self::Journeys, Self::Journey, Self::Sums];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Path => "Path",
            Self::Journeys => "Journeys",
            Self::Journey => "Journey",
            Self::Sums => "Sums",
        }
    }
}

/// Where packets come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Whether they are live.
    pub(super) live: bool,
    /// The words of the command line, without those about the output.
    pub(super) command: Vec<String>,
    /// Who saves.
    pub(super) saver: Saver,
    /// Who moves to another time, if that can be.
    pub(super) wishes: Option<Wishes>,
}

/// What has been told of the follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) started: Option<Started>,
    pub(super) scene: Arc<Scene>,
    pub(super) tally: Arc<Tally>,
    pub(super) standing: Option<Standing>,
    /// What was said besides, the latest last.
    pub(super) notices: Vec<String>,
    /// Once it has ended.
    pub(super) summary: Option<Arc<Summary>>,
    /// Where a replay stands that can be moved.
    pub(super) clock: Option<Clock>,
    /// The time by which rates are meant, Unix time, ns.
    pub(super) now: i64,
}

/// What stood on the screen when somebody paused.
#[derive(Debug)]
pub(super) struct Paused {
    pub(super) known: Known,
    /// The number of the first entry that came later.
    pub(super) until: u64,
}

/// What is over the screen.
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

/// What is typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A filter; what held before.
    Filter(Option<Query>),
    /// The name of a file to save into.
    Name,
    /// A time to move to.
    Time,
}

/// What the loop around it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    Quit,
    Suspend,
    Redraw,
    Mouse,
    Save,
}

/// The view.
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
    /// The conversations, while they are shown, and when they were made.
    pub(super) conversations: (Vec<Conversation>, Option<Instant>),
    /// The chosen one, by its number.
    pub(super) conversation: Option<u64>,
    pub(super) open: Option<Arc<Entry>>,
    pub(super) fields: bool,
    pub(super) typing: Option<Typing>,
    /// What is to be saved, and into which file, until somebody does it.
    pub(super) to_save: Option<(PathBuf, Kept)>,
    pub(super) over: Option<Over>,
    /// How far each screen, and the help behind them, is scrolled.
    pub(super) scroll: [usize; 5],
    /// Whether the mouse is ours.
    pub(super) mouse: bool,
    /// When something was said last that is no data.
    noticed: Option<Instant>,
    /// Why the latest wish has led nowhere.
    pub(super) answer: Option<String>,
    /// Lines of the list as they were drawn last: the first screen row, and how many.
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

    /// What is shown: what is known, or what was when somebody paused.
    pub(super) fn shown(&self) -> &Known {
        self.paused
            .as_ref()
            .map_or(&self.known, |paused| &paused.known)
    }

    /// The scene with which all entries can be read.
    pub(super) fn scene(&self) -> &Arc<Scene> {
        &self.known.scene
    }

    /// The number of the first entry that is not shown: it came after somebody paused, or
    /// is known from a later time than the replay is at.
    pub(super) fn until(&self) -> u64 {
        match (&self.paused, &self.known.clock) {
            (Some(paused), _) => paused.until,
            (None, Some(_)) => self.known.tally.journeys(),
            (None, None) => u64::MAX,
        }
    }

    /// How many entries are held of those that are shown.
    pub(super) fn held(&self) -> u64 {
        self.count().saturating_sub(self.journal.evicted())
    }

    /// How many entries there were of those that are shown.
    pub(super) fn count(&self) -> u64 {
        self.until().min(self.journal.next())
    }

    /// The entry of the journey with this number, if it is held and shown.
    pub(super) fn with_id(&self, id: u64) -> Option<&Arc<Entry>> {
        let entry = self.journal.with_id(id)?;
        (entry.number < self.until()).then_some(entry)
    }

    /// How many have come since somebody paused.
    pub(super) fn waiting(&self) -> u64 {
        self.paused
            .as_ref()
            .map_or(0, |paused| self.journal.next().saturating_sub(paused.until))
    }

    pub(super) fn way(&self) -> Way {
        Way::of(self.scene(), &self.shown().tally)
    }

    /// Takes what is new.
    pub(super) fn take(&mut self, new: Taken) {
        let Taken {
            known,
            from,
            entries,
            chosen,
            answer,
        } = new;
        // Who goes back in time hears nothing new.
        let is_longer = known.notices.len() >= self.known.notices.len();
        if is_longer && known.notices != self.known.notices {
            self.noticed = Some(Instant::now());
        }
        self.known = known;
        if let Some(from) = from {
            self.begin_from(from);
        }
        for entry in entries {
            // What is replayed again is there already.
            if entry.number >= self.journal.next() {
                self.journal.share(entry);
            }
        }
        self.forget_later();
        self.refresh();
        if let Some(number) = chosen {
            self.choose(number);
        }
        self.answer = answer.or(self.answer.take());
    }

    /// Goes on with entries from a number on, which may not be the one that comes next.
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

    /// Closes what is not known yet at the time that is shown.
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

    /// Why the latest wish has led nowhere, until the next one. Otherwise what was said last
    /// that is no data, for as long as it takes to be read.
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

    /// Looks for what matches.
    fn refresh(&mut self) {
        let until = self.until();
        let scene = Arc::clone(&self.known.scene);
        self.list.update(&self.journal, &scene, &self.zone.0, until);
    }

    /// Makes the conversations anew, if they are old.
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

    /// The row of the conversation that is chosen.
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
