//! Waits until an agent's pod runs, and reports what the pod waits for.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, Event, Node, NodeCondition, Pod};
use kube::{Api, api::ListParams};
use tokio::time::{Instant, sleep, timeout};

use super::{CONTAINER, NAMESPACE, PodError};
use crate::{cluster::Cluster, terminal::tell};

/// How often the cluster is asked, and how long the wait is silent.
const EVERY: Duration = Duration::from_millis(200);
const SILENT: Duration = Duration::from_secs(3);

/// The time limit for a pod, which starts now.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    begun: Instant,
    wait: Duration,
}

impl Patience {
    pub(super) fn new(wait: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, wait }
    }

    fn left(&self) -> Duration {
        self.wait.saturating_sub(self.begun.elapsed())
    }

    fn late(&self, why: &str) -> PodError {
        PodError::Late {
            wait: self.wait,
            why: why.to_owned(),
        }
    }

    /// Waits for an answer for at most the remaining time; afterwards, fails with `why`.
    pub(super) async fn keep<T>(
        &self,
        answer: impl Future<Output = T>,
        why: &str,
    ) -> Result<T, PodError> {
        let answer = timeout(self.left(), answer).await;
        answer.map_err(|_| self.late(why))
    }
}

/// What is told of a pod that waits.
pub(super) struct Told<'a> {
    /// The pod's node.
    pub(super) node: &'a str,
    /// Why the node was not ready before; `None` if it was.
    pub(super) unready: Option<String>,
    /// Whether lines say what the pod waits for.
    pub(super) aloud: bool,
}

impl Told<'_> {
    fn why(&self, waits: String) -> String {
        match &self.unready {
            Some(unready) => format!("{waits}, and {} was not ready: {unready}", self.node),
            None => waits,
        }
    }
}

/// Why a node is not ready, in the cluster's words; `None` if it is.
pub(super) fn unready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    let mut not_ready = conditions.filter(|one| one.type_ == "Ready" && one.status != "True");
    let NodeCondition {
        reason, message, ..
    } = not_ready.next()?;
    let words = message.clone().or_else(|| reason.clone());
    let words = words.unwrap_or_else(|| "it does not say why".to_owned());
    Some(words.trim_end_matches('.').to_owned())
}

/// Waits for the pod of a Job, and returns the pod's name once it runs.
pub(super) async fn run(
    cluster: &Cluster,
    job: &str,
    about: &Told<'_>,
    patience: Patience,
) -> Result<String, PodError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let ours = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let mut told = String::new();
    let mut looked = patience.begun;
    let mut why = "it was not made yet".to_owned();
    loop {
        let asked = Instant::now();
        let Ok(found) = timeout(patience.left(), pods.list(&ours)).await else {
            // If the last answer came a moment ago, the server is not silent.
            let is_silent = asked.elapsed() > SILENT;
            return Err(patience.late(&match is_silent {
                true => format!("{why}, and the API server does not answer"),
                false => why,
            }));
        };
        let found = found.map_err(|error| cluster.explain(error))?;
        let pod = found.items.into_iter().next();
        let name = pod.as_ref().and_then(|pod| pod.metadata.name.clone());
        if let (Some(pod), Some(name)) = (&pod, &name) {
            match state(pod) {
                State::Runs => return Ok(name.clone()),
                State::Ended(why) => return Err(why),
                State::Waits(for_what) => why = about.why(for_what),
            }
        }
        // Events are requested less often, because there are many.
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            let object = name.as_deref().unwrap_or(job);
            let event = timeout(patience.left(), last_event(cluster, object)).await;
            if let Ok(Some(event)) = event {
                // A new namespace has no service account yet.
                let is_early = event.contains("service account");
                if pod.is_none() && event.contains("forbidden") && !is_early {
                    return Err(PodError::Admission(event));
                }
                why = format!("{why}: {event}");
            }
            if about.aloud && patience.begun.elapsed() > SILENT && why != told {
                tell(&format!("{}: its agent's pod waits: {why}", about.node));
                told.clone_from(&why);
            }
        }
        if patience.left().is_zero() {
            return Err(patience.late(&why));
        }
        sleep(EVERY).await;
    }
}

/// The state of a pod.
enum State {
    Runs,
    Ended(PodError),
    Waits(String),
}

/// Reasons of containerd and Docker if the image lacks the program.
const NO_START: &[&str] = &["StartError", "ContainerCannotRun"];

/// Reason of kubelet with CRI-O, which looks for the program earlier. kubelet tries again
/// without end.
const NO_CREATE: &str = "CreateContainerError";

/// Text of runc and crun if an image lacks a program.
const NO_PROGRAM: &str = "executable file";

