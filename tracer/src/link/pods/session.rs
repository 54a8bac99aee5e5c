//! One agent in one pod, from the Job to the streams of its exec, and to the Job's end.
//!
//! A client works in the runtime that made it, so each agent has a thread with one. What
//! waits for its streams are ordinary threads, which bounded channels join to it.

use std::{
    io::{self, Read, Write},
    sync::{
        Arc, Condvar, Mutex,
        mpsc::{self as std_mpsc},
    },
    thread,
    time::{Duration, SystemTime},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess, DeleteParams, PostParams},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Notify, mpsc},
    time::timeout,
};
use tracer_core::request::Start;
use tracing::{info, warn};

use super::{CONTAINER, NAMESPACE, PodError, Pods, job::Wanted, wait};
use crate::{
    cluster::Cluster,
    link::{RemoteError, lock, upload, way},
};

/// Bytes that may be on their way in each direction. kube's default is 1 KiB.
const BUFFER: usize = 1 << 20;

/// Chunks that may wait to be read or written.
const CHUNKS: usize = 4;
const CHUNK: usize = 1 << 16;

/// How long a cluster has to take a Job back. Without that, the Job ends with its pod.
const REMOVAL: Duration = Duration::from_secs(3);

/// Sessions whose Jobs may still be in the cluster.
static OPEN: Mutex<Vec<Session>> = Mutex::new(Vec::new());

/// An agent's session with its pod.
#[derive(Clone)]
pub(in crate::link) struct Session(Arc<Shared>);

struct Shared {
    stop: Notify,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Session {
    /// Waits until it has ended by itself.
    pub(in crate::link) fn wait(&self, limit: Duration) {
        let ended = lock(&self.0.ended);
        drop(self.0.end.wait_timeout_while(ended, limit, |ended| !*ended));
    }

    /// Ends it, and takes the Job back.
    pub(in crate::link) fn end(&self) {
        self.0.stop.notify_one();
        self.wait(REMOVAL);
    }
}

/// Ends all sessions that are left, before this process ends.
pub(in crate::link) fn end_all() {
    let open = std::mem::take(&mut *lock(&OPEN));
    for session in &open {
        session.0.stop.notify_one();
    }
    for session in open {
        session.wait(REMOVAL);
    }
}

/// Makes an agent's pod, and execs into it.
///
/// # Errors
/// [`RemoteError::Pod`]; the Job is gone then.
pub(in crate::link) fn start(pods: &Pods, start: &Start) -> Result<way::Way, RemoteError> {
    let session = Session(Arc::new(Shared {
        stop: Notify::new(),
        ended: Mutex::new(false),
        end: Condvar::new(),
    }));
    lock(&OPEN).push(session.clone());
    let (ready, opened) = std_mpsc::channel();
    let (pods, start, inside) = (pods.clone(), start.clone(), session.clone());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(&pods, &start, &inside, &ready)),
            Err(error) => drop(ready.send(Err(RemoteError::Upload { source: error }))),
        }
        lock(&OPEN).retain(|open| !Arc::ptr_eq(&open.0, &inside.0));
        *lock(&inside.0.ended) = true;
        inside.0.end.notify_all();
    });
    let streams = opened.recv();
    let streams = streams.unwrap_or(Err(RemoteError::Wrong("nobody made its pod")))?;
    Ok(way::Way {
        name: streams.name,
        uploads: true,
        input: Box::new(Input(streams.input)),
        output: Box::new(Output::new(streams.output)),
        errors: Box::new(Output::new(streams.errors)),
        end: way::End::Pod(session),
    })
}

/// What joins the threads that wait to the runtime.
struct Streams {
    name: String,
    input: mpsc::Sender<Vec<u8>>,
    output: mpsc::Receiver<Vec<u8>>,
    errors: mpsc::Receiver<Vec<u8>>,
}

type Ready = std_mpsc::Sender<Result<Streams, RemoteError>>;

/// From the Job's making to its removal.
async fn run(pods: &Pods, start: &Start, session: &Session, ready: &Ready) {
    let made = tokio::select! {
        made = make(pods, start) => made,
        () = session.0.stop.notified() => return,
    };
    let (cluster, name) = match made {
        Ok(made) => made,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let follow = async {
        match open(&cluster, &name, start, pods).await {
            Ok((pod, process)) => converse(process, &pod, ready).await,
            Err(error) => Some(error),
        }
    };
    let failed = tokio::select! {
        failed = follow => failed,
        () = session.0.stop.notified() => None,
    };
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let how = DeleteParams::background();
    match timeout(REMOVAL, jobs.delete(&name, &how)).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
        Ok(Err(error)) => warn!(
            "{}: the Job {name} is left: {}",
            start.node,
            cluster.explain(error)
        ),
        Err(_) => warn!(
            "{}: the Job {name} is left: the API server does not answer",
            start.node
        ),
    }
    if let Some(error) = failed {
        drop(ready.send(Err(error.into())));
    }
}

/// Makes the Job.
async fn make(pods: &Pods, start: &Start) -> Result<(Cluster, String), PodError> {
    let cluster = pods.access.connect().await?;
    let node = pods.node(&cluster, &start.node).await?;
    let (image, pull) = pods.choose(&start.node, &node)?;
    let mut random = [0; 5];
    // A name that is taken is refused by the cluster.
    getrandom::fill(&mut random).unwrap_or_default();
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("tracer-{random}");
    let info = node.status.and_then(|status| status.node_info);
    let wanted = Wanted {
        name: &name,
        start,
        image: &image,
        pull,
        kernel: &info.unwrap_or_default().kernel_version,
        wait: pods.wait,
    };
    info!("{}: making the Job {name} of {image}", start.node);
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let job = wanted.job(SystemTime::now());
    match jobs.create(&PostParams::default(), &job).await {
        Ok(_) => Ok((cluster, name)),
        Err(error) => Err(refusal(&cluster, error)),
    }
}

/// Why a Job was not made.
fn refusal(cluster: &Cluster, error: kube::Error) -> PodError {
    match &error {
        // Rights are there: it is the object that is refused.
        kube::Error::Api(status) if matches!(status.code, 403 | 422) => {
            PodError::Admission(status.message.clone())
        }
        // Who may not look for the namespace learns of it here.
        kube::Error::Api(status) if status.code == 404 => PodError::NoNamespace,
        _ => cluster.explain(error).into(),
    }
}

/// Waits for the pod, and begins the script that becomes the agent.
async fn open(
    cluster: &Cluster,
    job: &str,
    start: &Start,
    wanted: &Pods,
) -> Result<(String, AttachedProcess), PodError> {
    let name = wait::run(cluster, job, &start.node, wanted.wait).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let params = AttachParams {
        container: Some(CONTAINER.to_owned()),
        stdin: true,
        max_stdin_buf_size: Some(BUFFER),
        max_stdout_buf_size: Some(BUFFER),
        ..AttachParams::default()
    };
    let script = upload::script_for_pod(wanted.image.is_some());
    let process = pods.exec(&name, ["sh", "-c", &script], &params).await;
    let process = process.map_err(|error| PodError::Exec(cluster.explain(error)))?;
    Ok((name, process))
}

/// Carries what is said in both directions, until the agent has ended or its stream broke.
async fn converse(mut process: AttachedProcess, pod: &str, ready: &Ready) -> Option<PodError> {
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
struct Input(mpsc::Sender<Vec<u8>>);

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
struct Output {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Output {
    fn new(chunks: mpsc::Receiver<Vec<u8>>) -> Self {
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
