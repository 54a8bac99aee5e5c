//! `tracer agent --stdio`: one node's side of a follow, for a collector on another machine.
//!
//! Commands come in on standard input, and a growing recording goes out on standard output. The
//! agent never listens on a port. It detaches and ends when its input closes, after a long
//! silence of the collector, and when nobody reads its output.

mod hold;

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread,
};

use tokio::{
    sync::mpsc,
    task,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{bytes::BytesMut, codec::Decoder as _};
use tracer_core::{
    collect::Beginning,
    input::Batch,
    journey::Limits,
    model::{Hello, Owners},
    request::{Command, Commander, Start},
};

use crate::{
    cli::{AgentArgs, Failure, Outcome},
    clock::unix_now,
    follow::{interrupted, runtime},
    link::wire::{self, Message, PROTOCOL, SILENCE},
    node::{self, NodeError, Task},
    store::{Head, RecordError, Rotation, Writer},
};

/// Limit of waiting commands and batches.
const WAITING: usize = 16;

/// Serves a collector until one of the two ends.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &AgentArgs) -> Result<Outcome, Failure> {
    let runtime = runtime()?;
    if let Some(file) = &args.hold {
        let told = interrupted()?;
        runtime.block_on(hold::hold(file, told));
        return Ok(Outcome::Done);
    }
    if let Some(file) = &args.pid_file {
        hold::tell(file).map_err(|error| {
            Failure::new(format!(
                "cannot write this agent's process id to {}: {error}",
                file.display()
            ))
        })?;
    }
    let netns = args.netns.clone();
    let served = runtime.block_on(serve(netns));
    // The program does not wait for a thread whose output nobody reads.
    runtime.shutdown_background();
    served
}

async fn serve(netns: Option<PathBuf>) -> Result<Outcome, Failure> {
    let stop = interrupted()?;
    tokio::pin!(stop);
    let mut messages = listen();
    let start = begin(&mut messages).await?;
    let task = Task { start, netns };
    let starting = task::spawn_blocking({
        let task = task.clone();
        move || node::start(&task)
    });
    let agent = starting.await.map_err(Failure::new)?;
    let mut agent = agent.map_err(Failure::new)?;
    let (rows, written) = write(head(&task.start, agent.hello.clone()));
    let commands = &*agent.commands;
    let ended = converse(
        &mut agent.batches,
        commands,
        &mut messages,
        &rows,
        &mut stop,
    )
    .await;
    // Otherwise, ending the agent would wait for workers that are blocked on this channel.
    drop(agent.batches);
    drop(agent.commands);
    ended?;
    drop(rows);
    match timeout(SILENCE, written).await {
        // A collector that is gone does not need the rest.
        Ok(_) => Ok(Outcome::Done),
        Err(_) => Err(stuck()),
    }
}

/// Executes the collector's commands, and hands on the workers' batches, until the workers have
/// ended.
async fn converse(
    batches: &mut mpsc::Receiver<Result<Batch, NodeError>>,
    commands: &dyn Commander,
    messages: &mut mpsc::Receiver<io::Result<Message>>,
    rows: &mpsc::Sender<Row>,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<(), Failure> {
    let (mut ready, mut ending, mut armed) = (false, false, false);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            // Before the collector is ready, answers to its questions would wait behind
            // batches.
            batch = batches.recv(), if ready || ending => match batch {
                Some(batch) => {
                    let batch = Box::new(batch.map_err(Failure::new)?);
                    hand_on(rows, Row::Batch(batch)).await?;
                }
                None => return Ok(()),
            },
            message = timeout_at(heard + SILENCE, messages.recv()), if !ending => {
                heard = Instant::now();
                match message {
                    Ok(Some(Ok(Message::Go))) => ready = true,
                    Ok(Some(Ok(Message::Command(command)))) => {
                        ending |= command == Command::Stop;
                        let arms = matches!(command, Command::Arm(_));
                        commands.send(command);
                        if arms && !std::mem::replace(&mut armed, true) {
                            hand_on(rows, Row::Armed(unix_now())).await?;
                        }
                    }
                    Ok(Some(Ok(Message::Clock(question)))) => {
                        let time = node::monotonic_now();
                        hand_on(rows, Row::Clock { question, time }).await?;
                    }
                    Ok(Some(Ok(Message::Hello { .. } | Message::Start(_)))) => {
                        return Err(Failure::new("the collector begins twice"));
                    }
                    Ok(Some(Err(error))) => {
                        let told = format!("the collector cannot be understood: {error}");
                        return Err(Failure::new(told));
                    }
                    // The collector is gone, or the connection is broken.
                    Ok(None) | Err(_) => {
                        ending = true;
                        commands.send(Command::Stop);
                    }
                }
            }
            () = &mut *stop, if !ending => {
                ending = true;
                commands.send(Command::Stop);
            }
        }
    }
}

/// Hands a row to the writing thread. It is no error if that thread has ended.
async fn hand_on(rows: &mpsc::Sender<Row>, row: Row) -> Result<(), Failure> {
    match timeout(SILENCE, rows.send(row)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Failure::BrokenPipe),
        Err(_) => Err(stuck()),
    }
}

fn stuck() -> Failure {
    Failure::new(format!(
        "nobody has taken what this agent sees for {} s",
        SILENCE.as_secs()
    ))
}

