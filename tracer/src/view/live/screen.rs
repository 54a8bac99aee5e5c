//! The terminal: taken, and given back whatever happens.
//!
//! A terminal that stays in raw mode, with the mouse captured and another screen, is
//! useless until somebody types `reset` blindly. So it is given back by whoever comes
//! first: the end of the view, a panic in any thread, a second Ctrl-C.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    os::fd::AsFd as _,
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    cursor,
    event::{DisableMouseCapture, EnableMouseCapture},
    execute, queue,
    terminal::{
        BeginSynchronizedUpdate, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
        disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Rect};

/// Whether the terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What draws on it. Standard output itself is locked by the view that comes after.
pub(super) type Screen = Terminal<CrosstermBackend<BufWriter<File>>>;

/// The terminal, while it is taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) screen: Screen,
}

impl Taken {
    pub(super) fn take() -> io::Result<Self> {
        static PANIC: Once = Once::new();
        PANIC.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                give_back();
                crate::terminal::release();
                before(info);
            }));
        });
        enter(true)?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, output()?));
        Ok(Self {
            screen: Terminal::new(backend)?,
        })
    }

    /// Takes it again, after the shell has had it.
    pub(super) fn again(&mut self, mouse: bool) -> io::Result<()> {
        enter(mouse)?;
        self.anew()
    }

    /// Draws a picture, which a terminal that can shows whole.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(picture)?;
        execute!(self.screen.backend_mut(), EndSynchronizedUpdate)
    }

    /// Has all be drawn again. (`Terminal::clear` would ask the terminal where its cursor
    /// is, through the standard output that somebody else has locked.)
    pub(super) fn anew(&mut self) -> io::Result<()> {
        let size = self.screen.size()?;
        self.screen.resize(Rect::from(size))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A panic in the middle of a picture has left its beginning in the buffer, which is
        // written when it is dropped: a terminal would wait for the end.
        let _: io::Result<()> = execute!(self.screen.backend_mut(), EndSynchronizedUpdate);
        give_back();
    }
}

/// A file of its own for standard output, which nobody else locks.
fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn enter(with_mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    execute!(output()?, EnterAlternateScreen, cursor::Hide)?;
    mouse(with_mouse)
}

/// Takes the mouse, or leaves it to the terminal.
pub(super) fn mouse(taken: bool) -> io::Result<()> {
    if taken {
        execute!(output()?, EnableMouseCapture)
    } else {
        execute!(output()?, DisableMouseCapture)
    }
}

/// Gives the terminal back, if it is taken.
pub(crate) fn give_back() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    // A terminal that is gone needs nothing.
    let _: io::Result<()> = output().and_then(|mut out| {
        execute!(out, DisableMouseCapture, LeaveAlternateScreen, cursor::Show)?;
        out.flush()
    });
    let _: io::Result<()> = disable_raw_mode();
}
