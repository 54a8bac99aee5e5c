//! An agent behind streams that lead to another process.
//!
//! Its records are read on a thread of their own, and handed on through a short channel:
//! a collector that does not keep up leaves them in the pipe, then in the agent's ring
//! buffers, where it is counted what is lost. Nothing of what comes is taken on trust.

use std::{
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self as std_mpsc, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracer_core::{
    input::Batch,
    model::{Hello, Point},
    request::{self, Commander, Start},
};
use tracing::info;

use super::{
    clock::Clock,
    lock,
    pods::PodError,
    skip::Skipping,
    upload::{self, Opened},
    way::{End, Way},
    wire::{CLOCK_EVERY, Message, PROTOCOL},
    words::Words,
};
use crate::store::{Event, Reader, TraceError};

/// How long an agent has to attach and to say where: old verifiers take their time.
const BEGINNING: Duration = Duration::from_secs(120);

/// Batches that may be on their way to the collector.
const IN_FLIGHT: usize = 16;

/// Commands that may wait for the agent to take them.
const COMMANDS: usize = 64;

/// How often an agent is asked at most to send what it has.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Why an agent that a command leads to cannot be had, or can send no more.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The command cannot be run.
    #[error("cannot run `{command}`: {source}")]
    Run {
        /// For the shell.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// No agent answered.
    #[error("`{command}` ended before an agent answered{said}")]
    NoAgent {
        /// For the shell.
        command: String,
        /// What was said instead, after a colon.
        said: String,
    },
    /// Something else answered.
    #[error("`{command}` leads to something else than an agent{said}")]
    Other {
        /// For the shell.
        command: String,
        /// What was said instead, after a colon.
        said: String,
    },
    /// An agent took too long.
    #[error(
        "no agent answered through `{command}` within {} s{said}",
        BEGINNING.as_secs()
    )]
    Slow {
        /// For the shell.
        command: String,
        /// What was said instead, after a colon.
        said: String,
    },
    /// It has no tracer, and none is here that could run there.
    #[error(
        "it has no tracer, and this one cannot run there ({machine}): install tracer there, or put \
         a static one beside this one, as {} (`cargo xtask build` makes one)",
        beside.display()
    )]
    NoProgram {
        /// What `uname -m` says there.
        machine: String,
        /// Where one was looked for.
        beside: PathBuf,
    },
    /// There is no pod for it.
    #[error(transparent)]
    Pod(Box<PodError>),
    /// The program did not get there.
    #[error("tracer cannot be put there: {source}")]
    Upload {
        /// Why.
        source: io::Error,
    },
    /// What was answered is of another version, or damaged.
    #[error(transparent)]
    Records(#[from] TraceError),
    /// It has begun, and answers nothing.
    #[error("its agent does not answer")]
    Silent,
    /// It can tell less than before.
    #[error("it cannot watch drops any more")]
    NoDrops,
    /// It does not speak as agents do.
    #[error("what answers is no agent: {0}")]
    Wrong(&'static str),
    /// Its clock is not what it was: the machine was suspended, paused or set.
    #[error("its clock has moved by {} ms: was it suspended?", by / 1_000_000)]
    Clock {
        /// By how much, ns.
        by: i64,
    },
    /// The stream ended in the middle.
    #[error("the way to its agent broke{said}")]
    Broken {
        /// What was said last, after a colon.
        said: String,
    },
}

impl From<PodError> for RemoteError {
    fn from(error: PodError) -> Self {
        Self::Pod(Box::new(error))
    }
}

/// A started agent.
pub(super) struct Agent {
    pub(super) hello: Hello,
    pub(super) commands: Remote,
    pub(super) batches: mpsc::Receiver<Result<Batch, RemoteError>>,
}

/// Starts the agent that a way leads to.
pub(super) fn start(way: Way, start: &Start) -> Result<Agent, RemoteError> {
    let Way {
        name: command,
        uploads,
        input,
        output,
        errors,
        mut end,
    } = way;
    let words = Words::default();
    let heard = words.clone();
    let node = start.node.clone();
    thread::spawn(move || heard.listen(&node, errors));
    let mut streams = (input, BufReader::new(output));
    if uploads {
        let opened = open(start.node.clone(), streams);
        let said = |skipped: &str| {
            words.wait();
            words.said(skipped)
        };
        streams = match opened.recv_timeout(BEGINNING) {
            Ok(Ok((streams, Opened::Yes))) => streams,
            Ok(Ok((_, Opened::No(skipped)))) => {
                end.wait();
                let said = allow(said(&skipped));
                return Err(RemoteError::NoAgent { command, said });
            }
            Ok(Err(error)) => {
                end.now();
                // Why the other side takes nothing is for it to say.
                return Err(match (error, said("")) {
                    (RemoteError::Upload { .. }, said) if !said.is_empty() => {
                        RemoteError::NoAgent { command, said }
                    }
                    (error, _) => error,
                });
            }
            Err(_) => {
                end.now();
                let said = said("");
                return Err(RemoteError::Slow { command, said });
            }
        };
    }
    let (input, output) = streams;
    let clock = Arc::new(Clock::new());
    let commands = Remote::new(end, input, Arc::clone(&clock));
    commands.say(Message::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    commands.say(Message::Start(Box::new(start.clone())));

    let (input, skipped) = Skipping::new(output);
    let (ready, begun) = std_mpsc::channel();
    let (sender, batches) = mpsc::channel(IN_FLIGHT);
    let name = format!("what the agent of {} sends", start.node);
    let last_words = words.clone();
    let answers = Arc::clone(&clock);
    thread::spawn(move || {
        let reader = Reader::new(Path::new(&name), input);
        match reader.map(|reader| (reader.head().nodes.clone(), reader)) {
            Ok((nodes, reader)) => {
                // Whoever has given up needs neither.
                if ready.send(Ok(nodes)).is_ok() {
                    read(reader, &sender, &answers, &last_words);
                }
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
    let said = || {
        let skipped = lock(&skipped);
        words.said(&String::from_utf8_lossy(&skipped))
    };
    let nodes = match begun.recv_timeout(BEGINNING) {
        Ok(Ok(nodes)) => nodes,
        Ok(Err(TraceError::Empty { .. })) | Err(RecvTimeoutError::Disconnected) => {
            commands.wait();
            words.wait();
            let said = allow(said());
            return Err(RemoteError::NoAgent { command, said });
        }
        Ok(Err(TraceError::NotATrace { .. } | TraceError::Beheaded { .. })) => {
            let said = said();
            return Err(RemoteError::Other { command, said });
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(RecvTimeoutError::Timeout) => {
            let said = said();
            return Err(RemoteError::Slow { command, said });
        }
    };
    words.aloud(&start.node);
    let [mut hello] = <[Hello; 1]>::try_from(nodes)
        .map_err(|_| RemoteError::Wrong("it speaks for several nodes"))?;
    hello.node.clone_from(&start.node);
    if hello.streams == 0 {
        return Err(RemoteError::Wrong("it has nothing to send"));
    }
    if hello.snaplen < start.snaplen {
        hello.notes.push(NO_SNAPLEN.to_owned());
    }
    if start.request.xdp.is_some() && !Point::tell_of_xdp(&hello.points, &hello.notes) {
        hello.notes.push(NO_XDP.to_owned());
    }
    let estimate = clock.compare(|question| commands.say(Message::Clock(question)));
    let estimate = estimate.ok_or(RemoteError::Silent)?;
    hello.realtime_offset = estimate.offset;
    hello.clock_bound = estimate.bound;
    commands.say(Message::Go);
    lock(&commands.end).begin();
    info!(
        "{}: its clock is known to {} µs",
        start.node,
        estimate.bound / 1000
    );
    Ok(Agent {
        hello,
        commands,
        batches,
    })
}

/// Said of an agent of an older version, which leaves out what it does not know.
const NO_SNAPLEN: &str = "the tracer there is older and does not know --snaplen: no bytes of \
                          frames are captured; install this version there";

/// Likewise.
const NO_XDP: &str = "the tracer there is older and does not know --xdp: no packets are seen at \
                      XDP; install this version there";

/// What was said last, and what to do about it if sudo said it.
fn allow(mut said: String) -> String {
    if said.contains("sudo: ") {
        said.push_str(
            "; log in as root, or install tracer there and allow `USER ALL=(root) NOPASSWD: \
             /usr/local/bin/tracer agent --stdio` in /etc/sudoers",
        );
    }
    said
}

type Streams = (Box<dyn Write + Send>, BufReader<Box<dyn Read + Send>>);

/// Waits for an agent on a thread of its own, which whoever has given up leaves behind.
fn open(
    node: String,
    (mut input, mut output): Streams,
) -> std_mpsc::Receiver<Result<(Streams, Opened), RemoteError>> {
    let (sender, opened) = std_mpsc::channel();
    thread::spawn(move || {
        let opened = upload::open(&node, &mut input, &mut output);
        drop(sender.send(opened.map(|opened| ((input, output), opened))));
    });
    opened
}

/// Hands on what an agent sends, until its end.
fn read(
    reader: Reader<impl Read>,
    to: &mpsc::Sender<Result<Batch, RemoteError>>,
    clock: &Clock,
    words: &Words,
) {
    let mut ended = false;
    for event in reader {
        let batch = match event {
            // Only this side knows whether it began anew.
            Ok(Event::Batch { batch, .. }) if batch.begins_anew() => Err(RemoteError::Wrong(
                "it tells of streams that it did not have",
            )),
            Ok(Event::Batch { batch, .. }) => {
                match told_until(&batch).and_then(|at| clock.ahead(at)) {
                    Some(by) => Err(RemoteError::Clock { by }),
                    None => Ok(*batch),
                }
            }
            Ok(Event::End(_)) => {
                ended = true;
                continue;
            }
            // Of interest to who records the stream.
            Ok(Event::Armed(_)) => continue,
            Ok(Event::Clock { question, time, .. }) => match clock.answered(question, time) {
                Some(by) => Err(RemoteError::Clock { by }),
                None => continue,
            },
            Ok(_) => Err(RemoteError::Wrong("it tells what only collectors know")),
            Err(error) => Err(error.into()),
        };
        let failed = batch.is_err();
        if to.blocking_send(batch).is_err() || failed {
            return;
        }
    }
    if !ended {
        words.wait();
        let said = words.said("");
        // A collector that has ended needs no word of it.
        drop(to.blocking_send(Err(RemoteError::Broken { said })));
    }
}

/// Until when a batch tells of what there was, the agent's monotonic clock, ns.
fn told_until(batch: &Batch) -> Option<u64> {
    let watermark = Some(batch.watermark).filter(|time| (1..u64::MAX).contains(time));
    let report = batch.report.as_ref().map(|report| report.time);
    watermark.max(report).max(batch.latest())
}

/// Takes commands to the agent; dropping it ends the agent.
pub(super) struct Remote {
    /// `None` once the agent is to end.
    frames: Option<SyncSender<Message>>,
    flushed: Mutex<Option<Instant>>,
    end: Mutex<End>,
}

impl Remote {
    fn new(end: End, input: Box<dyn Write + Send>, clock: Arc<Clock>) -> Self {
        let (frames, inbox) = std_mpsc::sync_channel(COMMANDS);
        thread::spawn(move || write(input, &inbox, &clock));
        Self {
            frames: Some(frames),
            flushed: Mutex::new(None),
            end: Mutex::new(end),
        }
    }

    fn say(&self, message: Message) {
        let Some(frames) = &self.frames else {
            return;
        };
        if let Err(TrySendError::Full(_)) = frames.try_send(message) {
            // It takes nothing any more: its stream ends, and that is told.
            lock(&self.end).now();
        }
    }

    fn wait(&self) {
        lock(&self.end).wait();
    }
}

impl Commander for Remote {
    fn send(&self, command: request::Command) {
        if command == request::Command::Flush {
            let mut flushed = lock(&self.flushed);
            if flushed.is_some_and(|at| at.elapsed() < FLUSH_EVERY) {
                return;
            }
            *flushed = Some(Instant::now());
        }
        self.say(Message::Command(command));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Its input closes, and it ends.
        self.frames = None;
        self.wait();
    }
}

/// Writes what is to be said, and now and then asks what time it is there.
fn write(mut input: Box<dyn Write + Send>, inbox: &std_mpsc::Receiver<Message>, clock: &Clock) {
    let mut next = Instant::now() + CLOCK_EVERY;
    loop {
        let left = next.saturating_duration_since(Instant::now());
        let message = match inbox.recv_timeout(left) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + CLOCK_EVERY;
                Message::Clock(clock.ask())
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        // An agent that is gone takes nothing; its stream's end says so.
        let written = message
            .to_frame()
            .and_then(|frame| input.write_all(&frame))
            .and_then(|()| input.flush());
        if written.is_err() {
            return;
        }
    }
}
