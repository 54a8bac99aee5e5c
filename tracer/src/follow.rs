//! `tracer follow`: runs a session and its view from settings.

use std::{
    collections::BTreeMap,
    env, future,
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd as _,
    task::Poll,
    thread,
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};
use tracer_core::{journal::View, verdict::Kind};

use self::plan::{key, plan};
use crate::{
    cli::{Expected, Failure, Outcome, Settings, Shape, look_of_stderr, look_of_stdout},
    collector::{self, Plan, SessionError, Update},
    expect::{Compared, Expectations},
    export::{SAVER, Stream},
    link::{self, Place},
    store::RecordError,
    terminal::tell,
    view::{self, Condensed, Json, Live, Progress, Shown, Text},
};

mod live;
mod plan;
#[cfg(test)]
mod tests;

/// Runs a follow to its end.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(settings: &Settings) -> Result<Outcome, Failure> {
    let shape = settings.shape.shape()?;
    let utc = settings.utc;
    let dry_run = settings.dry_run;
    let expect = settings.expect;
    let expectations = &mut Expectations::of(&settings.flows).map_err(Failure::new)?;
    let flows = settings.flows.clone();
    let key = key(settings);
    let is_data = matches!(shape, Shape::Json | Shape::Pcapng);
    let plan = plan(settings, utc || is_data, key);
    if dry_run {
        return look(&plan, shape, utc);
    }
    let updates = live::updates(settings, key)?;
    let runtime = runtime()?;
    let stdout = io::stdout();
    let outcome = runtime.block_on(async {
        match shape {
            Shape::Live => {
                let shown = Shown {
                    live: true,
                    command: same(settings),
                    query: settings.query.clone(),
                    saver: SAVER,
                };
                let (view, left) =
                    Live::start(shown, stdout.lock(), look_of_stdout(utc)).map_err(Failure::new)?;
                session(plan, updates, Compared { view, expectations }, left).await
            }
            Shape::Text if settings.shape.is_condensed() => {
                let begin = Instant::now();
                let clock = |_| i64::try_from(begin.elapsed().as_nanos()).unwrap_or(i64::MAX);
                let look = look_of_stdout(utc);
                let view = Condensed::new(stdout.lock(), look, clock, all(settings));
                lines(plan, updates, Compared { view, expectations }).await
            }
            Shape::Text => {
                let view = Text::new(stdout.lock(), look_of_stdout(utc));
                lines(plan, updates, Compared { view, expectations }).await
            }
            Shape::Json => {
                // In text output, warnings are below the first line.
                plan.warnings.iter().for_each(|warning| tell(warning));
                let view = Json::new(stdout.lock());
                lines(plan, updates, Compared { view, expectations }).await
            }
            Shape::Pcapng => {
                let left = nobody_reads(&stdout)?;
                let view = Stream::new(stdout.lock());
                session(plan, updates, Compared { view, expectations }, left).await
            }
        }
    })?;
    let matched = match (Outcome::of(outcome.matched), expect) {
        (Outcome::Done, Some(Expected::Delivered)) => all_delivered(&outcome.fates),
        (outcome, _) => outcome,
    };
    match expectations {
        Some(expectations) if matched != Outcome::Unexpected => expectations.outcome(&flows),
        Some(expectations) => expectations.outcome(&flows).map(|_| matched),
        None => Ok(matched),
    }
}

/// The command line that shows the same, without output options and `--where`. For a recorded
/// follow, it replays the recording.
fn same(settings: &Settings) -> Vec<String> {
    let mut words = vec!["tracer".to_owned()];
    if let Some(write) = &settings.write {
        words.push("replay".to_owned());
        words.push(write.path.display().to_string());
        return words;
    }
    let mut given = env::args().skip(1);
    while let Some(word) = given.next() {
        match word.as_str() {
            "-o" | "--output" | "--where" => drop(given.next()),
            word if word.starts_with("-o")
                || word.starts_with("--output=")
                || word.starts_with("--where=") => {}
            _ => words.push(word),
        }
    }
    words
}

/// A hint on how to see all journeys that the terminal did not show.
fn all(settings: &Settings) -> String {
    match &settings.write {
        Some(write) => format!(
            "`tracer replay {}` shows what was recorded, and --hops all at once.",
            write.path.display()
        ),
        None => {
            "To see all: --hops, a pipe, -o json, or -w FILE and `tracer replay FILE`.".to_owned()
        }
    }
}

/// Checks that all packets were delivered, and says how many were not.
fn all_delivered(fates: &BTreeMap<Kind, u64>) -> Outcome {
    let others = fates.iter().filter(|(kind, _)| **kind != Kind::Delivered);
    let others: Vec<String> = others
        .map(|(kind, packets)| format!("{packets} {}", kind.name()))
        .collect();
    if !others.is_empty() {
        tell(&format!("expected delivered, but: {}", others.join(", ")));
    } else if fates.is_empty() {
        tell("expected delivered, but no packet was seen from its first hop to its last");
    } else {
        return Outcome::Done;
    }
    Outcome::Unexpected
}