/// Reads the collector's request.
async fn begin(messages: &mut mpsc::Receiver<io::Result<Message>>) -> Result<Start, Failure> {
    let what = "no collector speaks on standard input: `tracer follow --agent \
                NODE=exec:COMMAND` runs this command";
    let mut next = async || match timeout(SILENCE, messages.recv()).await {
        Ok(Some(Ok(message))) => Ok(message),
        _ => Err(Failure::new(what)),
    };
    // A serial line may still have the last bytes of an earlier collector.
    let first = loop {
        match next().await? {
            Message::Go | Message::Command(_) | Message::Clock(_) => {}
            first => break first,
        }
    };
    match first {
        Message::Hello { protocol, .. } if protocol == PROTOCOL => {}
        Message::Hello { protocol, version } => {
            let side = if protocol < PROTOCOL {
                "where the follow runs"
            } else {
                "on this node"
            };
            return Err(Failure::new(format!(
                "the collector is tracer {version} and speaks protocol {protocol}, this agent is \
                 tracer {} and speaks {PROTOCOL}: update tracer {side}",
                env!("CARGO_PKG_VERSION")
            )));
        }
        _ => return Err(Failure::new(what)),
    }
    match next().await? {
        Message::Start(start) => Ok(*start),
        _ => Err(Failure::new(what)),
    }
}

/// Reads the collector's messages on a separate thread.
fn listen() -> mpsc::Receiver<io::Result<Message>> {
    let (sender, messages) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut codec = wire::codec();
        let mut bytes = BytesMut::new();
        let mut chunk = [0; 4096];
        let mut input = io::stdin().lock();
        loop {
            let message = match codec.decode(&mut bytes) {
                Ok(Some(frame)) => Message::of_frame(&frame),
                Err(error) => Err(error),
                Ok(None) => match input.read(&mut chunk) {
                    Ok(0) => return,
                    Ok(count) => {
                        bytes.extend_from_slice(&chunk[..count]);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            let failed = message.is_err();
            if sender.blocking_send(message).is_err() || failed {
                return;
            }
        }
    });
    messages
}

/// An item to write.
enum Row {
    Batch(Box<Batch>),
    Armed(i64),
    Clock { question: u16, time: u64 },
}

/// Writes rows on a separate thread, so that a reader that takes nothing blocks nobody else.
/// All waiting rows are written at once.
fn write(
    head: Head,
) -> (
    mpsc::Sender<Row>,
    impl Future<Output = Result<(), RecordError>>,
) {
    let (rows, mut inbox) = mpsc::channel(WAITING);
    let written = task::spawn_blocking(move || {
        let mut writer = Writer::create(Path::new("-"), Rotation::default())?;
        writer.begin(head)?;
        while let Some(first) = inbox.blocking_recv() {
            let mut next = Some(first);
            while let Some(row) = next {
                match row {
                    Row::Batch(batch) => writer.batch(0, &batch)?,
                    Row::Armed(time) => writer.armed(time),
                    Row::Clock { question, time } => writer.clock(0, question, time),
                }
                next = inbox.try_recv().ok();
            }
            writer.flush()?;
        }
        writer.end(unix_now()).map(drop)
    });
    let written = async {
        let joined = written.await;
        joined.unwrap_or(Ok(()))
    };
    (rows, written)
}

/// The head of the stream, with what an agent knows.
fn head(start: &Start, hello: Hello) -> Head {
    let beginning = Beginning {
        nodes: vec![hello],
        owners: Owners::default(),
        sources: Vec::new(),
        asked: Vec::new(),
        limits: Limits::default(),
        count: None,
        time: unix_now(),
        follow: format!("what the collector asks of {}", start.node),
        warnings: Vec::new(),
        skew: 0,
    };
    Head::new(beginning, start.filter.pairs.clone(), Some(start.key))
}

#[cfg(test)]
mod tests {
    use tracer_common::hash::Key;
    use tracer_core::request::{Filter, Request, Watch};

    use super::*;

    /// The request that an agent reads from these messages.
    fn begun(said: Vec<Message>) -> Result<Start, Failure> {
        let runtime = runtime().expect("a runtime");
        runtime.block_on(async {
            let (sender, mut messages) = mpsc::channel(WAITING);
            for message in said {
                sender.send(Ok(message)).await.expect("there is room");
            }
            drop(sender);
            begin(&mut messages).await
        })
    }

    fn hello() -> Message {
        Message::Hello {
            protocol: PROTOCOL,
            version: "0.1.0".to_owned(),
        }
    }

    fn start(node: &str) -> Message {
        Message::Start(Box::new(Start {
            node: node.to_owned(),
            request: Request::default(),
            watch: Watch::Follow,
            filter: Filter::default(),
            pods: Vec::new(),
            bystanders: Vec::new(),
            vxlan_ports: Vec::new(),
            key: Key([0, 0]),
            ring_size: 0,
            budget: 0,
            explain: false,
            snaplen: 0,
            dns_names: false,
            goes_along: true,
        }))
    }

    #[test]
    fn what_an_earlier_collector_said_last_is_skipped() {
        let late = [Message::Command(Command::Stop), Message::Clock(7)];
        let said = late.into_iter().chain([hello(), start("node-b")]);
        let begun = begun(said.collect()).expect("a collector speaks");
        assert_eq!(begun.node, "node-b");
    }

    #[test]
    fn what_is_no_beginning_is_refused() {
        assert!(begun(vec![Message::Clock(7)]).is_err());
        assert!(begun(vec![start("node-b")]).is_err());
        assert!(begun(vec![hello(), hello()]).is_err());
    }
}
