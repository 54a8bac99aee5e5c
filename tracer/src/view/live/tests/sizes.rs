//! Terminals of all sizes, and follows of all lengths.

use std::sync::Arc;

use ratatui::{Terminal, backend::TestBackend};
use tracer_core::journal::View as _;

use super::{THEME, replayed};
use crate::view::live::{
    draw, inbox::Inbox, keys::Action, known::HELD, state::State, tabs::Screen,
};

fn at_all_sizes(state: &mut State) {
    for width in (1..30).chain([79, 80, 81, 119, 150, 500]) {
        for height in (1..10).chain([24, 60, 200]) {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
            let drawn = terminal.draw(|frame| draw::draw(frame, state, THEME));
            drawn.expect("memory");
        }
    }
}

#[test]
fn no_size_is_too_small() {
    let mut state = replayed("iptables-filter-forward-far-drop-4");
    for screen in Screen::ALL {
        state.act(Action::Show(screen));
        at_all_sizes(&mut state);
    }
    state.act(Action::Fields);
    at_all_sizes(&mut state);
    state.act(Action::Filter);
    at_all_sizes(&mut state);
    state.act(Action::Help);
    at_all_sizes(&mut state);
}

/// There are many more journeys than the journal holds. The journal is bounded, and the counts
/// cover all.
#[test]
fn a_long_follow_takes_no_more_memory_than_a_short_one() {
    const MANY: u64 = 400_000;

    let mut state = replayed("clean");
    let scene = Arc::clone(state.scene());
    let example = Arc::clone(state.journal.get(0).expect("it is held"));
    let inbox = Inbox::new(false);
    let mut most = 0;
    for number in 0..MANY {
        let mut entry = (*example).clone();
        entry.number = number;
        entry.journey.id = number + 1;
        (&inbox)
            .entry(&scene, &Arc::new(entry), true)
            .expect("memory");
        if number % 50_000 == 0 {
            // Nothing took the new data for a while.
            state.take(inbox.take().expect("there is some"));
            most = most.max(state.journal.bytes());
        }
    }
    state.take(inbox.take().expect("there is more"));
    assert!(state.journal.bytes().max(most) <= HELD.bytes);
    assert!(state.journal.evicted() > 0, "more than is held");
    assert_eq!(state.journal.next(), MANY);
    assert_eq!(state.known.tally.journeys(), MANY);
    assert_eq!(state.list.len(), state.journal.len());
}
