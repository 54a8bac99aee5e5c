//! Replays that are moved in time. At any time, the view shows what a replay from the start shows
//! then, whatever moves led there.

use std::{path::Path, sync::mpsc};

use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;

use super::{
    SIZES,
    keys::{press, type_text},
    picture, pictures, replayed,
};
use crate::{
    export::SAVER,
    replay::travel,
    store::Recordings,
    view::{
        Look,
        live::{
            inbox::Inbox,
            keys::{Action, TIME_KEYS},
            state::{Source, State},
            tabs::Screen,
            travel::Wish,
        },
    },
};

/// Packets between two saved states: few, so that there are many states.
const SPACING: u64 = 10;

fn recordings(fixtures: &[&str]) -> Recordings {
    let path = |name: &&str| {
        let path = format!("../tests/fixtures/{name}.arrows");
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    };
    let paths: Vec<_> = fixtures.iter().map(path).collect();
    Recordings::open(&paths).expect("recordings")
}

/// The view of a replay after some wishes, and the receiver of its keys' wishes.
fn moved(fixtures: &[&str], wishes: &[Wish]) -> (State, mpsc::Receiver<Wish>) {
    let (wish, wished) = mpsc::channel();
    let inbox = Inbox::new(false);
    let source = Source {
        live: false,
        command: ["tracer", "replay", "a file"].map(str::to_owned).to_vec(),
        saver: SAVER,
        wishes: Some(wish),
    };
    let mut state = State::new(source, &Look::plain(), None);
    let take = || {
        if let Some(told) = inbox.take() {
            state.take(told);
        }
    };
    let wishes = wishes.iter().cloned();
    travel(recordings(fixtures), &inbox, SPACING, wishes, take).expect("memory");
    (state, wished)
}

/// Everything that a person can see on the screens.
fn seen(mut state: State) -> Vec<String> {
    // Only a replay that was read to the end knows its end.
    if let Some(clock) = &mut state.known.clock {
        clock.to = None;
    }
    // Only a replay that was moved has a chosen journey.
    state.list.chosen = None;
    state.list.top = None;
    state.answer = None;
    let mut seen = Vec::new();
    for screen in Screen::ALL {
        state.act(Action::Show(screen));
        seen.push(picture(&mut state, SIZES[0]));
        seen.push(picture(&mut state, SIZES[2]));
    }
    state.act(Action::Show(Screen::Journeys));
    state.act(Action::Conversations);
    seen.push(picture(&mut state, SIZES[1]));
    state.act(Action::Conversations);
    state.act(Action::Problems);
    seen.push(picture(&mut state, (150, 200)));
    seen
}

fn assert_same(fixtures: &[&str], wishes: &[Wish]) {
    let (there, _) = moved(fixtures, wishes);
    let clock = there.known.clock.expect("it stands somewhere");
    let (played, _) = moved(fixtures, &[Wish::To(clock.position)]);
    assert_eq!(
        there.known.tally.verdicts, played.known.tally.verdicts,
        "{fixtures:?} {wishes:?}"
    );
    assert_eq!(
        there.known.standing.is_some(),
        played.known.standing.is_some()
    );
    for (there, played) in seen(there).iter().zip(seen(played)) {
        assert_eq!(there, &played, "{fixtures:?} {wishes:?}");
    }
}

const FIXTURES: [&[&str]; 7] = [
    &["clean"],
    &["iptables-filter-forward-far-drop-4"],
    &["invalid-state-4"],
    &["fdb-dead-host-4"],
    &["pod-restarts"],
    &["middle-loses-some-4"],
    &["clean-first-node", "clean-second-node"],
];

