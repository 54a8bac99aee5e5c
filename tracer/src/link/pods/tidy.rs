//! Removes Jobs that earlier follows left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use tracing::info;

use super::{CONTAINER, NAMESPACE, PodError, job};
use crate::cluster::Cluster;

/// How far this machine's clock may differ from the cluster's.
const CLOCKS: Duration = Duration::from_secs(120);

/// Removes Jobs whose pods did not run in time, so that their follows have given up. Running
/// Jobs end by themselves.
pub(super) async fn run(cluster: &Cluster) -> Result<(), PodError> {
    let ours = ListParams::default().labels(job::SELECTOR);
    let jobs: Api<Job> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let listed = jobs.list(&ours).await;
    let mut left = listed.map_err(|error| cluster.explain(error))?.items;
    let now = SystemTime::now();
    left.retain(|job| is_given_up(job, now));
    if left.is_empty() {
        return Ok(());
    }
    // This list has pods that came to run in the meantime.
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let pods = pods.list(&ours).await;
    let pods = pods.map_err(|error| cluster.explain(error))?.items;
    left.retain(|job| !has_agent(job, &pods));
    for left in left {
        let name = left.metadata.name.unwrap_or_default();
        info!("removing the Job {name}, which nobody waits for any more");
        match jobs.delete(&name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(cluster.explain(error).into()),
        }
    }
    Ok(())
}

/// Whether a Job does not run, and its follow no longer waits for it.
fn is_given_up(job: &Job, now: SystemTime) -> bool {
    let annotations = job.metadata.annotations.as_ref();
    let waits = annotations.and_then(|all| all.get(job::WAITS)?.parse::<u64>().ok());
    // The cluster's clock is the same for all follows.
    let made = job.metadata.creation_timestamp.as_ref();
    let (Some(waits), Some(made)) = (waits, made) else {
        // The Job is not tracer's.
        return false;
    };
    let made = u64::try_from(made.0.as_second()).unwrap_or(0);
    let until = made.saturating_add(waits).saturating_add(CLOCKS.as_secs());
    let now = now.duration_since(UNIX_EPOCH);
    // If the status has no count of pods, one may run.
    let ready = job.status.as_ref().and_then(|status| status.ready);
    ready == Some(0) && now.is_ok_and(|now| until < now.as_secs())
}

/// Whether one of these pods belongs to the Job, and its agent's container has started and not
/// ended. On a node that the cluster cannot reach, no pod is ready, but agents continue.
fn has_agent(job: &Job, pods: &[Pod]) -> bool {
    let is_of = |pod: &&Pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
    };
    pods.iter().filter(is_of).any(|pod| {
        let Some(status) = &pod.status else {
            return false;
        };
        let mut containers = status.container_statuses.iter().flatten();
        let agent = containers.find(|container| container.name == CONTAINER);
        match agent.and_then(|agent| agent.state.as_ref()) {
            Some(state) => state.running.is_some(),
            None => matches!(status.phase.as_deref(), Some("Running" | "Unknown")),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Job that was made at 1000 s.
    fn job(waits: Option<&str>, status: &Value) -> Job {
        let annotations = waits.map(|waits| json!({job::WAITS: waits}));
        serde_json::from_value(json!({
            "metadata": {
                "uid": "a", "creationTimestamp": "1970-01-01T00:16:40Z",
                "annotations": annotations,
            },
            "status": status,
        }))
        .expect("a Job")
    }

    #[test]
    fn what_is_waited_for_or_may_run_is_left_alone() {
        let after = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let idle = json!({"ready": 0});
        let waits = job(Some("60"), &idle);
        assert!(!is_given_up(&waits, after(1060 + 120)));
        assert!(is_given_up(&waits, after(1060 + 121)));
        let longest = u64::MAX.to_string();
        assert!(!is_given_up(&job(Some(&longest), &idle), after(9999)));
        for status in [json!({"ready": 1}), json!({"active": 1}), json!(null)] {
            let uncounted = job(Some("60"), &status);
            assert!(!is_given_up(&uncounted, after(9999)), "{status}");
        }
        // A pod of another Job.
        assert!(!is_given_up(&job(None, &idle), after(9999)));
    }

    #[test]
    fn a_container_that_has_started_and_not_ended_is_an_agents() {
        let pod = |owner: &str, status: Value| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"ownerReferences": [{
                    "apiVersion": "batch/v1", "kind": "Job", "name": "any", "uid": owner,
                }]},
                "status": status,
            }))
            .expect("a pod")
        };
        let container = |name: &str, state: Value| {
            json!({"phase": "Running", "containerStatuses": [{
                "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state,
            }]})
        };
        let running = json!({"running": {}});
        let job = job(Some("60"), &json!({"ready": 0}));
        for (has, owner, status) in [
            // The cluster may not reach its node, where no pod counts as ready then.
            (true, "a", container(CONTAINER, running.clone())),
            (false, "b", container(CONTAINER, running.clone())),
            (true, "a", json!({"phase": "Unknown"})),
            (true, "a", container("proxy", running)),
            (false, "a", json!({"phase": "Pending"})),
            (
                false,
                "a",
                container(
                    CONTAINER,
                    json!({"waiting": {"reason": "ImagePullBackOff"}}),
                ),
            ),
            (
                false,
                "a",
                container(CONTAINER, json!({"terminated": {"exitCode": 0}})),
            ),
        ] {
            let pods = [pod(owner, status.clone())];
            assert_eq!(has_agent(&job, &pods), has, "{status}");
        }
        assert!(!has_agent(&job, &[]));
    }
}