/// Records a follow without showing it.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn record(settings: &Settings) -> Result<Outcome, Failure> {
    let look = look_of_stderr(settings.utc);
    let key = key(settings);
    let plan = plan(settings, settings.utc, key);
    let updates = live::updates(settings, key)?;
    let progress = Progress::new(io::stderr(), look, io::stderr().is_terminal());
    let outcome = runtime()?.block_on(lines(plan, updates, progress))?;
    Ok(Outcome::of(outcome.matched))
}

/// Resolves when the reader of a pipe has closed it. A capture may be without packets for long, so
/// that waiting for the next write is not enough: Wireshark has gone by then.
fn nobody_reads(stdout: &io::Stdout) -> Result<impl Future<Output = ()> + use<>, Failure> {
    let (closed, left) = oneshot::channel();
    let pipe = stdout.as_fd().try_clone_to_owned().map_err(Failure::from)?;
    thread::spawn(move || {
        let pipe = &mut [PollFd::new(pipe.as_fd(), PollFlags::empty())];
        // The kernel reports a gone reader only for a pipe or a socket.
        while poll(pipe, PollTimeout::NONE) == Err(Errno::EINTR) {}
        // A session that is over does not need the signal.
        let _: Result<(), ()> = closed.send(());
    });
    Ok(async {
        let _: Result<(), _> = left.await;
    })
}

/// Runs a session with a view that has no input, so nobody can quit it there.
async fn lines(
    plan: Plan,
    updates: Option<mpsc::Receiver<Update>>,
    view: impl View,
) -> Result<collector::Outcome, Failure> {
    session(plan, updates, view, future::pending()).await
}

async fn session(
    plan: Plan,
    updates: Option<mpsc::Receiver<Update>>,
    mut view: impl View,
    left: impl Future<Output = ()>,
) -> Result<collector::Outcome, Failure> {
    let interrupted = interrupted()?;
    let stop = async {
        tokio::select! {
            () = interrupted => {}
            () = left => {}
        }
    };
    collector::follow(plan, updates, &mut view, &mut tell, stop)
        .await
        .map_err(|error| match error {
            SessionError::View(error) => Failure::from(error),
            // This is handled as for any other output, and nothing else can break a pipe here.
            SessionError::Record(RecordError::Write { source, .. })
                if source.kind() == io::ErrorKind::BrokenPipe =>
            {
                Failure::BrokenPipe
            }
            error => Failure::new(error),
        })
}

/// Resolves when a signal asks the program to end.
///
/// Signals have a separate thread, because the writing thread may be blocked by a reader that
/// does not read. A second signal ends the program at once; the kernel then detaches all
/// programs.
pub(crate) fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let (asked, asks) = oneshot::channel();
    let runtime = runtime()?;
    let mut signals = {
        let _context = runtime.enter();
        [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ]
        .map(signal)
        .into_iter()
        .collect::<io::Result<Vec<Signal>>>()
        .map_err(Failure::new)?
    };
    let mut asked = Some(asked);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                future::poll_fn(|context| {
                    let mut ready = signals.iter_mut().map(|s| s.poll_recv(context).is_ready());
                    if ready.any(|ready| ready) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                let Some(asked) = asked.take() else {
                    link::end_all();
                    view::live::give_back();
                    std::process::exit(1);
                };
                // The terminal has echoed ^C, so the summary begins on that line.
                if io::stderr().is_terminal() {
                    let _: io::Result<()> = write!(io::stderr(), "\r");
                }
                // A session that is over does not need the signal.
                let _: Result<(), ()> = asked.send(());
            }
        });
    });
    Ok(async {
        let _: Result<(), _> = asks.await;
    })
}

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))
}

/// Shows where programs would be attached, and attaches nothing.
fn look(plan: &Plan, shape: Shape, utc: bool) -> Result<Outcome, Failure> {
    let mut nodes = Vec::new();
    for (place, start) in &plan.agents {
        let node = &start.node;
        if let Place::Pod(_) = place {
            tell(&link::about_pod(start));
            continue;
        }
        let netns = place.namespace().ok_or_else(|| {
            Failure::new(format!(
                "--dry-run cannot look into {node} through `{place}`: leave that agent out, or \
                 run the same with {node}=local on that node"
            ))
        })?;
        let found =
            link::look(netns, start).map_err(|error| Failure::new(format!("{node}: {error}")))?;
        nodes.push((node.clone(), found));
    }
    let mut stdout = io::stdout().lock();
    match shape {
        Shape::Json => view::plan_json(&mut stdout, plan, &nodes)?,
        // The settings refuse pcapng for a dry run.
        Shape::Live | Shape::Text | Shape::Pcapng => {
            view::plan_text(&mut stdout, &look_of_stdout(utc), plan, &nodes)?;
        }
    }
    stdout.flush()?;
    Ok(Outcome::Done)
}
