//! A terminal that a test types on and reads: a window of tmux with a shell.

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

/// What the shell says once it waits for a command.
const PROMPT: &str = "ready>";

/// The window. Its server, and with that all that runs in it, ends when this value is
/// dropped.
pub(crate) struct Terminal {
    directory: PathBuf,
    _server: Process,
}

impl Terminal {
    /// Opens a window of a size. Its files, and what is run in it, lie in `directory`.
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
        // Until it listens.
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

    /// Presses keys, by the names that tmux has for them.
    pub(crate) fn press(&self, keys: &[&str]) -> Result<()> {
        let words = [&["send-keys"], keys].concat();
        self.tell(&words).map(drop)
    }

    pub(crate) fn type_text(&self, text: &str) -> Result<()> {
        self.tell(&["send-keys", "-l", text]).map(drop)
    }

    /// Has the shell run a line once it waits for one, in which `tracer` is the program.
    pub(super) fn run(&self, line: &str) -> Result<()> {
        let script = self.directory.join("line.sh");
        let directory = binary()?;
        let directory = directory.parent().context("it lies in a directory")?;
        let path = format!("PATH={}:$PATH", directory.display());
        fs::write(&script, format!("{path}\n{line}\n"))?;
        // What is typed before the shell reads is shown twice.
        let waits = |screen: &str| screen.trim_end().ends_with(PROMPT);
        self.wait_until("a prompt", waits)?;
        self.type_text(&format!("bash {}; echo exit code $?", script.display()))?;
        self.press(&["Enter"])
    }

    /// What is on the screen.
    pub(super) fn screen(&self) -> Result<String> {
        self.tell(&["capture-pane", "-p"])
    }

    /// What the terminal is asked to do: whether a program has the other screen, shows a
    /// cursor, and takes the mouse.
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

    /// Writes all that the terminal is sent from now on to a file.
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

    /// The screen, as soon as it is as wanted.
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

/// Asks until something is so; what there is instead is told.
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
