//! The actions of keys.

use super::{Ask, Over, Screen, State};
use crate::view::live::{keys::Action, travel::Wish};

impl State {
    /// Performs an action.
    pub(in crate::view::live) fn act(&mut self, action: Action) -> Ask {
        // Any action closes what is over the screen, except that the help scrolls.
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
            Action::Save => self.ask_for_name(),
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
            Action::Faster => self.wish(Wish::Faster),
            Action::Slower => self.wish(Wish::Slower),
            Action::By(seconds) => self.wish(Wish::By(seconds * 1_000_000_000)),
            Action::Start => self.wish(Wish::Part(0.0)),
            Action::End => self.wish(Wish::End),
            Action::Time => self.ask_for_time(),
            Action::ProblemInTime { forward } => {
                let query = self.list.query.as_ref();
                let wish = Wish::problem(forward, query, &self.zone.0);
                self.wish(wish);
            }
        }
        Ask::Nothing
    }

    fn page(&self) -> isize {
        isize::try_from(self.lines.1.saturating_sub(1).max(1)).unwrap_or(1)
    }

    pub(super) fn show(&mut self, screen: Screen) {
        if screen == Screen::Journey && self.open.is_none() {
            self.open = self.chosen();
        }
        self.screen = screen;
    }

    fn turn(&mut self, by: usize) {
        let at = (self.screen as usize + by) % Screen::ALL.len();
        self.show(Screen::ALL[at]);
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

    /// Moves down by this number of lines.
    pub(super) fn step(&mut self, lines: isize) {
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
}
