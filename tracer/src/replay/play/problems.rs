//! Goes to the next problem, or to the one before.
//!
//! The replay runs forwards only, so a search backwards replays from the nearest earlier state to
//! the position, and then from the states before that. The replay then goes to the latest problem
//! by the problem's number, because the same replay finds it again.

use std::io;

use tracer_core::journal::Selection;

use super::{Goal, Play};
use crate::{replay::player::Shown, view::Travels};

/// The problem that a search looks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Search {
    /// The next problem. If there is none, the replay goes back to `home`.
    Next { home: i64 },
    /// The latest problem from a state on, before the entry `until`. If there is none from any
    /// state on, the replay goes back to `home`.
    Before { state: usize, until: u64, home: i64 },
    /// The problem with this entry number.
    Entry(u64),
}

/// One of the problems of the same time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    First,
    Number(u64),
}

impl<M: Clone> Play<M> {
    /// Goes to the next problem, or to the one before.
    pub(super) fn seek_problem<V: Travels<Mark = M>>(
        &mut self,
        forward: bool,
        selection: Option<Selection>,
        reader: &mut Shown<'_, '_, V>,
    ) {
        self.playing = false;
        let mut until = reader.progress().read;
        if let Some((found, chosen)) = &mut self.here {
            let next = if forward {
                Some(*chosen + 1).filter(|next| *next < found.numbers.len())
            } else {
                chosen.checked_sub(1)
            };
            if let Some(next) = next {
                *chosen = next;
                reader.view().view().choose(found.numbers[next]);
                return;
            }
            until = found.numbers[0];
        }
        let home = match self.goal {
            Some(_) => self.player.time(),
            None => self.position,
        };
        if forward {
            self.set_goal(Goal::Problem(Search::Next { home }), reader);
            reader.view().look_for(selection, u64::MAX);
        } else {
            let state = self.player.state_with_fewer(until);
            let search = Search::Before { state, until, home };
            self.set_goal(Goal::Problem(search), reader);
            reader.view().look_for(selection, until);
            self.resume(state, reader);
        }
    }

    /// Does the next step of a search.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn search<V: Travels<Mark = M>>(
        &mut self,
        search: Search,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        match search {
            Search::Next { home } => {
                if reader.view().has_found() {
                    self.settle(Which::First);
                } else if !self.player.step(reader)? {
                    self.end(reader)?;
                    if reader.view().has_found() {
                        self.settle(Which::First);
                    } else {
                        let line = "there is no problem after this time";
                        reader.view().view().answer(line);
                        self.go_to(home, reader);
                    }
                }
            }
            Search::Before { state, until, home } => {
                if reader.progress().read < until && self.take(reader)? {
                    return Ok(());
                }
                self.look_further_back(state, home, reader);
            }
            Search::Entry(number) => {
                if reader.progress().read > number || !self.take(reader)? {
                    self.settle(Which::Number(number));
                }
            }
        }
        Ok(())
    }

    /// Takes the next record, or the end. Returns false after the end.
    fn take<V: Travels<Mark = M>>(&mut self, reader: &mut Shown<'_, '_, V>) -> io::Result<bool> {
        if self.player.step(reader)? {
            return Ok(true);
        }
        let is_new = !self.player.ended();
        self.player.end(reader)?;
        Ok(is_new)
    }

    /// Goes to the latest problem that was found since a state, or searches before that state.
    fn look_further_back<V: Travels<Mark = M>>(
        &mut self,
        state: usize,
        home: i64,
        reader: &mut Shown<'_, '_, V>,
    ) {
        let found = reader.view().found_so_far();
        if let Some(number) = found.numbers.last() {
            let selection = reader.view().look_for_all();
            self.set_goal(Goal::Problem(Search::Entry(*number)), reader);
            reader.view().look_for(selection, u64::MAX);
            self.resume(state, reader);
            return;
        }
        let (_, until, problems) = self.player.known_at(state);
        let has_fewer = |state: &usize| self.player.known_at(*state).2 < problems;
        match (0..state).rev().find(has_fewer) {
            Some(state) => {
                self.goal = Some(Goal::Problem(Search::Before { state, until, home }));
                self.resume(state, reader);
            }
            None => {
                let line = "there is no problem before this time";
                reader.view().view().answer(line);
                self.go_to(home, reader);
            }
        }
    }

    /// Takes the remaining records of the present time.
    fn settle(&mut self, which: Which) {
        self.goal = Some(Goal::Time {
            time: self.player.time(),
            problem: Some(which),
            seeks: true,
        });
    }

    /// Chooses one of the problems that the search has found at the present time.
    pub(super) fn choose<V: Travels<Mark = M>>(
        &mut self,
        which: Which,
        reader: &mut Shown<'_, '_, V>,
    ) {
        let found = reader.view().found();
        let chosen = match which {
            Which::First => 0,
            Which::Number(number) => {
                let at = found.numbers.iter().position(|other| *other == number);
                at.unwrap_or(0)
            }
        };
        if let Some(number) = found.numbers.get(chosen) {
            reader.view().view().choose(*number);
            self.here = Some((found, chosen));
        }
    }
}
