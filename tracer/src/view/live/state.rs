//! What the view shows, apart from how it is drawn and from what keys are called.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, MouseButton, MouseEventKind};
use tracer_core::{
    journal::{Bound, Entry, Journal, Query, Standing, Started},
    journey::Scene,
    verdict::Summary,
};
use tui_input::{Input, backend::crossterm::EventHandler as _};

use super::{
    keys::{Action, action},
    list::{Conversation, List, conversations},
    tally::{Tally, is_problem},
    way::Way,
};
use crate::view::{Look, moment::Zone};

/// How much of what was seen one can scroll back over.
pub(super) const HELD: Bound = Bound { bytes: 192 << 20 };

/// How many lines the wheel of a mouse moves.
const WHEEL: isize = 3;

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
#[derive(Debug, Default)]
pub(super) struct Typing {
    pub(super) input: Input,
    pub(super) wrong: Option<String>,
    /// What held before.
    before: Option<Query>,
}

/// What the loop around it has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Nothing,
    Quit,
    Suspend,
    Redraw,
    Mouse,
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
    pub(super) over: Option<Over>,
    /// How far each screen, and the help behind them, is scrolled.
    pub(super) scroll: [usize; 5],
    /// Whether the mouse is ours.
    pub(super) mouse: bool,
    /// When something was said last that is no data.
    noticed: Option<Instant>,
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
            over: None,
            scroll: [0; 5],
            mouse: true,
            noticed: None,
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

    /// The number of the first entry that is not shown.
    fn until(&self) -> u64 {
        self.paused.as_ref().map_or(u64::MAX, |paused| paused.until)
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
    pub(super) fn take(&mut self, known: Known, entries: impl Iterator<Item = Arc<Entry>>) {
        if known.notices != self.known.notices {
            self.noticed = Some(Instant::now());
        }
        self.known = known;
        entries.for_each(|entry| self.journal.share(entry));
        self.refresh();
    }

    /// What was said last that is no data, for as long as it takes to be read.
    pub(super) fn notice(&self) -> Option<&str> {
        const READ: Duration = Duration::from_secs(20);
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
                conversations(&self.list, &self.journal),
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

    /// Does what an event of the terminal asks for.
    pub(super) fn event(&mut self, event: &Event) -> Ask {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Event::Mouse(mouse) => {
                match mouse.kind {
                    MouseEventKind::ScrollDown => self.step(WHEEL),
                    MouseEventKind::ScrollUp => self.step(-WHEEL),
                    MouseEventKind::Down(MouseButton::Left) => self.click(mouse.column, mouse.row),
                    _ => {}
                }
                Ask::Nothing
            }
            Event::Resize(..) => Ask::Redraw,
            _ => Ask::Nothing,
        }
    }

    fn key(&mut self, key: &KeyEvent) -> Ask {
        if self.typing.is_some() && self.type_in(key) {
            return Ask::Nothing;
        }
        match action(self.screen, key) {
            Some(action) => self.act(action),
            None => Ask::Nothing,
        }
    }

    /// Whether a key was for the line of input.
    fn type_in(&mut self, key: &KeyEvent) -> bool {
        let Some(typing) = &mut self.typing else {
            return false;
        };
        match key.code {
            KeyCode::Esc => {
                self.list.query = typing.before.take();
                self.typing = None;
            }
            KeyCode::Enter => self.typing = None,
            KeyCode::Char('c' | 'z')
                if key
                    .modifiers
                    .contains(crossterm::event::KeyModifiers::CONTROL) =>
            {
                return false;
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => return false,
            _ => {
                let changed = typing.input.handle_event(&Event::Key(*key));
                if !changed.is_some_and(|changed| changed.value) {
                    return true;
                }
                let text = typing.input.value().trim();
                match text.parse::<Query>() {
                    _ if text.is_empty() => {
                        typing.wrong = None;
                        self.list.query = None;
                    }
                    Ok(query) => {
                        typing.wrong = None;
                        self.list.query = Some(query);
                    }
                    // What matched before stays until the text means something.
                    Err(error) => {
                        typing.wrong = Some(error.to_string());
                        return true;
                    }
                }
            }
        }
        self.select_anew();
        true
    }

    fn select_anew(&mut self) {
        self.list.begin_anew();
        self.list.chosen = None;
        self.conversations.1 = None;
        self.refresh();
    }

    /// Does what somebody wants.
    pub(super) fn act(&mut self, action: Action) -> Ask {
        // Whatever is done, what was over the screen is read; but the help scrolls.
        let help = self.over == Some(Over::Help);
        let scrolls = matches!(
            action,
            Action::Up
                | Action::Down
                | Action::PageUp
                | Action::PageDown
                | Action::Top
                | Action::Bottom
                | Action::Redraw
                | Action::Suspend
                | Action::Quit
        );
        if self.over.is_some() && !(help && scrolls) {
            self.over = None;
            if matches!(action, Action::Back | Action::Help | Action::CommandLine) {
                return Ask::Nothing;
            }
        }
        match action {
            Action::Quit => return Ask::Quit,
            Action::Suspend => return Ask::Suspend,
            Action::Redraw => return Ask::Redraw,
            Action::Mouse => {
                self.mouse = !self.mouse;
                return Ask::Mouse;
            }
            Action::Help => {
                self.over = Some(Over::Help);
                *self.scrolled() = 0;
            }
            Action::CommandLine => self.over = Some(Over::CommandLine(self.command_line())),
            Action::Back => self.back(),
            Action::Next => self.turn(1),
            Action::Previous => self.turn(Screen::ALL.len() - 1),
            Action::Show(screen) => self.show(screen),
            Action::Up => self.step(-1),
            Action::Down => self.step(1),
            Action::PageUp => self.step(-self.page()),
            Action::PageDown => self.step(self.page()),
            Action::Top => self.top(),
            Action::Bottom => self.step(isize::MAX),
            Action::Open => self.open_chosen(),
            Action::Filter => self.filter(),
            Action::Problems => {
                self.list.problems = !self.list.problems;
                self.select_anew();
                self.show(Screen::Journeys);
            }
            Action::Conversations => {
                self.grouped = !self.grouped;
                self.conversations.1 = None;
            }
            Action::NextProblem => self.problem(true),
            Action::PreviousProblem => self.problem(false),
            Action::Older => self.beside(1),
            Action::Newer => self.beside(-1),
            Action::Answer => self.answer(),
            Action::Retransmission => self.retransmission(),
            Action::Fields => {
                self.fields = !self.fields;
                *self.scrolled() = 0;
            }
            Action::Pause => self.pause(),
        }
        Ask::Nothing
    }

    fn page(&self) -> isize {
        isize::try_from(self.lines.1.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn show(&mut self, screen: Screen) {
        if screen == Screen::Journey && self.open.is_none() {
            self.open = self.chosen();
        }
        self.screen = screen;
    }

    fn turn(&mut self, by: usize) {
        let at = (self.screen as usize + by) % Screen::ALL.len();
        self.show(Screen::ALL[at]);
    }

    fn chosen(&self) -> Option<Arc<Entry>> {
        let number = self.list.chosen_number()?;
        self.journal.get(number).cloned()
    }

    fn back(&mut self) {
        if self.screen == Screen::Journey {
            self.screen = Screen::Journeys;
        } else if self.list.query.is_some() || self.list.problems {
            self.list.query = None;
            self.list.problems = false;
            self.select_anew();
        } else {
            self.grouped = false;
        }
    }

    fn top(&mut self) {
        if self.screen == Screen::Journeys && self.over.is_none() {
            self.list.chosen = None;
            self.conversation = None;
        } else {
            *self.scrolled() = 0;
        }
    }

    /// So many lines down.
    fn step(&mut self, lines: isize) {
        if self.screen != Screen::Journeys || self.over.is_some() {
            let scrolled = self.scrolled();
            *scrolled = scrolled.saturating_add_signed(lines);
        } else if self.grouped {
            let row = self.conversation_row();
            let (all, _) = &self.conversations;
            let last = all.len().saturating_sub(1);
            let row = row.saturating_add_signed(lines).min(last);
            self.conversation = all.get(row).map(|one| one.number);
        } else {
            self.list.step(lines);
        }
    }

    fn click(&mut self, column: u16, row: u16) {
        if row == 0 {
            self.click_tab(column);
            return;
        }
        let (first, lines) = self.lines;
        if self.over.is_some()
            || self.screen != Screen::Journeys
            || !(first..first + lines).contains(&row)
        {
            self.over = None;
            return;
        }
        let line = usize::from(row - first);
        if self.grouped {
            let first = self
                .conversation_row()
                .saturating_sub(usize::from(lines) - 1);
            let (all, _) = &self.conversations;
            self.conversation = all.get(first + line).map(|one| one.number);
            return;
        }
        let at = self.list.first_row(usize::from(lines)) + line;
        let Some(number) = self.list.at(at) else {
            return;
        };
        // A second click opens it.
        if self.list.chosen == Some(number) {
            self.open_chosen();
        } else {
            self.list.chosen = Some(number);
        }
    }

    fn click_tab(&mut self, column: u16) {
        let mut end = 0;
        for (index, screen) in Screen::ALL.into_iter().enumerate() {
            end += super::draw::tab(index, screen).len() as u16;
            if column < end {
                self.show(screen);
                return;
            }
        }
    }

    fn open_chosen(&mut self) {
        if self.screen == Screen::Journeys && self.grouped {
            let row = self.conversation_row();
            let Some(conversation) = self.conversations.0.get(row) else {
                return;
            };
            let query = format!("conversation:{:016x}", conversation.number);
            self.list.query = query.parse().ok();
            self.grouped = false;
            self.select_anew();
            return;
        }
        if let Some(entry) = self.chosen() {
            self.open(entry);
        }
    }

    pub(super) fn open(&mut self, entry: Arc<Entry>) {
        // What is read does not move.
        self.list.chosen = Some(entry.number);
        self.open = Some(entry);
        self.screen = Screen::Journey;
        self.fields = false;
        *self.scrolled() = 0;
    }

    fn filter(&mut self) {
        let before = self.list.query.clone();
        let text = before
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        self.typing = Some(Typing {
            input: Input::new(text),
            wrong: None,
            before,
        });
        self.show(Screen::Journeys);
        self.grouped = false;
    }

    /// Chooses the next problem among what matches.
    fn problem(&mut self, older: bool) {
        let from = self.list.chosen_row();
        let is_problem = |row: &usize| {
            let number = self.list.at(*row);
            let entry = number.and_then(|number| self.journal.get(number));
            entry.is_some_and(|entry| is_problem(&entry.verdict))
        };
        let first = from + usize::from(self.list.chosen.is_some());
        let found = if older {
            (first..self.list.len()).find(is_problem)
        } else {
            (0..from).rev().find(is_problem)
        };
        let Some(number) = found.and_then(|row| self.list.at(row)) else {
            return;
        };
        self.list.chosen = Some(number);
        self.grouped = false;
        if self.screen == Screen::Journey {
            self.open = self.chosen();
            *self.scrolled() = 0;
        } else {
            self.screen = Screen::Journeys;
        }
    }

    /// Opens the one so many rows further down.
    fn beside(&mut self, rows: isize) {
        self.list.step(rows);
        if let Some(entry) = self.chosen() {
            let fields = self.fields;
            self.open(entry);
            self.fields = fields;
        }
    }

    fn open_id(&mut self, id: Option<u64>) {
        if let Some(entry) = id.and_then(|id| self.journal.with_id(id)).cloned() {
            self.open(entry);
        }
    }

    fn answer(&mut self) {
        let Some(entry) = &self.open else { return };
        let id = entry.journey.id;
        // One that is answered later is judged before.
        let later = || self.later(entry.number, |other| other.journey.answers == Some(id));
        let found = entry
            .journey
            .answered_by
            .or(entry.journey.answers)
            .or_else(later);
        self.open_id(found);
    }

    fn retransmission(&mut self) {
        let Some(entry) = &self.open else { return };
        let id = entry.journey.id;
        let later = || self.later(entry.number, |other| other.journey.retransmits == Some(id));
        let found = entry.journey.retransmits.or_else(later);
        self.open_id(found);
    }

    /// The number of the first journey after an entry that is as wanted.
    fn later(&self, number: u64, wanted: impl Fn(&Entry) -> bool) -> Option<u64> {
        let mut after = self.journal.since(number + 1);
        let found = after.find(|other| wanted(other))?;
        Some(found.journey.id)
    }

    fn pause(&mut self) {
        if self.paused.take().is_none() {
            self.paused = Some(Paused {
                known: self.known.clone(),
                until: self.journal.next(),
            });
        }
        self.refresh();
    }

    /// What shows the same.
    fn command_line(&self) -> String {
        let query = match (&self.open, self.screen) {
            (Some(entry), Screen::Journey) => Some(format!("id:{}", entry.journey.id)),
            _ => {
                let problems = self
                    .list
                    .problems
                    .then(|| "-verdict:delivered,left".to_owned());
                let query = self.list.query.as_ref().map(ToString::to_string);
                let parts: Vec<String> = query.into_iter().chain(problems).collect();
                (!parts.is_empty()).then(|| parts.join(" "))
            }
        };
        let mut words = self.source.command.clone();
        if let Some(query) = query {
            words.extend(["--where".to_owned(), query]);
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
