//! The actions of all keys that the help names, on each screen.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};

use super::{SIZES, picture, replayed};
use crate::view::live::{
    keys::{Action, KEYS},
    known::Taken,
    state::{Ask, State},
    tabs::Screen,
};

pub(super) fn press(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Ask {
    state.event(&Event::Key(KeyEvent::new(code, modifiers)))
}

fn down(state: &mut State, lines: usize) {
    for _ in 0..lines {
        state.act(Action::Down);
    }
}

pub(super) fn type_text(state: &mut State, text: &str) {
    for c in text.chars() {
        press(state, KeyCode::Char(c), KeyModifiers::NONE);
    }
}

/// What a screen displays, and the state that it does not display.
fn looks(state: &mut State) -> (String, bool, usize) {
    (
        picture(state, SIZES[0]),
        state.mouse,
        state.scroll.iter().sum(),
    )
}

/// Each key of the help changes what is displayed, or asks the loop for something.
#[test]
fn every_key_of_the_help_does_something() {
    for bound in KEYS {
        for (code, modifiers) in bound.keys {
            let does = Screen::ALL
                .into_iter()
                .filter(|screen| bound.is_on(*screen))
                .any(|screen| {
                    // In the middle of the list, a key can move both ways.
                    let mut state = replayed("invalid-state-4");
                    state.act(Action::Show(Screen::Journeys));
                    down(&mut state, 6);
                    if matches!(
                        bound.action,
                        Action::NextProblem | Action::Answer | Action::Retransmission
                    ) {
                        state.act(Action::Top);
                    }
                    if bound.action == Action::Back {
                        state.act(Action::Problems);
                    }
                    if screen == Screen::Journey {
                        state.act(Action::Open);
                    } else {
                        state.act(Action::Show(screen));
                    }
                    if matches!(bound.action, Action::Answer | Action::Retransmission) {
                        let wanted = |state: &State| {
                            let journey = &state.open.as_ref().expect("one is open").journey;
                            if bound.action == Action::Answer {
                                journey.answers.or(journey.answered_by).is_some()
                            } else {
                                journey.retransmits.is_some()
                            }
                        };
                        for _ in 0..1000 {
                            if wanted(&state) {
                                break;
                            }
                            state.act(Action::Older);
                        }
                    }
                    if matches!(bound.action, Action::Up | Action::PageUp | Action::Top) {
                        down(&mut state, 3);
                    }
                    let before = looks(&mut state);
                    let asked = press(&mut state, *code, *modifiers);
                    asked != Ask::Nothing || looks(&mut state) != before
                });
            assert!(does, "{code:?} {modifiers:?}: {}", bound.does);
        }
    }
}

#[test]
fn what_is_typed_selects_at_once_and_what_is_wrong_is_said() {
    let mut state = replayed("invalid-state-4");
    let all = state.list.len();
    press(&mut state, KeyCode::Char('/'), KeyModifiers::NONE);
    type_text(&mut state, "verdict:dropped");
    let dropped = state.list.len();
    assert!(0 < dropped && dropped < all, "{dropped} of {all}");
    type_text(&mut state, " verdict:nonsense");
    let typing = state.typing.as_ref().expect("one types");
    assert!(
        typing
            .wrong
            .as_ref()
            .is_some_and(|wrong| wrong.contains("nonsense"))
    );
    assert_eq!(state.list.len(), dropped, "what matched before stays");
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(state.list.len(), all);
    // In a line of input, letters are text and not keys.
    press(&mut state, KeyCode::Char('/'), KeyModifiers::NONE);
    type_text(&mut state, "q");
    assert!(state.typing.is_some());
}

/// Another journey like the latest one comes.
fn take_one_more(state: &mut State) {
    let latest = state
        .journal
        .get(state.journal.next() - 1)
        .expect("it is held");
    let mut later = (**latest).clone();
    later.number += 1;
    state.take(Taken {
        known: state.known.clone(),
        from: None,
        entries: [later.into()].into(),
        chosen: None,
        answer: None,
    });
}

#[test]
fn a_pause_holds_what_is_shown_and_says_what_waits() {
    let mut state = replayed("clean");
    press(&mut state, KeyCode::Char(' '), KeyModifiers::NONE);
    assert!(picture(&mut state, SIZES[0]).contains("PAUSED, 0 more"));
    let held = state.list.len();
    take_one_more(&mut state);
    assert_eq!(state.list.len(), held);
    assert!(picture(&mut state, SIZES[0]).contains("PAUSED, 1 more"));
    press(&mut state, KeyCode::Char(' '), KeyModifiers::NONE);
    assert_eq!(state.list.len(), held + 1);
}

#[test]
fn what_is_read_stands_still_while_newer_ones_come() {
    let mut state = replayed("clean");
    state.act(Action::Show(Screen::Journeys));
    down(&mut state, 3);
    let chosen = state.list.chosen_number();
    let before = picture(&mut state, SIZES[0]);
    take_one_more(&mut state);
    assert_eq!(state.list.chosen_number(), chosen);
    let rows = |picture: &str| {
        let rows = picture.lines().skip(3).take(10);
        rows.map(str::to_owned).collect::<Vec<_>>()
    };
    let after = picture(&mut state, SIZES[0]);
    assert_eq!(rows(&after), rows(&before));
    assert!(after.contains("1 newer"), "{after}");
}
