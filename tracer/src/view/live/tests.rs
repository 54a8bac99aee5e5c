//! Every screen in three sizes, with recordings of real packets.

mod keys;
mod panic;
mod save;
mod sizes;
mod travel;

use std::{path::Path, slice};

use expect_test::expect_file;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
use tracer_core::{
    journal::{Reader, Standing},
    verdict::Summary,
};

use super::{
    draw::{self, Theme},
    inbox::Inbox,
    keys::Action,
    state::{Source, State},
    tabs::Screen,
};
use crate::{export::SAVER, playback::replay, store::Recordings, view::Look};

const THEME: Theme = Theme { colour: false };

/// The sizes of the pictures.
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// The view of a recording, at the recording's end.
fn replayed(fixture: &str) -> State {
    let path = format!("../tests/fixtures/{fixture}.arrows");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut recordings = Recordings::open(slice::from_ref(&path)).expect("a recording");
    let inbox = Inbox::new(false);
    let replayed = replay(&mut recordings, &mut Reader::new(&mut &inbox, None)).expect("no I/O");
    assert!(replayed.broken.is_none(), "{fixture}");
    let source = Source {
        live: false,
        command: ["tracer", "replay", "a file"].map(str::to_owned).to_vec(),
        saver: SAVER,
        wishes: None,
    };
    let mut state = State::new(source, &Look::plain(), None);
    state.take(inbox.take().expect("something was told"));
    state
}

/// The picture on a terminal of a size, without spaces at the ends of lines.
fn picture(state: &mut State, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
    let drawn = terminal.draw(|frame| draw::draw(frame, state, THEME));
    drawn.expect("memory");
    text(terminal.backend().buffer())
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.rows() {
        let mut line = String::new();
        let mut covered = 0;
        for x in y.columns() {
            let symbol = buffer[(x.x, x.y)].symbol();
            if covered == 0 {
                line.push_str(symbol);
                covered = crate::terminal::columns(symbol).max(1);
            }
            covered -= 1;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn pictures(name: &str, state: &mut State) {
    for (width, height) in SIZES {
        let picture = picture(state, (width, height));
        let file = format!("testdata/{name}-{width}x{height}.txt");
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/view/live")
            .join(file);
        expect_file![path].assert_eq(&picture);
    }
}

#[test]
fn the_path_of_a_clean_follow_and_of_one_with_drops() {
    pictures("path-clean", &mut replayed("clean"));
    pictures(
        "path-dropped",
        &mut replayed("iptables-filter-forward-far-drop-4"),
    );
    pictures("path-lost", &mut replayed("fdb-dead-host-4"));
}

#[test]
fn journeys_their_conversations_and_what_is_selected() {
    let mut state = replayed("invalid-state-4");
    state.act(Action::Show(Screen::Journeys));
    pictures("journeys", &mut state);
    state.act(Action::Conversations);
    pictures("conversations", &mut state);
    state.act(Action::Conversations);
    state.act(Action::Problems);
    pictures("problems", &mut state);
}

#[test]
fn one_journey_and_its_fields() {
    let mut state = replayed("iptables-filter-forward-far-drop-4");
    state.act(Action::NextProblem);
    state.act(Action::Open);
    pictures("journey-dropped", &mut state);
    let mut state = replayed("clean");
    state.act(Action::Show(Screen::Journeys));
    state.act(Action::Open);
    pictures("journey", &mut state);
    state.act(Action::Fields);
    pictures("fields", &mut state);
}

#[test]
fn sums_help_and_command_line() {
    let mut state = replayed("invalid-state-4");
    state.act(Action::Show(Screen::Sums));
    pictures("sums", &mut state);
    state.act(Action::Help);
    pictures("help", &mut state);
    state.act(Action::Back);
    state.act(Action::Problems);
    state.act(Action::CommandLine);
    pictures("command-line", &mut state);
}

/// Counters come once a second, hops as they happen. A difference between the two is meaningful
/// only at the end.
#[test]
fn sums_that_differ_before_the_end_are_no_alarm() {
    let mut state = replayed("clean");
    state.act(Action::Show(Screen::Sums));
    let ended = state.known.summary.take().expect("the end");
    let mut summary = Summary::clone(&ended);
    summary.accounting.hops += 1;
    summary.accounting.joined += 1;
    state.known.standing = Some(Standing {
        accounting: summary.accounting.clone(),
        ..Standing::default()
    });
    let picture_before = picture(&mut state, (200, 60));
    assert!(
        picture_before.contains("the sums agree at the end"),
        "{picture_before}"
    );
    assert!(
        !picture_before.contains("does not balance"),
        "{picture_before}"
    );
    state.known.summary = Some(summary.into());
    let picture_after = picture(&mut state, (200, 60));
    assert!(
        picture_after.contains("does not balance"),
        "{picture_after}"
    );
}
