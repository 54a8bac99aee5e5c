//! A machine that boots, runs its tests, and powers off. It may also panic, hang or print nothing
//! at all. Each of these has its own error, with the machine's last lines.

use std::{
    collections::VecDeque,
    fs::File,
    io::{BufRead as _, BufReader, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    debian::Kernel,
    features::FEATURE,
    image::{BEGIN, END},
    recordings::{Recording, Recordings},
};
use crate::{command::say, tally::Tally};

/// Limit of a machine's silence. A test of many faults prints nothing for minutes, if a slow host
/// emulates an old kernel's verifier.
const SILENCE: Duration = Duration::from_secs(15 * 60);
/// The number of last lines that an error repeats.
pub(super) const TAIL: usize = 40;
/// The message of a kernel after a fault of the emulator. While the kernel changes its code, for a
/// tracepoint or a static key, a breakpoint stands there. The emulator lets another processor run
/// into the breakpoint, which no real machine does.
const MISEMULATED: &str = "Oops: int3";
/// Messages of a kernel that can no longer be trusted.
pub(super) const BROKEN: &[&str] = &[
    MISEMULATED,
    "Kernel panic",
    "BUG:",
    "Oops:",
    "general protection fault",
];

/// The results of a machine whose tests passed, besides the tests'.
pub(super) struct Heard {
    /// The kernel's features, as the tests found them.
    pub(super) features: Vec<String>,
    /// The recordings of the tests.
    pub(super) recordings: Vec<Recording>,
}

/// Whether a machine failed by a fault of the emulator.
pub(super) fn is_misemulated(error: &anyhow::Error) -> bool {
    error.to_string().contains(MISEMULATED)
}

/// Runs a machine to its end, which must come within `limit`. Adds the results of its tests to
/// `tally`.
pub(super) fn run(
    kernel: &Kernel,
    image: &Path,
    limit: Duration,
    tally: &mut Tally,
) -> Result<Heard> {
    let log = image.with_extension("log");
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut listener = Listener::new(file);
    let cpus = thread::available_parallelism()?.get().min(4);
    let (_machine, lines) = Machine::start(kernel, image, cpus, &[])?;
    let ended = listener.listen(&lines, limit, SILENCE);
    let told = ended.and_then(|status| {
        ensure!(status == "0", "tests failed");
        ensure!(listener.tally.ran > 0, "no test ran: no test has this name");
        Ok(())
    });
    tally.add(listener.tally);
    if let Err(error) = told {
        say(format!("the last lines of {}:", log.display()));
        for line in &listener.tail {
            say(format!("| {line}"));
        }
        return Err(error);
    }
    Ok(Heard {
        features: listener.features,
        recordings: listener.recordings.take_complete(),
    })
}

/// A machine. Dropping it switches it off.
pub(super) struct Machine {
    qemu: Child,
}

impl Machine {
    /// Starts a machine, with more options for QEMU, and returns the lines of its first serial
    /// console.
    pub(super) fn start(
        kernel: &Kernel,
        image: &Path,
        cpus: usize,
        more: &[String],
    ) -> Result<(Self, Receiver<String>)> {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ])
        .args(["-smp", &cpus.to_string(), "-m", "2048", "-serial", "stdio"])
        .arg("-kernel")
        .arg(&kernel.vmlinuz)
        .arg("-initrd")
        .arg(image)
        .args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"])
        .args(more);
        let mut qemu = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run qemu-system-x86_64")?;
        let output = qemu.stdout.take().context("a pipe was asked for")?;
        Ok((Self { qemu }, lines(output)))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if the machine has ended and was waited for.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Reads lines on a separate thread until the pipe is closed.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            // Nobody listens to a machine that is switched off.
            if sender.send(line.trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    lines
}

/// What a machine has printed.
struct Listener<W> {
    log: W,
    tail: VecDeque<String>,
    /// Whether the tests have begun. Only their lines are shown.
    begun: bool,
    tally: Tally,
    features: Vec<String>,
    recordings: Recordings,
}

impl<W: Write> Listener<W> {
    fn new(log: W) -> Self {
        Self {
            log,
            tail: VecDeque::new(),
            begun: false,
            tally: Tally::default(),
            features: Vec::new(),
            recordings: Recordings::default(),
        }
    }

    /// Listens until the tests have ended, and returns their exit status.
    fn listen(
        &mut self,
        lines: &Receiver<String>,
        limit: Duration,
        silence: Duration,
    ) -> Result<String> {
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed()).min(silence);
            let line = match lines.recv_timeout(left) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the machine went off before the tests had ended")
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the machine hangs: it has run for {} s, and was silent for the last {}",
                    start.elapsed().as_secs(),
                    left.as_secs()
                ),
            };
            if let Some(status) = self.hear(&line)? {
                return Ok(status);
            }
        }
    }

    fn hear(&mut self, line: &str) -> Result<Option<String>> {
        if self.recordings.take(line)? {
            return Ok(None);
        }
        writeln!(self.log, "{line}")?;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
        if let Some(broken) = BROKEN.iter().find(|broken| line.contains(**broken)) {
            bail!("the kernel says \"{broken}\"");
        }
        if let Some(status) = line.strip_prefix(END) {
            return Ok(Some(status.to_owned()));
        }
        if self.begun {
            println!("{line}");
            self.tally.hear(line);
            if let Some((_, feature)) = line.split_once(FEATURE) {
                self.features.push(feature.to_owned());
            }
        }
        self.begun |= line == BEGIN;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a machine that prints these lines, and then powers off.
    fn heard(said: &[&str]) -> (Result<String>, u32) {
        let (sender, lines) = mpsc::channel();
        for line in said {
            sender
                .send((*line).to_owned())
                .expect("the other end is held");
        }
        drop(sender);
        let mut listener = Listener::new(Vec::new());
        let ended = listener.listen(&lines, Duration::MAX, Duration::MAX);
        assert!(listener.tail.iter().eq(&said[..listener.tail.len()]));
        (ended, listener.tally.ran)
    }

    #[test]
    fn tests_that_end_are_counted() {
        let result = "test result: ok. 2 passed; 0 failed";
        let end = format!("{END}0");
        let (status, ran) = heard(&[result, BEGIN, result, &end, "unheard"]);
        assert_eq!((status.expect("an end"), ran), ("0".to_owned(), 2));
    }

    #[test]
    fn each_way_to_fail_has_its_error() {
        let panic = "[    1.2] Kernel panic - not syncing: Attempted to kill init!";
        let error = |said: &[&str]| heard(said).0.expect_err("no end").to_string();
        assert_eq!(error(&[BEGIN, panic]), "the kernel says \"Kernel panic\"");
        let int3 = "[  148.1] Oops: int3: 0000 [#1] SMP NOPTI";
        assert!(is_misemulated(
            &heard(&[BEGIN, int3]).0.expect_err("no end")
        ));
        assert!(!is_misemulated(
            &heard(&[BEGIN, panic]).0.expect_err("no end")
        ));
        assert!(error(&[BEGIN]).contains("went off"));
        let (_silent, lines) = mpsc::channel();
        let hung = Listener::new(Vec::new()).listen(&lines, Duration::MAX, Duration::ZERO);
        assert!(hung.expect_err("no end").to_string().contains("hangs"));
    }
}