/// Moves back from the end, and forward from the start over parts that were read before.
#[test]
fn a_jump_shows_what_a_replay_up_to_there_shows() {
    for fixtures in FIXTURES {
        for part in [0.0, 0.3, 0.5, 0.9] {
            let back = [Wish::End, Wish::Part(part)];
            assert_same(fixtures, &back);
        }
        let forth = [Wish::End, Wish::Part(0.1), Wish::Part(0.6), Wish::End];
        for until in 3..=forth.len() {
            assert_same(fixtures, &forth[..until]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Any moves in any order lead to the same picture.
    #[test]
    fn any_way_to_a_time_shows_the_same(
        fixture in 0..FIXTURES.len(),
        moves in prop::collection::vec((0..4_u8, 0.0..1.0_f64), 1..8),
    ) {
        let mut wishes = vec![Wish::End];
        wishes.extend(moves.into_iter().map(|(kind, part)| match kind {
            0 => Wish::Part(part),
            1 => Wish::By(((part - 0.5) * 4e9) as i64),
            2 => Wish::Problem { forward: part < 0.5, selection: None },
            _ => Wish::End,
        }));
        // A move to a problem also chooses the problem, which a replay from the start does not do.
        wishes.push(Wish::By(1));
        assert_same(FIXTURES[fixture], &wishes);
    }
}

#[test]
fn what_is_known_later_is_closed_and_not_shown() {
    let fixture = ["iptables-filter-forward-far-drop-4"];
    let (wish, _wished) = mpsc::channel();
    let inbox = Inbox::new(false);
    let source = Source {
        live: false,
        command: Vec::new(),
        saver: SAVER,
        wishes: Some(wish),
    };
    let mut state = State::new(source, &Look::plain(), None);
    let mut visit = 0;
    travel(
        recordings(&fixture),
        &inbox,
        SPACING,
        [
            Wish::End,
            Wish::Part(0.5),
            Wish::Problem {
                forward: true,
                selection: None,
            },
        ],
        || {
            if let Some(told) = inbox.take() {
                state.take(told);
            }
            match visit {
                0 => {
                    state.act(Action::Show(Screen::Journeys));
                    state.act(Action::Open);
                    assert!(state.open.is_some());
                }
                1 => {
                    assert!(state.open.is_none());
                    assert_eq!(state.screen, Screen::Journeys);
                    assert_eq!(state.list.len() as u64, state.known.tally.journeys());
                    assert!(state.count() < state.journal.next());
                    let picture = picture(&mut state, SIZES[0]);
                    let count = format!("all {} kept", state.count());
                    assert!(picture.contains(&count), "{picture}");
                }
                _ => {
                    let chosen = state.list.chosen.expect("the problem");
                    let entry = state.journal.get(chosen).expect("it is held");
                    assert!(entry.verdict.is_problem());
                }
            }
            visit += 1;
        },
    )
    .expect("memory");
    assert_eq!(visit, 3);
}

#[test]
fn a_replay_at_a_time() {
    let fixture = ["iptables-filter-forward-far-drop-4"];
    let (mut state, _wished) = moved(&fixture, &[Wish::End, Wish::Part(0.5)]);
    pictures("time-path", &mut state);
    state.act(Action::Show(Screen::Sums));
    pictures("time-sums", &mut state);
    state.act(Action::Help);
    pictures("time-help", &mut state);
    let next = Wish::Problem {
        forward: true,
        selection: None,
    };
    let (mut state, _wished) = moved(&fixture, &[Wish::End, Wish::Part(0.5), next]);
    pictures("time-problem", &mut state);
    let (mut state, _wished) = moved(&fixture, &[Wish::End]);
    press(&mut state, KeyCode::Char('t'), KeyModifiers::NONE);
    type_text(&mut state, "25:00");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    pictures("time-prompt", &mut state);
}

/// Each key of the help sends a wish.
#[test]
fn every_key_of_time_wishes_something() {
    let (mut state, wished) = moved(&["invalid-state-4"], &[Wish::End]);
    for bound in TIME_KEYS {
        for (code, modifiers) in bound.keys {
            press(&mut state, *code, *modifiers);
            if bound.action == Action::Time {
                type_text(&mut state, "50%");
                press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
            }
            let wish = wished.try_recv();
            let fits = match (bound.action, &wish) {
                (Action::By(seconds), Ok(Wish::By(span))) => *span == seconds * 1_000_000_000,
                (Action::Start, Ok(Wish::Part(part))) => *part == 0.0,
                (Action::Time, Ok(Wish::Part(part))) => (*part - 0.5).abs() < 1e-9,
                (Action::End, Ok(Wish::End))
                | (Action::Faster, Ok(Wish::Faster))
                | (Action::Slower, Ok(Wish::Slower)) => true,
                (
                    Action::ProblemInTime { forward: wanted },
                    Ok(Wish::Problem {
                        forward,
                        selection: None,
                    }),
                ) => *forward == wanted,
                _ => false,
            };
            assert!(fits, "{code:?}: {wish:?}");
        }
    }
    press(&mut state, KeyCode::Char(' '), KeyModifiers::NONE);
    assert!(matches!(wished.try_recv(), Ok(Wish::Pause)));
    // In a view that cannot be moved, these keys do nothing.
    let mut state = replayed("invalid-state-4");
    let before = picture(&mut state, SIZES[0]);
    for bound in TIME_KEYS {
        for (code, modifiers) in bound.keys {
            press(&mut state, *code, *modifiers);
        }
    }
    assert_eq!(picture(&mut state, SIZES[0]), before);
}

/// The filter also applies to the keys that move to a problem.
#[test]
fn the_next_problem_is_one_that_matches() {
    let (mut state, wished) = moved(&["invalid-state-4"], &[Wish::End]);
    press(&mut state, KeyCode::Char('/'), KeyModifiers::NONE);
    type_text(&mut state, "verdict:dropped");
    press(&mut state, KeyCode::Enter, KeyModifiers::NONE);
    press(&mut state, KeyCode::Char(']'), KeyModifiers::NONE);
    let Ok(Wish::Problem {
        selection: Some(selection),
        ..
    }) = wished.try_recv()
    else {
        panic!("a problem that matches");
    };
    assert_eq!(selection.query.to_string(), "verdict:dropped");
}

#[test]
fn a_paused_view_says_how_far_back_it_goes() {
    let mut state = replayed("clean");
    press(&mut state, KeyCode::Char(' '), KeyModifiers::NONE);
    pictures("paused", &mut state);
}
