//! The terminal: taken, and given back in any case.
//!
//! A terminal in raw mode, with a captured mouse and another screen, is useless until somebody
//! types `reset` blindly. So whatever comes first gives it back: the end of the view, a panic in
//! any thread, or a second Ctrl-C.

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

/// Whether this process has taken the terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The screen. It has its own file, because the view that comes after locks standard output.
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

    /// Takes the terminal again, after the shell had it.
    pub(super) fn again(&mut self, mouse: bool) -> io::Result<()> {
        enter(mouse)?;
        self.anew()
    }

    /// Draws a picture. A terminal with synchronized updates shows it as a whole.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        queue!(self.screen.backend_mut(), BeginSynchronizedUpdate)?;
        self.screen.draw(picture)?;
        execute!(self.screen.backend_mut(), EndSynchronizedUpdate)
    }

    /// Draws everything again. `Terminal::clear` would ask the terminal for the cursor through
    /// standard output, which another thread has locked.
    pub(super) fn anew(&mut self) -> io::Result<()> {
        let size = self.screen.size()?;
        self.screen.resize(Rect::from(size))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // After a panic while drawing, the buffer has the beginning of a picture, which is written
        // on drop. The terminal would then wait for the end of the picture.
        let _: io::Result<()> = execute!(self.screen.backend_mut(), EndSynchronizedUpdate);
        give_back();
    }
}

/// Another file for standard output, which nobody else locks.
fn output() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn enter(with_mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    execute!(output()?, EnterAlternateScreen, cursor::Hide)?;
    mouse(with_mouse)
}

/// Captures the mouse, or leaves it to the terminal.
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
    // If the terminal is gone, there is nothing to give back.
    let _: io::Result<()> = output().and_then(|mut out| {
        execute!(out, DisableMouseCapture, LeaveAlternateScreen, cursor::Show)?;
        out.flush()
    });
    let _: io::Result<()> = disable_raw_mode();
}
