//! Events of the terminal: keys, text, and the mouse.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use tracer_core::journal::Query;
use tui_input::backend::crossterm::EventHandler as _;

use super::{Ask, Screen, State, Typing, What};
use crate::view::live::{keys::action, tabs::tab};

/// Number of lines that the mouse wheel moves.
const WHEEL: isize = 3;

impl State {
    /// Handles an event of the terminal.
    pub(in crate::view::live) fn event(&mut self, event: &Event) -> Ask {
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
        if self.typing.is_some()
            && let Some(ask) = self.type_in(key)
        {
            return ask;
        }
        match action(self.screen, self.is_movable(), key) {
            Some(action) => self.act(action),
            None => Ask::Nothing,
        }
    }

    /// Handles a key for the line of input. `None` if the key is not for that line.
    fn type_in(&mut self, key: &KeyEvent) -> Option<Ask> {
        let typing = self.typing.as_mut()?;
        match key.code {
            KeyCode::Char('c' | 'z') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                return None;
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown => return None,
            KeyCode::Esc => {
                if let Some(Typing {
                    what: What::Filter(before),
                    ..
                }) = self.typing.take()
                {
                    self.list.query = before;
                    self.select_anew();
                }
            }
            KeyCode::Enter if typing.what == What::Name => return Some(self.save()),
            KeyCode::Enter if typing.what == What::Time => self.go_to_time(),
            KeyCode::Enter => {
                self.typing = None;
                self.select_anew();
            }
            _ => {
                let changed = typing.input.handle_event(&Event::Key(*key));
                if changed.is_some_and(|changed| changed.value) {
                    typing.wrong = None;
                    if matches!(typing.what, What::Filter(_)) {
                        self.filter_by_text();
                    }
                }
            }
        }
        Some(Ask::Nothing)
    }

    /// Filters journeys by the text in the line of input.
    fn filter_by_text(&mut self) {
        let Some(typing) = &mut self.typing else {
            return;
        };
        let text = typing.input.value().trim();
        self.list.query = match text.parse::<Query>() {
            _ if text.is_empty() => None,
            Ok(query) => Some(query),
            // The earlier filter stays until the text is a valid query.
            Err(error) => {
                typing.wrong = Some(error.to_string());
                return;
            }
        };
        self.select_anew();
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
        // A second click opens the journey.
        if self.list.chosen == Some(number) {
            self.open_chosen();
        } else {
            self.list.chosen = Some(number);
        }
    }

    fn click_tab(&mut self, column: u16) {
        let mut end = 0;
        for (index, screen) in Screen::ALL.into_iter().enumerate() {
            end += tab(index, screen).len() as u16;
            if column < end {
                self.show(screen);
                return;
            }
        }
    }
}
