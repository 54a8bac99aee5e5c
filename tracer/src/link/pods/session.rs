//! A session: one agent in one pod, from the Job and the streams of its exec to the Job's
//! removal.
//!
//! A client works only in the runtime that created it, so each agent has a thread with a
//! runtime.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess, DeleteParams, PostParams},
};
use tokio::{sync::Notify, time::timeout};
use tracer_core::request::Start;
use tracing::{info, warn};

use super::{
    CONTAINER, NAMESPACE, PodError, Pods,
    inside::{self, Inside},
    job::Wanted,
    settle::{IN_FLIGHT, Settled, may_be_there, settle},
    streams::{Ready, Streams, converse},
    wait::{self, Patience, Told},
};
use crate::{cluster::Cluster, link::lock};

/// Buffer in each direction, bytes. kube's default is 1 KiB.
const BUFFER: usize = 1 << 20;

/// How long the removal of a Job may take. Otherwise, the Job ends with its pod.
const REMOVAL: Duration = Duration::from_secs(3);

/// Sessions whose Jobs may still be in the cluster.
static OPEN: Mutex<Open> = Mutex::new(Open::new());

struct Open {
    sessions: Vec<Session>,
    /// Whether this process is ending, so that nobody would end another session.
    closed: bool,
}

impl Open {
    const fn new() -> Self {
        Self {
            sessions: Vec::new(),
            closed: false,
        }
    }

    /// Adds a session, unless this process is ending.
    fn add(&mut self, session: &Session) -> Result<(), PodError> {
        if self.closed {
            return Err(PodError::Closed);
        }
        self.sessions.push(session.clone());
        Ok(())
    }

    fn remove(&mut self, session: &Session) {
        self.sessions
            .retain(|open| !Arc::ptr_eq(&open.0, &session.0));
    }

    /// Returns all open sessions, and accepts no more.
    fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        std::mem::take(&mut self.sessions)
    }
}

/// An agent's session with its pod.
#[derive(Clone)]
pub(in crate::link) struct Session(Arc<Shared>);

struct Shared {
    stop: Notify,
    /// Whether the agent answers. From then on, answers about its clock come every few seconds.
    has_begun: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Session {
    fn new() -> Self {
        Self(Arc::new(Shared {
            stop: Notify::new(),
            has_begun: AtomicBool::new(false),
            ended: Mutex::new(false),
            end: Condvar::new(),
        }))
    }

    /// From now on, silence of the agent ends the session.
    pub(in crate::link) fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// Waits until the session has ended by itself.
    pub(in crate::link) fn wait(&self, limit: Duration) {
        let ended = lock(&self.0.ended);
        drop(self.0.end.wait_timeout_while(ended, limit, |ended| !*ended));
    }

    /// Ends the session, and removes its Job.
    pub(in crate::link) fn end(&self) {
        self.0.stop.notify_one();
        self.wait(IN_FLIGHT + REMOVAL);
    }
}

/// Ends all open sessions, before this process ends.
pub(in crate::link) fn end_all() {
    let open = lock(&OPEN).close();
    for session in &open {
        session.0.stop.notify_one();
    }
    for session in open {
        session.wait(IN_FLIGHT + REMOVAL);
    }
}

/// Creates an agent's pod, and runs the agent by exec.
///
/// # Errors
/// [`PodError`]; then the Job is removed.
pub(in crate::link) fn start(pods: &Pods, start: &Start) -> Result<(Session, Streams), PodError> {
    let session = Session::new();
    lock(&OPEN).add(&session)?;
    let (ready, opened) = mpsc::channel();
    let (pods, start, inside) = (pods.clone(), start.clone(), session.clone());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(run(&pods, &start, &inside, &ready)),
            Err(error) => drop(ready.send(Err(PodError::Runtime(error)))),
        }
        lock(&OPEN).remove(&inside);
        *lock(&inside.0.ended) = true;
        inside.0.end.notify_all();
    });
    let streams = opened.recv();
    let streams = streams.unwrap_or(Err(PodError::Unmade))?;
    Ok((session, streams))
}

/// Runs a session, from the creation of the first Job to the removal of the last.
async fn run(pods: &Pods, start: &Start, session: &Session, ready: &Ready) {
    let mut failed = None;
    for &inside in inside::guesses(pods.image.as_deref()) {
        failed = run_job(pods, start, inside, session, ready).await;
        if !matches!(failed, Some(PodError::NoStart(_))) {
            break;
        }
        info!("{}: the image does not have {}", start.node, inside.name());
    }
    if let Some(error) = failed {
        drop(ready.send(Err(error)));
    }
}

