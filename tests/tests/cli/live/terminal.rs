//! A terminal on which a test types and reads: a window of tmux with a shell.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use tracer_tests::{
    Process,
    process::{command, run},
    program::{LIMIT, binary},
};

/// The shell's prompt.
const PROMPT: &str = "ready>";

/// The window. Dropping this value ends its server, and with it all programs in the window.
pub(crate) struct Terminal {
    directory: PathBuf,
    _server: Process,
}

impl Terminal {
    /// Opens a window of a size. Its files, and the programs' files, are in `directory`.
    pub(crate) fn open(directory: &Path, (columns, rows): (u16, u16)) -> Result<Self> {
        let mut server = tmux(directory);
        let server = Process::start(server.args(["-f", "/dev/null", "-D"]), "")?;
        let terminal = Self {
            directory: directory.to_owned(),
            _server: server,
        };
        let [columns, rows] = [columns, rows].map(|size| size.to_string());
        let shell = format!("exec env PS1='{PROMPT} ' bash --norc --noprofile -i");
        let size = ["-x", &columns, "-y", &rows];
        // The server may not listen yet.
        until("a server of tmux", || {
            let mut window = tmux(directory);
            window.args(["-N", "new-session", "-d"]);
            let ended = Process::start(window.args(size).arg(&shell), "")?.finish(LIMIT)?;
            Ok((ended.status.success(), ended.stderr))
        })?;
        terminal.wait_for(PROMPT)?;
        Ok(terminal)
    }

    fn tell(&self, words: &[&str]) -> Result<String> {
        run(tmux(&self.directory).arg("-N").args(words), "")
    }

    /// Presses keys, by tmux's names.
    pub(crate) fn press(&self, keys: &[&str]) -> Result<()> {
        let words = [&["send-keys"], keys].concat();
        self.tell(&words).map(drop)
    }

    pub(crate) fn type_text(&self, text: &str) -> Result<()> {
        self.tell(&["send-keys", "-l", text]).map(drop)
    }

    /// Makes the shell run a line at its next prompt. In the line, `tracer` is the tested program.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        let script = self.directory.join("line.sh");
        let directory = binary()?;
        let directory = directory.parent().context("it lies in a directory")?;
        let path = format!("PATH={}:$PATH", directory.display());
        fs::write(&script, format!("{path}\n{line}\n"))?;
        // Before a prompt, the terminal would show typed text twice.
        let waits = |screen: &str| screen.trim_end().ends_with(PROMPT);
        self.wait_until("a prompt", waits)?;
        self.type_text(&format!("bash {}; echo exit code $?", script.display()))?;
        self.press(&["Enter"])
    }

    /// The content of the screen.
    pub(super) fn screen(&self) -> Result<String> {
        self.tell(&["capture-pane", "-p"])
    }

    /// The modes of the terminal: whether a program has the alternate screen, shows a cursor, and
    /// takes the mouse.
    pub(super) fn modes(&self) -> Result<String> {
        let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        let modes = self.tell(&["display-message", "-p", modes])?;
        Ok(modes.trim().to_owned())
    }

    /// Waits until the modes are these.
    pub(super) fn wait_for_modes(&self, wanted: &str) -> Result<()> {
        until(wanted, || {
            let modes = self.modes()?;
            Ok((modes == wanted, modes))
        })
    }

    /// Gives the window another size.
    pub(super) fn resize(&self, (columns, rows): (u16, u16)) -> Result<()> {
        let [columns, rows] = [columns, rows].map(|size| size.to_string());
        let words = ["resize-window", "-x", &columns, "-y", &rows];
        self.tell(&words).map(drop)
    }

    /// Writes all further output to the terminal to a file.
    pub(super) fn keep(&self) -> Result<PathBuf> {
        let file = self.directory.join("sent");
        let write = format!("exec cat > {}", file.display());
        self.tell(&["pipe-pane", "-O", &write])?;
        Ok(file)
    }

    /// The screen, as soon as `wanted` is on it.
    pub(crate) fn wait_for(&self, wanted: &str) -> Result<String> {
        self.wait_until(wanted, |screen| screen.contains(wanted))
    }

    /// The screen, as soon as `wanted` accepts it.
    pub(super) fn wait_until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let mut shown = String::new();
        until(what, || {
            shown = self.screen()?;
            Ok((wanted(&shown), shown.clone()))
        })?;
        Ok(shown)
    }
}

fn tmux(directory: &Path) -> Command {
    let mut tmux = command("tmux");
    tmux.arg("-u").arg("-S").arg(directory.join("tmux"));
    tmux.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
    tmux
}

/// Asks until something holds. The error shows the last state.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> Result<(bool, String)>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (so, there) = is_so()?;
        if so {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not yet: {what}; but\n{there}");
        thread::yield_now();
    }
}
