//! The loop of the thread with the terminal.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossterm::event::{Event, poll, read};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout},
    sys::signal::{Signal, raise},
};
use signal_hook::{
    consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP},
    flag::register,
};
use tokio::sync::oneshot;

use super::{
    draw::{self, Theme},
    inbox::Inbox,
    screen::{self, Taken},
    state::{Ask, State},
};
use crate::{terminal::tell, view::words::count};

/// Shortest time between two updates of the screen, without a key.
const FRAME: Duration = Duration::from_millis(100);

/// Shortest time between two updates after keys. A key that is held down does not draw for each
/// repetition.
const ANSWER: Duration = Duration::from_millis(20);

/// Signals that came.
struct Signals {
    end: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    go_on: Arc<AtomicBool>,
}

impl Signals {
    fn hear() -> io::Result<Self> {
        let signals = Self {
            end: Arc::default(),
            stop: Arc::default(),
            go_on: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            register(signal, Arc::clone(&signals.end))?;
        }
        register(SIGTSTP, Arc::clone(&signals.stop))?;
        register(SIGCONT, Arc::clone(&signals.go_on))?;
        Ok(signals)
    }
}

/// Shows new data and handles keys, until a person ends the view. Then it sends to `ask`.
///
/// # Errors
/// The errors of the terminal.
pub(super) fn run(
    mut taken: Taken,
    inbox: &Arc<Inbox>,
    mut state: State,
    theme: Theme,
    ask: oneshot::Sender<()>,
) -> io::Result<()> {
    let ended = show(&mut taken, inbox, &mut state, theme);
    inbox.leave();
    drop(taken);
    // A session that is over need not be asked to end.
    let _: Result<(), ()> = ask.send(());
    match ended {
        // If the terminal is gone, that is no failure, and the session ends.
        Err(error) if is_gone(&error) => Ok(()),
        ended => ended,
    }
}

/// Whether the error says that the terminal is gone.
fn is_gone(error: &io::Error) -> bool {
    const EIO: i32 = nix::errno::Errno::EIO as i32;
    error.raw_os_error() == Some(EIO)
        || matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotConnected
        )
}

fn show(taken: &mut Taken, inbox: &Arc<Inbox>, state: &mut State, theme: Theme) -> io::Result<()> {
    let signals = Signals::hear()?;
    let events = listen(inbox)?;
    let mut savers = Savers::default();
    let mut drawn: Option<Instant> = None;
    let (mut new, mut asked) = (true, true);
    loop {
        let since = drawn.map_or(FRAME, |drawn| drawn.elapsed());
        if since >= FRAME
            && let Some(told) = inbox.take()
        {
            state.take(told);
            new = true;
        }
        if (new && since >= FRAME) || (asked && since >= ANSWER) {
            taken.draw(|frame| draw::draw(frame, state, theme))?;
            (new, asked) = (false, false);
            drawn = Some(Instant::now());
        }
        let wait = if asked { ANSWER } else { FRAME };
        match events.recv_timeout(wait) {
            // Handle all events that are there, so that a repeating key does not lag behind.
            Ok(event) => {
                asked = true;
                for event in [event].into_iter().chain(events.try_iter()) {
                    match state.event(&event) {
                        Ask::Nothing => {}
                        Ask::Quit => return Ok(()),
                        Ask::Suspend => stop(taken, state, &signals)?,
                        Ask::Redraw => taken.anew()?,
                        Ask::Mouse => screen::mouse(state.mouse)?,
                        Ask::Save => savers.begin(state)?,
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if signals.end.load(Ordering::Acquire) || inbox.is_left() || has_hung_up() {
            return Ok(());
        }
        if signals.stop.load(Ordering::Acquire) {
            stop(taken, state, &signals)?;
            asked = true;
        }
        if signals.go_on.swap(false, Ordering::AcqRel) {
            // A signal stopped the process from outside.
            taken.again(state.mouse)?;
            asked = true;
        }
    }
}

/// Threads that save, because a disk may be slow. A save that has begun is finished, even if the
/// view ends.
#[derive(Default)]
struct Savers(Vec<JoinHandle<()>>);

impl Savers {
    fn begin(&mut self, state: &mut State) -> io::Result<()> {
        let write = state.source.saver.write;
        let Some((path, kept)) = state.to_save.take() else {
            return Ok(());
        };
        self.0.retain(|thread| !thread.is_finished());
        let thread = thread::Builder::new().name("save".to_owned());
        self.0.push(thread.spawn(move || {
            tell(&match write(&path, &kept) {
                Ok(()) => format!(
                    "saved {} to {}",
                    count(kept.entries.len(), "journey"),
                    path.display()
                ),
                Err(sentence) => sentence,
            });
        })?);
        Ok(())
    }
}

impl Drop for Savers {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // The panic hook has written the panic's message.
            let _: thread::Result<()> = thread.join();
        }
    }
}

/// Reads events of the terminal in a thread of its own. After a sequence that crossterm does not
/// know, `read` waits for the next byte. After the terminal has hung up, `read` never returns.
fn listen(inbox: &Arc<Inbox>) -> io::Result<Receiver<Event>> {
    let (send, events) = mpsc::channel();
    let inbox = Arc::clone(inbox);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while !inbox.is_left() {
                match poll(FRAME) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(_) => return,
                }
                let Ok(event) = read() else { return };
                if send.send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(events)
}

/// Whether the terminal has hung up.
fn has_hung_up() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let polled = nix::poll::poll(&mut fds, PollTimeout::ZERO);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    polled.is_ok() && fds[0].revents().is_some_and(|is| is.intersects(gone))
}

/// Gives the terminal to the shell until the process continues.
fn stop(taken: &mut Taken, state: &State, signals: &Signals) -> io::Result<()> {
    screen::give_back();
    // A signal to the process instead would let this thread run for a while. The connections to the
    // agents are not stopped, and keep what agents send.
    raise(Signal::SIGSTOP)?;
    // The shell has continued the process, for example after `fg`.
    signals.stop.store(false, Ordering::Release);
    signals.go_on.store(false, Ordering::Release);
    taken.again(state.mouse)
}
