//! Plays a replay, and moves it in time, as the user wishes.
//!
//! Long operations are done one record at a time, so that the next wish takes effect at once.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    time::{Duration, Instant},
};

use self::problems::{Search, Which};
use super::{
    player::{Player, Shown},
    watch::Found,
};
use crate::{
    playback::{Replayed, limits},
    view::{Clock, Course, Speed, Travels, Wish},
};

mod problems;

/// Shortest time between reports of the position to the view.
const FRAME: Duration = Duration::from_millis(50);

/// A replay with a user.
pub(super) struct Play<M> {
    player: Player<M>,
    goal: Option<Goal>,
    /// Time that is shown, Unix time, ns.
    position: i64,
    /// Whether the replay plays, and how fast.
    playing: bool,
    speed: Speed,
    /// Problems at the position after a search, and index of the chosen one.
    here: Option<(Found, usize)>,
    /// Result of the whole recording, once it was read to its end.
    replayed: Option<Replayed>,
}

/// The goal of the replay.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// A time, and a problem at it. `seeks`: the user asked for this time; otherwise, the
    /// replay plays up to it.
    Time {
        time: i64,
        problem: Option<Which>,
        seeks: bool,
    },
    /// The end.
    End { seeks: bool },
    /// A problem.
    Problem(Search),
}

impl<M: Clone> Play<M> {
    /// A replay on its way to the end, as fast as the recording can be read.
    pub(super) const fn new(player: Player<M>) -> Self {
        Self {
            position: player.from(),
            player,
            goal: Some(Goal::End { seeks: true }),
            playing: false,
            speed: Speed::NORMAL,
            here: None,
            replayed: None,
        }
    }

    /// A replay at the beginning.
    #[cfg(test)]
    const fn at_the_beginning(player: Player<M>) -> Self {
        let mut play = Self::new(player);
        play.goal = None;
        play
    }