fn state(pod: &Pod) -> State {
    let Some(status) = &pod.status else {
        return State::Waits("Pending".to_owned());
    };
    let phase = status.phase.as_deref().unwrap_or("Pending");
    let mut containers = status.container_statuses.iter().flatten();
    let container = containers.find(|container| container.name == CONTAINER);
    let container = container.and_then(|container| container.state.as_ref());
    let words = |reason: &Option<String>, message: &Option<String>| {
        let words = [reason, message].into_iter().flatten();
        let words: Vec<&str> = words.map(String::as_str).collect();
        if words.is_empty() {
            phase.to_owned()
        } else {
            words.join(": ")
        }
    };
    match container {
        Some(ContainerState {
            running: Some(_), ..
        }) if pod.metadata.deletion_timestamp.is_none() => State::Runs,
        Some(ContainerState {
            terminated: Some(ended),
            ..
        }) => {
            let why = words(&ended.reason, &ended.message);
            let reason = ended.reason.as_deref().unwrap_or_default();
            State::Ended(if NO_START.contains(&reason) {
                PodError::NoStart(why)
            } else {
                PodError::Ended(why)
            })
        }
        _ if matches!(phase, "Failed" | "Succeeded") => {
            State::Ended(PodError::Ended(words(&status.reason, &status.message)))
        }
        Some(ContainerState {
            waiting: Some(waiting),
            ..
        }) => {
            let why = words(&waiting.reason, &waiting.message);
            let reason = waiting.reason.as_deref();
            if reason == Some(NO_CREATE) && why.contains(NO_PROGRAM) {
                State::Ended(PodError::NoStart(why))
            } else {
                State::Waits(why)
            }
        }
        _ => State::Waits(words(&status.reason, &status.message)),
    }
}

/// The latest warning about an object. A user who may not read events waits without it.
async fn last_event(cluster: &Cluster, name: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let about = format!("involvedObject.name={name},type=Warning");
    let list = events.list(&ListParams::default().fields(&about)).await;
    let mut found = list.ok()?.items;
    found.sort_by_key(|event| event.last_timestamp.clone().map(|time| time.0));
    let last = found.pop()?;
    let words = [last.reason, last.message].into_iter().flatten();
    Some(words.collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(status: &serde_json::Value) -> String {
        let pod = serde_json::from_value(json!({"metadata": {}, "status": status}));
        match state(&pod.expect("a pod")) {
            State::Runs => "runs".to_owned(),
            State::Ended(why) => why.to_string(),
            State::Waits(why) => format!("waits: {why}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_waited_before_counts() {
        let patience = Patience::new(Duration::from_secs(60));
        sleep(Duration::from_secs(45)).await;
        let answer = patience.keep(sleep(Duration::from_secs(10)), "").await;
        assert!(answer.is_ok());
        let answer = std::future::pending::<()>();
        let late = patience.keep(answer, "exec is not answered").await;
        let late = late.expect_err("it never comes").to_string();
        assert_eq!(patience.begun.elapsed(), Duration::from_secs(60));
        assert!(late.contains("within 60 s: exec is not answered"), "{late}");
    }

    #[test]
    fn a_pod_may_wait_because_its_node_is_not_ready() {
        let why = |status: &str| {
            let stopped = "Kubelet stopped posting node status.";
            let node = serde_json::from_value(json!({
                "metadata": {"name": "node-c"},
                "status": {"conditions": [
                    {"type": "DiskPressure", "status": "False"},
                    {"type": "Ready", "status": status, "message": stopped},
                ]},
            }));
            let told = Told {
                node: "node-c",
                unready: unready(&node.expect("a node")),
                aloud: true,
            };
            told.why("Pending".to_owned())
        };
        assert_eq!(why("True"), "Pending");
        for status in ["False", "Unknown"] {
            assert_eq!(
                why(status),
                "Pending, and node-c was not ready: Kubelet stopped posting node status"
            );
        }
    }

    #[test]
    fn what_a_pod_waits_for_is_told_in_the_clusters_words() {
        assert_eq!(told(&json!({"phase": "Pending"})), "waits: Pending");
        // Containers that a webhook added come first.
        let container = |state: &serde_json::Value| {
            let status = |name: &str, state: &serde_json::Value| {
                json!({
                    "name": name, "image": "busybox", "imageID": "", "ready": false,
                    "restartCount": 0, "state": state
                })
            };
            let proxy = status("proxy", &json!({"running": {}}));
            json!({"phase": "Pending", "containerStatuses": [proxy, status("agent", state)]})
        };
        let waiting =
            json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
        assert_eq!(
            told(&container(&waiting)),
            "waits: ImagePullBackOff: no such image"
        );
        let ended =
            json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no sh"}});
        let said = told(&container(&ended));
        assert!(said.contains("StartError: no sh") && said.contains("--agent-image"));
        let create = |message: &str| {
            container(&json!({"waiting": {"reason": "CreateContainerError", "message": message}}))
        };
        for message in [
            "runc create failed: exec: \"sh\": executable file not found in $PATH",
            "crun: executable file `sh` not found in $PATH: No such file or directory",
        ] {
            let said = told(&create(message));
            assert!(said.contains("neither tracer nor a shell"), "{said}");
        }
        let said = told(&create("no space left on device"));
        assert_eq!(said, "waits: CreateContainerError: no space left on device");
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let said = told(&container(&ended));
        assert_eq!(said, "the agent's pod ended: OOMKilled");
        assert_eq!(told(&container(&json!({"running": {}}))), "runs");
        let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "memory"});
        assert_eq!(told(&evicted), "the agent's pod ended: Evicted: memory");
    }
}
