//! What an agent says and hears by exec. What waits for its streams are ordinary threads,
//! which bounded channels join to the runtime of its session.

use std::{
    io::{self, Read, Write},
    sync::mpsc as std_mpsc,
};

use kube::api::AttachedProcess;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{NAMESPACE, PodError};
use crate::link::RemoteError;

/// Chunks that may wait to be read or written.
const CHUNKS: usize = 4;
const CHUNK: usize = 1 << 16;

/// What joins the threads that wait to the runtime.
pub(super) struct Streams {
    pub(super) name: String,
    pub(super) input: mpsc::Sender<Vec<u8>>,
    pub(super) output: mpsc::Receiver<Vec<u8>>,
    pub(super) errors: mpsc::Receiver<Vec<u8>>,
}

pub(super) type Ready = std_mpsc::Sender<Result<Streams, RemoteError>>;

/// Carries what is said in both directions, until the agent has ended or its stream broke.
pub(super) async fn converse(
    mut process: AttachedProcess,
    pod: &str,
    ready: &Ready,
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
        // What is dropped is not closed.
        drop(stdin.shutdown().await);
    });
    let broke = async {
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        // After a status all comes that was said before. Without one nothing does.
        if status.is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(carry(stdout, to_output), carry(stderr, to_errors)) } => {}
        () = broke => {}
    }
    None
}

/// Hands on what comes.
async fn carry(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Vec<u8>>) {
    let mut bytes = vec![0; CHUNK];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if to.send(bytes[..count].to_vec()).await.is_err() {
            return;
        }
    }
}

/// The agent's standard input; it closes when this is dropped.
pub(super) struct Input(pub(super) mpsc::Sender<Vec<u8>>);

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

/// What comes from the agent.
pub(super) struct Output {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Output {
    pub(super) fn new(chunks: mpsc::Receiver<Vec<u8>>) -> Self {
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
