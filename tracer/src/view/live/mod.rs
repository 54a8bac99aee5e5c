//! The live view: the whole terminal, while packets pass.
//!
//! Nobody reads eight lines per packet at a thousand packets a second. So this view shows
//! the way that packets take and what happens on it, and single packets on demand. Three
//! things must not wait for each other: packets that come in, keys, and a terminal that is
//! slow to read. The session's thread therefore only counts a journey and puts it into an
//! inbox; a thread of its own has the terminal, and takes what is new ten times a second
//! (`docs/decisions/live-view.md` has why).
//!
//! ```text
//! session ──count, put──► Inbox ──take──► State ◄── keys
//!                                           └──► draw ──► terminal
//! ```
//!
//! Like every view it shows only what `verdict` decided.

mod draw;
mod inbox;
mod keys;
mod list;
mod run;
mod screen;
mod spans;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod travel;
mod way;

use std::{
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;
use tracer_core::{
    journal::{Changed, Entry, Query, Selected, Standing, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use self::{
    draw::Theme,
    inbox::Inbox,
    state::{Source, State},
    travel::Wishes,
};
pub(crate) use self::{
    screen::give_back,
    travel::{Clock, Course, Mark, Speed, Travels, Wish},
};
use super::{Look, Text};
use crate::terminal;

/// What the live view shows.
#[derive(Debug)]
pub struct Shown {
    /// Whether packets come in, and not out of a file.
    pub live: bool,
    /// The words of a command line that shows the same, but for `--where`.
    pub command: Vec<String>,
    /// What journeys have to be like at first.
    pub query: Option<Query>,
    /// Who saves what is shown.
    pub saver: Saver,
}

/// What somebody wants to keep of what is shown.
#[derive(Debug)]
pub struct Kept {
    pub(crate) started: Started,
    pub(crate) scene: Arc<Scene>,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) summary: Arc<Summary>,
    pub(crate) selected: Option<Selected>,
}

impl Kept {
    /// Shows it to another view.
    ///
    /// # Errors
    /// Those of the view.
    pub(crate) fn show(&self, view: &mut impl View) -> io::Result<()> {
        let scene = &self.scene;
        view.started(scene, &self.started)?;
        for entry in &self.entries {
            view.journey(scene, &entry.journey, &entry.verdict, &entry.parts)?;
        }
        view.summary(scene, &self.summary, self.selected.as_ref())
    }
}

/// Saves what somebody wants to keep: formats are made of views, not in one.
#[derive(Clone, Copy, Debug)]
pub struct Saver {
    /// What is wrong with a file's name, in a sentence, if anything is.
    pub check: fn(&Path) -> Result<(), String>,
    /// Writes the file. The error is a sentence.
    pub write: fn(&Path, &Kept) -> Result<(), String>,
}

/// The live view. Once it ends, by whatever way, the terminal is as it was before.
#[derive(Debug)]
pub struct Live<W> {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// What comes when the screen is the shell's again.
    after: Text<W>,
}

impl<W: Write> Live<W> {
    /// Takes the terminal. What comes in the end goes to `out`. The future resolves when
    /// somebody wants to end.
    ///
    /// # Errors
    /// If the terminal cannot be taken.
    pub fn start(
        shown: Shown,
        out: W,
        look: Look,
    ) -> io::Result<(Self, impl Future<Output = ()> + use<W>)> {
        let (live, asked) = Self::open(shown, out, look, None)?;
        Ok((live, async {
            // Whoever has the terminal says nothing more once it is gone: that ends, too.
            let _: Result<(), _> = asked.await;
        }))
    }

    /// The same of a replay that somebody may move in time: what is wanted of it comes until
    /// somebody wants to end.
    ///
    /// # Errors
    /// See [`Live::start`].
    pub(crate) fn movable(shown: Shown, out: W, look: Look) -> io::Result<(Self, Receiver<Wish>)> {
        let (wish, wishes) = mpsc::channel();
        let (live, _) = Self::open(shown, out, look, Some(wish))?;
        Ok((live, wishes))
    }

    fn open(
        shown: Shown,
        out: W,
        look: Look,
        wishes: Option<Wishes>,
    ) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (ask, asked) = oneshot::channel();
        let inbox = Arc::new(Inbox::new(shown.live));
        let theme = Theme {
            colour: look.is_in_colours(),
        };
        let source = Source {
            live: shown.live,
            command: shown.command,
            saver: shown.saver,
            wishes,
        };
        let state = State::new(source, &look, shown.query);
        let screen = screen::Taken::take()?;
        let held = Arc::clone(&inbox);
        terminal::hold(move |line| held.notice(line));
        let told = Arc::clone(&inbox);
        let thread = thread::Builder::new()
            .name("terminal".to_owned())
            .spawn(move || run::run(screen, &told, state, theme, ask))?;
        let live = Self {
            inbox,
            thread: Some(thread),
            after: Text::new(out, look),
        };
        Ok((live, asked))
    }

    /// Waits until somebody has seen enough, and gives the terminal back.
    fn wait(&mut self) -> io::Result<()> {
        let ended = self.thread.take().map(JoinHandle::join);
        terminal::release();
        match ended {
            Some(Ok(ended)) => ended,
            // The panic has been told.
            Some(Err(_)) => Err(io::Error::other("the terminal's thread panicked")),
            None => Ok(()),
        }
    }
}

impl<W> Drop for Live<W> {
    fn drop(&mut self) {
        self.inbox.leave();
        if let Some(thread) = self.thread.take() {
            // What it failed with, if it did, has been told, or nobody is there to be told.
            let _: thread::Result<io::Result<()>> = thread.join();
        }
        terminal::release();
    }
}

impl<W: Write> View for Live<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        (&*self.inbox).started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        (&*self.inbox).changed(scene, changed)
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        (&*self.inbox).journey(scene, journey, verdict, parts)
    }

    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, selected: bool) -> io::Result<()> {
        (&*self.inbox).entry(scene, entry, selected)
    }

    fn shows_standing(&self) -> bool {
        true
    }

    fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        (&*self.inbox).standing(scene, standing)
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        (&*self.inbox).summary(scene, summary, selected)?;
        self.wait()?;
        self.after.summary(scene, summary, selected)
    }
}

/// The same for a replay that is moved: the end is not the last that is shown.
impl<W: Write> Travels for Live<W> {
    type Mark = Mark;

    fn mark(&mut self) -> Mark {
        (&*self.inbox).mark()
    }

    fn weight(mark: &Mark) -> usize {
        <&Inbox>::weight(mark)
    }

    fn go_back(&mut self, mark: &Mark) {
        (&*self.inbox).go_back(mark);
    }

    fn clock(&mut self, clock: Clock) {
        (&*self.inbox).clock(clock);
    }

    fn ended(&mut self, scene: &Scene, summary: &Summary) -> io::Result<()> {
        (&*self.inbox).summary(scene, summary, None)
    }

    fn say(&mut self, line: &str) {
        (&*self.inbox).say(line);
    }

    fn answer(&mut self, line: &str) {
        (&*self.inbox).answer(line);
    }

    fn choose(&mut self, number: u64) {
        (&*self.inbox).choose(number);
    }
}
