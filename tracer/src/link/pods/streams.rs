//! An agent's streams over exec. Ordinary threads wait for the streams, and bounded channels
//! connect these threads to the runtime of the session.

use std::{
    io::{self, Read, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
};

use kube::api::AttachedProcess;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    time::timeout,
};
use tracing::info;

use super::{NAMESPACE, PodError, inside::Inside};
use crate::link::wire::SILENCE;

/// Limit of chunks that wait to be read or written.
const CHUNKS: usize = 4;
const CHUNK: usize = 1 << 16;

/// Connects the waiting threads to the runtime.
pub(in crate::link) struct Streams {
    pub(in crate::link) name: String,
    /// Whether a script answers before the agent.
    pub(in crate::link) uploads: bool,
    pub(in crate::link) input: mpsc::Sender<Vec<u8>>,
    pub(in crate::link) output: mpsc::Receiver<Vec<u8>>,
    pub(in crate::link) errors: mpsc::Receiver<Vec<u8>>,
}

pub(super) type Ready = std_mpsc::Sender<Result<Streams, PodError>>;

/// Copies data in both directions, until the agent has ended or its stream broke.
pub(super) async fn converse(
    mut process: AttachedProcess,
    pod: &str,
    inside: Inside,
    ready: &Ready,
    has_begun: &AtomicBool,
) -> Option<PodError> {
    let streams = (process.stdin(), process.stdout(), process.stderr());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = streams else {
        return Some(PodError::Ended("exec gave no streams".to_owned()));
    };
    let status = process.take_status();
    let (input, mut written) = mpsc::channel::<Vec<u8>>(CHUNKS);
    let (to_output, output) = mpsc::channel(CHUNKS);
    let (to_errors, errors) = mpsc::channel(CHUNKS);
    let name = format!("kubectl exec -n {NAMESPACE} {pod}");
    let streams = Streams {
        name,
        uploads: inside.uploads(),
        input,
        output,
        errors,
    };
    drop(ready.send(Ok(streams)));
    tokio::spawn(async move {
        while let Some(bytes) = written.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
        // Dropping the stream does not close it.
        drop(stdin.shutdown().await);
    });
    let broke = async {
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        // After a status, all earlier output still comes. Without a status, no more output
        // comes.
        if status.is_some() {
            std::future::pending::<()>().await;
        }
    };
    let carried = async {
        let output = carry(stdout, to_output, || has_begun.load(Ordering::Relaxed));
        // An agent without anything to report sends nothing.
        let errors = carry(stderr, to_errors, || false);
        tokio::try_join!(output, errors)
    };
    tokio::select! {
        carried = carried => if carried.is_err() {
            info!("{pod}: nothing was heard for {} s", SILENCE.as_secs());
        },
        () = broke => {}
    }
    None
}

/// Nothing came although something had to.
#[derive(Debug, PartialEq, Eq)]
struct Silent;

/// Hands on data until the stream ends, or until nothing comes for [`SILENCE`] although
/// something had to: a dead network closes no stream. Data that the reader does not take is not
/// silence.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    to: mpsc::Sender<Vec<u8>>,
    has_to: impl Fn() -> bool,
) -> Result<(), Silent> {
    let mut bytes = vec![0; CHUNK];
    loop {
        match timeout(SILENCE, from.read(&mut bytes)).await {
            Ok(Ok(count @ 1..)) => {
                if to.send(bytes[..count].to_vec()).await.is_err() {
                    return Ok(());
                }
            }
            Ok(_) => return Ok(()),
            Err(_) if has_to() => return Err(Silent),
            Err(_) => {}
        }
    }
}

/// The agent's standard input, which closes when this is dropped.
pub(in crate::link) struct Input(pub(in crate::link) mpsc::Sender<Vec<u8>>);

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        let sent = self.0.blocking_send(chunk.to_vec());
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The agent's output.
pub(in crate::link) struct Output {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Output {
    pub(in crate::link) fn new(chunks: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            chunks,
            chunk: Vec::new(),
            read: 0,
        }
    }
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.chunk.len() {
            // The end of the channel is the end of the stream.
            self.chunk = self.chunks.blocking_recv().unwrap_or_default();
            self.read = 0;
        }
        let rest = &self.chunk[self.read..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    /// An agent that writes twice, with a pause between, and then nothing.
    async fn agent(mut stream: impl tokio::io::AsyncWrite + Unpin, apart: Duration) {
        for _ in 0..2 {
            stream.write_all(b"x").await.expect("it is read");
            sleep(apart).await;
        }
        std::future::pending::<()>().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_which_nothing_is_heard_ends() {
        let (near, far) = tokio::io::duplex(16);
        let (to, mut heard) = mpsc::channel(CHUNKS);
        let begun = Instant::now();
        let apart = SILENCE / 2;
        let carried = tokio::select! {
            carried = carry(near, to, || true) => carried,
            () = agent(far, apart) => unreachable!("it never ends"),
        };
        assert_eq!(carried, Err(Silent));
        assert_eq!(begun.elapsed(), apart + SILENCE);
        assert_eq!(heard.recv().await.as_deref(), Some(&b"x"[..]));
        assert_eq!(heard.recv().await.as_deref(), Some(&b"x"[..]));
        assert_eq!(heard.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_before_an_agent_has_begun_is_none() {
        // Old verifiers are slow.
        let (near, far) = tokio::io::duplex(16);
        let (to, mut heard) = mpsc::channel(1);
        let has_begun = AtomicBool::new(false);
        let apart = 5 * SILENCE;
        let begins = async {
            heard.recv().await;
            heard.recv().await;
            has_begun.store(true, Ordering::Relaxed);
        };
        let carried = async {
            tokio::select! {
                carried = carry(near, to, || has_begun.load(Ordering::Relaxed)) => carried,
                () = agent(far, apart) => unreachable!("it never ends"),
            }
        };
        let begun = Instant::now();
        let (carried, ()) = tokio::join!(carried, begins);
        assert_eq!(carried, Err(Silent));
        assert_eq!(begun.elapsed(), apart + SILENCE);
    }
}