    /// Fulfils wishes until the user has left. Returns the result of the whole recording, if it
    /// was read to its end.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn run<V: Travels<Mark = M>>(
        mut self,
        reader: &mut Shown<'_, '_, V>,
        wishes: &Receiver<Wish>,
    ) -> io::Result<Option<Replayed>> {
        let mut told = Instant::now();
        let mut ticked = Instant::now();
        self.tell(reader)?;
        loop {
            let wish = match (self.goal, self.playing) {
                (Some(_), _) => wishes.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                }),
                (None, true) => wishes.recv_timeout(FRAME),
                (None, false) => wishes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match wish {
                Ok(wish) => {
                    self.wish(wish, reader);
                    ticked = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(self.replayed),
            }
            if self.goal.is_none() && self.playing {
                self.play_on(ticked.elapsed());
                ticked = Instant::now();
            }
            match self.advance(reader) {
                // A user who has left needs nothing more.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(self.replayed);
                }
                done => done?,
            }
            if self.goal.is_none() || told.elapsed() >= FRAME {
                self.tell(reader)?;
                told = Instant::now();
            }
        }
    }

    /// Tells the view the position of the replay.
    fn tell<V: Travels<Mark = M>>(&self, reader: &mut Shown<'_, '_, V>) -> io::Result<()> {
        let seeks = match self.goal {
            Some(Goal::Time { seeks, .. } | Goal::End { seeks }) => seeks,
            Some(Goal::Problem(_)) => true,
            None => false,
        };
        let course = match self.playing {
            _ if seeks => Course::Seeking,
            _ if self.player.ended() => Course::Ended,
            true => Course::Playing,
            false => Course::Paused,
        };
        let clock = Clock {
            position: match self.goal {
                Some(_) => self.player.time(),
                None => self.position,
            },
            from: self.player.from(),
            to: self.player.to(),
            speed: self.speed,
            course,
        };
        self.player.tell_standing(reader)?;
        reader.view().view().clock(clock);
        Ok(())
    }

    /// Plays on, after some time has passed.
    fn play_on(&mut self, passed: Duration) {
        let goal = match self.speed.rate() {
            Some(rate) => {
                let span = (passed.as_secs_f64() * rate * 1e9) as i64;
                Goal::Time {
                    time: self.position.saturating_add(span),
                    problem: None,
                    seeks: false,
                }
            }
            None => Goal::End { seeks: false },
        };
        self.goal = Some(goal);
        self.here = None;
    }

    /// Fulfils a wish, or begins to.
    pub(super) fn wish<V: Travels<Mark = M>>(&mut self, wish: Wish, reader: &mut Shown<'_, '_, V>) {
        let (from, to) = (self.player.from(), self.player.to());
        match wish {
            Wish::Pause => self.pause(reader),
            Wish::Faster => self.set_speed(self.speed.faster()),
            Wish::Slower => self.set_speed(self.speed.slower()),
            Wish::By(span) => {
                let base = match self.goal {
                    // Pressing a key twice means going twice as far.
                    Some(Goal::Time {
                        time, seeks: true, ..
                    }) => time,
                    Some(_) => self.player.time(),
                    None => self.position,
                };
                self.go_to(base.saturating_add(span), reader);
            }
            Wish::To(time) => self.go_to(time, reader),
            Wish::Part(part) => {
                let span = to.unwrap_or(from).saturating_sub(from);
                let time = from.saturating_add((span as f64 * part) as i64);
                self.go_to(time, reader);
            }
            Wish::End => match to {
                Some(to) => self.go_to(to, reader),
                None => self.set_goal(Goal::End { seeks: true }, reader),
            },
            Wish::Problem { forward, selection } => self.seek_problem(forward, selection, reader),
        }
    }

    fn set_speed(&mut self, speed: Speed) {
        self.speed = speed;
        // The goal belongs to the earlier speed.
        if let Some(Goal::End { seeks: false }) = self.goal {
            self.stop();
        }
    }

    fn set_goal<V>(&mut self, goal: Goal, reader: &mut Shown<'_, '_, V>)
    where
        V: Travels<Mark = M>,
    {
        self.here = None;
        // The earlier search ends.
        reader.view().found();
        self.goal = Some(goal);
    }

    /// Stops at once, at the time of the last record.
    fn stop(&mut self) {
        self.goal = Some(Goal::Time {
            time: self.player.time(),
            problem: None,
            seeks: false,
        });
    }

    fn pause<V: Travels<Mark = M>>(&mut self, reader: &mut Shown<'_, '_, V>) {
        if self.player.ended() && self.goal.is_none() {
            self.playing = true;
            self.go_to(self.player.from(), reader);
            return;
        }
        let seeks = !matches!(
            self.goal,
            None | Some(Goal::Time { seeks: false, .. } | Goal::End { seeks: false })
        );
        self.playing = !self.playing && !seeks;
        if self.goal.is_some() {
            reader.view().found();
            self.stop();
        }
    }

    /// Goes to a time, within the recording.
    fn go_to<V: Travels<Mark = M>>(&mut self, time: i64, reader: &mut Shown<'_, '_, V>) {
        let time = time.clamp(
            self.player.from(),
            self.player.to().unwrap_or(i64::MAX).max(self.player.from()),
        );
        let goal = Goal::Time {
            time,
            problem: None,
            seeks: true,
        };
        self.set_goal(goal, reader);
        let is_behind = self.player.time() > time
            || self.player.ended() && self.player.to().is_some_and(|to| time < to);
        let state = self.player.state_before(time);
        let (at, ..) = self.player.known_at(state);
        if is_behind || at > self.player.time() {
            self.resume(state, reader);
        }
    }

    /// Continues from a state. If the files can no longer be read, stays.
    fn resume<V: Travels<Mark = M>>(&mut self, state: usize, reader: &mut Shown<'_, '_, V>) {
        if let Err(error) = self.player.resume(state, reader) {
            let line = format!("cannot go back: {error}");
            reader.view().view().answer(&line);
            self.playing = false;
            self.goal = None;
            self.position = self.player.time();
        }
    }

    /// Does the next step towards the goal.
    ///
    /// # Errors
    /// Errors of the view.
    pub(super) fn advance<V: Travels<Mark = M>>(
        &mut self,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        match self.goal {
            None => {}
            Some(Goal::Time { time, problem, .. }) => {
                if self.player.next_time().is_some_and(|next| next <= time) {
                    self.player.step(reader)?;
                } else {
                    self.arrive(time, problem, reader)?;
                }
            }
            Some(Goal::End { .. }) => self.read_on(reader)?,
            Some(Goal::Problem(search)) => self.search(search, reader)?,
        }
        Ok(())
    }

    fn arrive<V: Travels<Mark = M>>(
        &mut self,
        time: i64,
        problem: Option<Which>,
        reader: &mut Shown<'_, '_, V>,
    ) -> io::Result<()> {
        self.goal = None;
        self.position = time;
        if self.player.next_time().is_none() && time >= self.player.recordings().ended() {
            self.end(reader)?;
        }
        if let Some(which) = problem {
            self.choose(which, reader);
        }
        Ok(())
    }

    /// Takes the next record, or the end.
    fn read_on<V: Travels<Mark = M>>(&mut self, reader: &mut Shown<'_, '_, V>) -> io::Result<()> {
        if self.player.step(reader)? {
            return Ok(());
        }
        self.end(reader)
    }

    /// Handles the end of the recording.
    fn end<V: Travels<Mark = M>>(&mut self, reader: &mut Shown<'_, '_, V>) -> io::Result<()> {
        let broken = self.player.broken();
        self.player.end(reader)?;
        if self.replayed.is_none() {
            limits(self.player.recordings());
            if let Some(error) = &broken {
                reader.view().view().say(&error.to_string());
            }
            self.replayed = Some(Replayed {
                matched: self.player.core().matched(),
                broken,
            });
        }
        self.goal = None;
        self.playing = false;
        self.position = self.player.time();
        Ok(())
    }
}

/// Fulfils wishes in sequence, from the beginning, and calls `done` after each.
///
/// # Errors
/// Errors of the view.
#[cfg(test)]
pub(crate) fn travel<V: Travels>(
    recordings: crate::store::Recordings,
    view: V,
    spacing: u64,
    wishes: impl IntoIterator<Item = Wish>,
    mut done: impl FnMut(),
) -> io::Result<()> {
    let mut expectations = None;
    let mut watch = super::Watch::new(view, &mut expectations);
    let mut reader = tracer_core::journal::Reader::new(&mut watch, None);
    let player = Player::new(recordings, &mut reader).expect("files");
    let mut play = Play::at_the_beginning(player.spaced(spacing));
    for wish in wishes {
        play.wish(wish, &mut reader);
        while play.goal.is_some() {
            play.advance(&mut reader)?;
        }
        play.tell(&mut reader)?;
        done();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
