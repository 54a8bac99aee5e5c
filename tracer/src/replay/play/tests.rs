use std::{path::Path, slice};

use tracer_core::{
    journal::{Entry, Selected, Standing, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::*;
use crate::{replay::Watch, store::Recordings};

/// A view that notes the positions of a replay, and the chosen problems.
#[derive(Default)]
struct Notes {
    clocks: Vec<Clock>,
    problems: Vec<u64>,
    chosen: Vec<u64>,
    said: Vec<String>,
    ends: usize,
}

impl View for &mut Notes {
    fn journey(&mut self, _: &Scene, _: &Journey, _: &Verdict, _: &Parts) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, _: &Scene, entry: &std::sync::Arc<Entry>, _: bool) -> io::Result<()> {
        let is_new = self.problems.last().is_none_or(|last| *last < entry.number);
        if entry.verdict.is_problem() && is_new {
            self.problems.push(entry.number);
        }
        Ok(())
    }

    fn standing(&mut self, _: &Scene, _: &Standing) -> io::Result<()> {
        Ok(())
    }

    fn summary(&mut self, _: &Scene, _: &Summary, _: Option<&Selected>) -> io::Result<()> {
        Ok(())
    }
}

impl Travels for &mut Notes {
    type Mark = ();

    fn mark(&mut self) {}

    fn weight((): &()) -> usize {
        0
    }

    fn go_back(&mut self, (): &()) {}

    fn clock(&mut self, clock: Clock) {
        self.clocks.push(clock);
    }

    fn ended(&mut self, _: &Scene, _: &Summary) -> io::Result<()> {
        self.ends += 1;
        Ok(())
    }

    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn answer(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }

    fn choose(&mut self, number: u64) {
        self.chosen.push(number);
    }
}

fn recordings(fixture: &str) -> Recordings {
    let path = format!("../tests/fixtures/{fixture}.arrows");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    Recordings::open(slice::from_ref(&path)).expect("a recording")
}

fn notes(fixture: &str, wishes: Vec<Wish>) -> Notes {
    let mut notes = Notes::default();
    travel(recordings(fixture), &mut notes, 50, wishes, || ()).expect("memory");
    notes
}

fn problem(forward: bool) -> Wish {
    let selection = None;
    Wish::Problem { forward, selection }
}

#[test]
fn a_replay_plays_as_fast_as_somebody_wants_and_stops_at_the_end() {
    const S: i64 = 1_000_000_000;

    let mut notes = Notes::default();
    let mut expectations = None;
    let mut watch = Watch::new(&mut notes, &mut expectations);
    let mut reader = tracer_core::journal::Reader::new(&mut watch, None);
    let player = Player::new(recordings("clean"), &mut reader).expect("a file");
    let mut play = Play::at_the_beginning(player);
    let from = play.player.from();
    let mut passed = |play: &mut Play<()>, wishes: &[Wish]| {
        for wish in wishes {
            play.wish(wish.clone(), &mut reader);
        }
        let before = play.position;
        play.play_on(Duration::from_millis(100));
        while play.goal.is_some() {
            play.advance(&mut reader).expect("memory");
        }
        play.position - before
    };
    assert_eq!(passed(&mut play, &[Wish::Pause]), S / 10);
    assert_eq!(passed(&mut play, &[Wish::Faster]), S / 5);
    assert_eq!(passed(&mut play, &[Wish::Slower, Wish::Slower]), S / 20);
    assert_eq!(play.position, from + S / 10 + S / 5 + S / 20);
    let faster = vec![Wish::Faster; 8];
    passed(&mut play, &faster);
    assert!(play.player.ended() && !play.playing);
    assert_eq!(Some(play.position), play.player.to());
    // At the end, a pause means playing from the beginning.
    play.wish(Wish::Pause, &mut reader);
    while play.goal.is_some() {
        play.advance(&mut reader).expect("memory");
    }
    assert!(play.playing && play.position == from && !play.player.ended());
    assert_eq!(notes.ends, 1);
}

#[test]
fn times_are_clamped_to_the_recording() {
    let minute = 60_000_000_000;
    let wishes = vec![
        Wish::End,
        Wish::By(-1000 * minute),
        Wish::By(1000 * minute),
        Wish::Part(0.5),
    ];
    let clocks = notes("clean", wishes).clocks;
    let to = clocks[0].to.expect("it was read");
    let from = clocks[0].from;
    let positions: Vec<i64> = clocks.iter().map(|clock| clock.position).collect();
    assert_eq!(positions, [to, from, to, from + (to - from) / 2]);
    let courses: Vec<Course> = clocks.iter().map(|clock| clock.course).collect();
    let (ended, paused) = (Course::Ended, Course::Paused);
    assert_eq!(courses, [ended, paused, ended, paused]);
}

/// Searches forwards from the beginning and backwards from the end find the same problems.
#[test]
fn every_problem_is_found_both_ways() {
    for fixture in ["iptables-filter-forward-far-drop-4", "fdb-dead-host-4"] {
        let all = notes(fixture, vec![Wish::End]).problems;
        assert!(all.len() > 1, "{fixture}");
        let forth = notes(fixture, vec![problem(true); all.len() + 1]);
        assert_eq!(forth.chosen, all, "{fixture}");
        assert_eq!(forth.said, ["there is no problem after this time"]);
        assert_stays(&forth, fixture);
        let mut wishes = vec![Wish::End];
        wishes.extend(vec![problem(false); all.len() + 1]);
        let back = notes(fixture, wishes);
        let backwards: Vec<u64> = all.iter().rev().copied().collect();
        assert_eq!(back.chosen, backwards, "{fixture}");
        assert_eq!(back.said, ["there is no problem before this time"]);
        assert_stays(&back, fixture);
        // Back and forth again.
        let wishes = vec![problem(true), problem(true), problem(false), problem(true)];
        let there = notes(fixture, wishes).chosen;
        assert_eq!(there, [all[0], all[1], all[0], all[1]], "{fixture}");
    }
}

/// Checks that the last wish has changed nothing.
fn assert_stays(notes: &Notes, fixture: &str) {
    let [.., before, after] = &*notes.clocks else {
        panic!("two wishes at least");
    };
    assert_eq!(after.position, before.position, "{fixture}");
}

#[test]
fn a_recording_without_problems_says_so_and_stays() {
    let wishes = vec![Wish::Part(0.0), Wish::By(1_000_000), problem(false)];
    let notes = notes("clean", wishes);
    assert_eq!(notes.said, ["there is no problem before this time"]);
    assert_eq!(notes.clocks[1].position, notes.clocks[2].position);
}

/// A jump replays little, and leaves enough journeys to look back at.
#[test]
fn a_jump_continues_from_a_state_that_is_near() {
    let mut notes = Notes::default();
    let mut expectations = None;
    let mut watch = Watch::new(&mut notes, &mut expectations);
    let mut reader = tracer_core::journal::Reader::new(&mut watch, None);
    let player = Player::new(recordings("pod-restarts"), &mut reader).expect("a file");
    let mut play = Play::at_the_beginning(player.spaced(40));
    play.wish(Wish::End, &mut reader);
    while play.goal.is_some() {
        play.advance(&mut reader).expect("memory");
    }
    let player = &play.player;
    let (states, look_back) = (player.states(), 10);
    assert!(states > 2, "{states}");
    let read = |state| player.known_at(state).1;
    let to = player.to().expect("it was read");
    let all = reader.progress().read;
    let mut chosen = Vec::new();
    for part in 0..=100 {
        let time = player.from() + (to - player.from()) / 100 * part;
        let state = player.state_before(time);
        let is_before = |state: &usize| player.known_at(*state).0 <= time;
        let latest = (0..states).rfind(is_before).expect("the beginning");
        assert!(state <= latest);
        let next = if latest + 1 < states {
            read(latest + 1)
        } else {
            all
        };
        assert!(state == 0 || next - read(state) >= look_back, "{part} %");
        if state < latest {
            assert!(read(latest) - read(state + 1) < look_back, "{part} %");
        }
        chosen.push(state);
    }
    assert!(chosen.is_sorted() && chosen[100] > 0, "{chosen:?}");
}

/// A replay does not go back in a file that was replaced, which would be another recording.
#[test]
fn a_file_that_was_replaced_is_not_read_again() {
    let path = std::env::temp_dir().join(format!("tracer-{:x}.arrows", crate::random()));
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/clean.arrows");
    std::fs::copy(&fixture, &path).expect("room");
    let recordings = Recordings::open(slice::from_ref(&path)).expect("a recording");
    let mut notes = Notes::default();
    let wishes = [Wish::End, Wish::Part(0.0)];
    let other = path.with_extension("other");
    let mut replaced = false;
    travel(recordings, &mut notes, 50, wishes, || {
        if !std::mem::replace(&mut replaced, true) {
            std::fs::copy(&fixture, &other).expect("room");
            std::fs::rename(&other, &path).expect("the same directory");
        }
    })
    .expect("memory");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(notes.clocks[1].course, Course::Ended);
    assert_eq!(notes.clocks[1].position, notes.clocks[0].position);
    let said = &notes.said[0];
    assert!(
        said.starts_with("cannot go back: ") && said.contains("another file has its name"),
        "{said}"
    );
}
