//! An agent in another process, at the other end of streams.
//!
//! A thread reads the agent's records and hands them on through a short channel. If the
//! collector is slow, records wait in the pipe and then in the agent's ring buffers, which
//! count lost events. Nothing that comes is trusted.

use std::{
    io::{BufReader, Read, Write},
    path::Path,
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
    RemoteError,
    clock::Clock,
    lock,
    skip::Skipping,
    upload::{self, Opened},
    way::{End, Way},
    wire::{BEGINNING, CLOCK_EVERY, Message, PROTOCOL},
    words::Words,
};
use crate::store::{Event, Reader, TraceError};

/// Limit of batches on their way to the collector.
const IN_FLIGHT: usize = 16;

/// Limit of commands that wait for the agent.
const COMMANDS: usize = 64;

/// How often the collector asks an agent for a batch at most.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// A started agent.
pub(super) struct Agent {
    pub(super) hello: Hello,
    pub(super) commands: Remote,
    pub(super) batches: mpsc::Receiver<Result<Batch, RemoteError>>,
}

/// Starts the agent at the other end of a connection.
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
                // The other side says itself why it takes nothing.
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
                // A caller that has given up needs neither.
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
        .map_err(|_| RemoteError::Wrong("it described several nodes"))?;
    hello.node.clone_from(&start.node);
    if hello.streams == 0 {
        return Err(RemoteError::Wrong("it announced no stream"));
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

/// Note on an agent of an older version, which ignores what it does not know.
const NO_SNAPLEN: &str = "the tracer there is older and does not know --snaplen: no bytes of \
                          frames are captured; install this version there";

/// Note on an agent of an older version, which ignores what it does not know.
const NO_XDP: &str = "the tracer there is older and does not know --xdp: no packets are seen at \
                      XDP; install this version there";

/// The last output, with advice if it is from sudo.
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

/// Waits for an agent on a separate thread. A caller that gives up leaves this thread behind.
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

/// Hands on an agent's messages, until its end.
fn read(
    reader: Reader<impl Read>,
    to: &mpsc::Sender<Result<Batch, RemoteError>>,
    clock: &Clock,
    words: &Words,
) {
    let mut ended = false;
    for event in reader {
        let batch = match event {
            // Only this side knows whether the agent began anew.
            Ok(Event::Batch { batch, .. }) if batch.begins_anew() => {
                Err(RemoteError::Wrong("it sent an unknown stream"))
            }
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
            // Only a reader that records the stream needs it.
            Ok(Event::Armed(_)) => continue,
            Ok(Event::Clock { question, time, .. }) => match clock.answered(question, time) {
                Some(by) => Err(RemoteError::Clock { by }),
                None => continue,
            },
            Ok(_) => Err(RemoteError::Wrong(
                "it sent a record that only a collector may write",
            )),
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
        // A collector that has ended does not need the error.
        drop(to.blocking_send(Err(RemoteError::Broken { said })));
    }
}

/// Latest time that a batch reports, the agent's monotonic clock, ns.
fn told_until(batch: &Batch) -> Option<u64> {
    let watermark = Some(batch.watermark).filter(|time| (1..u64::MAX).contains(time));
    let report = batch.report.as_ref().map(|report| report.time);
    watermark.max(report).max(batch.latest())
}

/// Sends commands to the agent; dropping it ends the agent.
pub(super) struct Remote {
    /// Messages to the agent; `None` once the agent has to end.
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
            // The agent takes nothing any more. Its stream ends, and the reader reports that.
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
        // The agent's input closes, so the agent ends.
        self.frames = None;
        self.wait();
    }
}

/// Writes messages to the agent, and asks for its clock at intervals.
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
        // An agent that is gone takes nothing, and the end of its stream reports that.
        let written = message
            .to_frame()
            .and_then(|frame| input.write_all(&frame))
            .and_then(|()| input.flush());
        if written.is_err() {
            return;
        }
    }
}
