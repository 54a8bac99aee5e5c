//! What the terminal sends: keys, what is typed, and the mouse.

use crossterm::event::{
    Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEventKind,
};
use tracer_core::journal::Query;
use tui_input::backend::crossterm::EventHandler as _;

use super::{Ask, Screen, State};
use crate::view::live::{draw, keys::action};

/// How many lines the wheel of a mouse moves.
const WHEEL: isize = 3;

impl State {
    /// Does what an event of the terminal asks for.
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
            KeyCode::Char('c' | 'z') if key.modifiers.contains(KeyModifiers::CONTROL) => {
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
            end += draw::tab(index, screen).len() as u16;
            if column < end {
                self.show(screen);
                return;
            }
        }
    }
}