/// Runs one Job, from its creation to its removal. Returns why it failed.
async fn run_job(
    pods: &Pods,
    start: &Start,
    inside: Inside,
    session: &Session,
    ready: &Ready,
) -> Option<PodError> {
    let stop = &session.0.stop;
    // The cluster refuses a name that is in use.
    let mut random = [0; 5];
    getrandom::fill(&mut random).unwrap_or_default();
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("tracer-{random}");
    let planned = tokio::select! {
        planned = plan(pods, start, inside, &name) => planned,
        () = stop.notified() => return None,
    };
    let Planned {
        cluster,
        job,
        unready,
    } = match planned {
        Ok(planned) => planned,
        Err(error) => return Some(error),
    };
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let how = PostParams::default();
    let Settled { answer, stopped } = settle(jobs.create(&how, &job), stop).await;
    let is_left = may_be_there(answer.as_ref());
    let failed = match answer {
        _ if stopped => None,
        None => Some(super::silent(&cluster.place)),
        Some(Err(error)) => Some(refusal(&cluster, error)),
        Some(Ok(_)) => {
            let follow = async {
                match open(&cluster, &name, start, inside, pods, unready).await {
                    Ok((pod, process)) => {
                        converse(process, &pod, inside, ready, &session.0.has_begun).await
                    }
                    Err(error) => Some(error),
                }
            };
            tokio::select! {
                failed = follow => failed,
                () = stop.notified() => None,
            }
        }
    };
    if is_left {
        remove(&cluster, &jobs, &name, &start.node).await;
    }
    failed
}

/// Removes a Job.
async fn remove(cluster: &Cluster, jobs: &Api<Job>, name: &str, node: &str) {
    let why = match timeout(REMOVAL, jobs.delete(name, &DeleteParams::background())).await {
        Ok(Ok(_)) => return,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return,
        Ok(Err(error)) => cluster.explain(error).to_string(),
        Err(_) => "the API server does not answer".to_owned(),
    };
    warn!("{node}: the Job {name} is left: {why}");
}

/// What is to be created, and where.
struct Planned {
    cluster: Cluster,
    job: Job,
    /// Why the node is not ready; `None` if it is.
    unready: Option<String>,
}

/// Chooses what to create.
async fn plan(pods: &Pods, start: &Start, inside: Inside, name: &str) -> Result<Planned, PodError> {
    let cluster = pods.access.connect().await?;
    let node = super::answered(&cluster.place, pods.node(&cluster, &start.node)).await?;
    let (image, pull) = pods.choose(&start.node, &node)?;
    let unready = wait::unready(&node);
    let info = node.status.and_then(|status| status.node_info);
    let wanted = Wanted {
        name,
        start,
        image: &image,
        inside,
        pull,
        kernel: &info.unwrap_or_default().kernel_version,
        wait: pods.wait,
    };
    info!(
        "{}: making the Job {name} of {image} with {}",
        start.node,
        inside.name()
    );
    let job = wanted.job();
    Ok(Planned {
        cluster,
        job,
        unready,
    })
}

/// Why the Job was not created.
fn refusal(cluster: &Cluster, error: kube::Error) -> PodError {
    match &error {
        // The user has the rights, so the cluster refuses the object itself.
        kube::Error::Api(status) if matches!(status.code, 403 | 422) => {
            PodError::Admission(status.message.clone())
        }
        // A user who may not read namespaces learns here that it is missing.
        kube::Error::Api(status) if status.code == 404 => PodError::NoNamespace,
        _ => cluster.explain(error).into(),
    }
}

/// Waits for the pod, and starts the agent in it.
async fn open(
    cluster: &Cluster,
    job: &str,
    start: &Start,
    inside: Inside,
    wanted: &Pods,
    unready: Option<String>,
) -> Result<(String, AttachedProcess), PodError> {
    let patience = Patience::new(wanted.wait);
    let told = Told {
        node: &start.node,
        unready,
        aloud: wanted.tells,
    };
    let name = wait::run(cluster, job, &told, patience).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let params = AttachParams {
        container: Some(CONTAINER.to_owned()),
        stdin: true,
        max_stdin_buf_size: Some(BUFFER),
        max_stdout_buf_size: Some(BUFFER),
        ..AttachParams::default()
    };
    let command = inside.agent(wanted.image.is_some());
    let process = pods.exec(&name, command, &params);
    let process = patience.keep(process, "exec is not answered").await?;
    let process = process.map_err(|error| PodError::Exec(cluster.explain(error)))?;
    Ok((name, process))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_session_begins_once_all_are_ended() {
        let (mut open, session) = (Open::new(), Session::new());
        open.add(&session).expect("nothing ends yet");
        open.add(&Session::new()).expect("nothing ends yet");
        open.remove(&session);
        assert_eq!(open.close().len(), 1);
        assert!(matches!(open.add(&session), Err(PodError::Closed)));
        assert!(open.close().is_empty());
    }
}
