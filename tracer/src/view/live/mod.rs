//! The live view. It takes the whole terminal while packets pass.
//!
//! Nobody reads eight lines per packet at a thousand packets a second. So this view shows the
//! packets' path with counts, and single packets on demand. Incoming packets, keys and a slow
//! terminal must not wait for each other. So the session's thread only counts each journey and puts
//! it into an inbox. Another thread has the terminal, and takes the new data ten times a second
//! (`docs/decisions/live-view.md` has the reasons).
//!
//! ```text
//! session ──count, put──► Inbox ──take──► State ◄── keys
//!                                           └──► draw ──► terminal
//! ```
//!
//! Like every view, the live view shows only what `verdict` decided.

mod draw;
mod inbox;
mod keys;
mod known;
mod list;
mod run;
mod screen;
mod spans;
mod state;
mod tabs;
#[cfg(test)]
mod tests;
mod travel;

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
    inbox::{Inbox, Mark},
    state::{Source, State},
    travel::Wishes,
};
pub(crate) use self::{
    screen::give_back,
    travel::{Clock, Course, Speed, Travels, Wish},
};
use super::{Look, Text};
use crate::terminal;

/// The settings of the live view.
#[derive(Debug)]
pub struct Shown {
    /// Whether packets are live, and not from a recording.
    pub live: bool,
    /// The words of a command line that shows the same, without `--where`.
    pub command: Vec<String>,
    /// The filter of journeys at the start.
    pub query: Option<Query>,
    /// Saves what is shown.
    pub saver: Saver,
}

/// The data that a save writes.
#[derive(Debug)]
pub struct Kept {
    pub(crate) started: Started,
    pub(crate) scene: Arc<Scene>,
    pub(crate) entries: Vec<Arc<Entry>>,
    pub(crate) summary: Arc<Summary>,
    pub(crate) selected: Option<Selected>,
}

impl Kept {
    /// Shows the data in another view.
    ///
    /// # Errors
    /// The errors of the view.
    pub(crate) fn show(&self, view: &mut impl View) -> io::Result<()> {
        let scene = &self.scene;
        view.started(scene, &self.started)?;
        for entry in &self.entries {
            view.journey(scene, &entry.journey, &entry.verdict, &entry.parts)?;
        }
        view.summary(scene, &self.summary, self.selected.as_ref())
    }
}

/// Saves data to a file. The formats use views, so a view cannot depend on them.
#[derive(Clone, Copy, Debug)]
pub struct Saver {
    /// What is wrong with a file's name, in a sentence, if it is wrong.
    pub check: fn(&Path) -> Result<(), String>,
    /// Writes the file. The error is a sentence.
    pub write: fn(&Path, &Kept) -> Result<(), String>,
}

/// The live view. When the view ends in any way, the terminal is as it was before.
#[derive(Debug)]
pub struct Live<W> {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Writes the sums when the terminal is back on the shell's screen.
    after: Text<W>,
}

impl<W: Write> Live<W> {
    /// Takes the terminal. The final sums go to `out`. The future resolves when a person ends the
    /// view.
    ///
    /// # Errors
    /// Fails if the terminal cannot be taken.
    pub fn start(
        shown: Shown,
        out: W,
        look: Look,
    ) -> io::Result<(Self, impl Future<Output = ()> + use<W>)> {
        let (live, asked) = Self::open(shown, out, look, None)?;
        Ok((live, async {
            // If the thread with the terminal is gone, the view has ended, too.
            let _: Result<(), _> = asked.await;
        }))
    }

    /// As [`Live::start`], but for a replay that can be moved in time. The wishes for moves come
    /// from the receiver until a person ends the view.
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

    /// Waits until a person ends the view, and gives the terminal back.
    fn wait(&mut self) -> io::Result<()> {
        let ended = self.thread.take().map(JoinHandle::join);
        terminal::release();
        match ended {
            Some(Ok(ended)) => ended,
            // The panic hook has written the panic's message.
            Some(Err(_)) => Err(io::Error::other("the terminal's thread panicked")),
            None => Ok(()),
        }
    }
}

impl<W> Drop for Live<W> {
    fn drop(&mut self) {
        self.inbox.leave();
        if let Some(thread) = self.thread.take() {
            // An error of the thread was already written, or nobody can read it.
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

/// A replay that can be moved. Its end is not the end of the view.
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
