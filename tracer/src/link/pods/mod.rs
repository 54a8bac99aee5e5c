//! Agents in pods: one for each node, made when a follow begins and gone when it ends.
//!
//! A Job holds each pod, so that Kubernetes removes what nobody else does. The pod's own
//! process waits for the agent, which comes by exec, and ends with it. The image has the
//! program, or a shell that takes it from its standard input (`inside`). The agent ends with its stream. So a follow that is killed leaves a
//! pod for some seconds, and a Job no longer than its pod. What never came to run is removed
//! by the next follow, once whoever made it has given up.

mod image;
mod inside;
mod job;
mod refused;
mod rights;
mod session;
mod settle;
mod streams;
mod tidy;
mod wait;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{Api, api::PostParams};
use tokio::time::timeout;
use tracing::info;

pub(super) use self::session::{Session, end_all, start};
pub use self::{job::about as about_pod, refused::PodError};
use crate::cluster::{Access, Cluster, ClusterError, Place};

/// Where agents' pods are.
const NAMESPACE: &str = "tracer-agents";

/// The container that an agent comes to. Webhooks may add others to its pod.
const CONTAINER: &str = "agent";

/// How long an agent's pod is waited for.
const WAIT: Duration = Duration::from_secs(60);

/// How long the API server has to answer. One that takes a connection and then says nothing
/// would be waited for without end.
const ANSWER: Duration = Duration::from_secs(30);

/// How agents' pods are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Which cluster, and as whom.
    pub access: Access,
    /// An image with tracer or a shell, if it is not to be a well-known one that the node has.
    pub image: Option<String>,
    /// How long they may take to run.
    pub wait: Duration,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            access: Access::default(),
            image: None,
            wait: WAIT,
        }
    }
}

impl Pods {
    /// Makes sure that these nodes can have agents, before anything is made in the cluster,
    /// and removes what follows before have left.
    ///
    /// # Errors
    /// [`PodError`].
    pub(super) async fn prepare(&self, nodes: &[&str]) -> Result<(), PodError> {
        // This may ask a person to log in, who takes longer.
        let cluster = self.access.connect().await?;
        let prepared = async {
            rights::check(&cluster).await?;
            for node in nodes {
                let found = self.node(&cluster, node).await?;
                self.choose(node, &found)?;
            }
            make_namespace(&cluster).await?;
            tidy::run(&cluster).await
        };
        answered(&cluster.place, prepared).await
    }

    async fn node(&self, cluster: &Cluster, name: &str) -> Result<Node, PodError> {
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let found = nodes.get(name).await;
        found.map_err(|error| cluster.explain(error).into())
    }

    /// The image for a node, and whether it may have to be pulled.
    fn choose(&self, name: &str, node: &Node) -> Result<(String, &'static str), PodError> {
        image::check(name, node)?;
        match &self.image {
            Some(image) => Ok((image.clone(), "IfNotPresent")),
            None => match image::of(node) {
                Some(image) => Ok((image, "Never")),
                None => Err(PodError::NoShell(name.to_owned())),
            },
        }
    }
}

/// Gives an API server no longer than [`ANSWER`].
async fn answered<T>(
    place: &Place,
    work: impl Future<Output = Result<T, PodError>>,
) -> Result<T, PodError> {
    let answer = timeout(ANSWER, work).await;
    answer.unwrap_or_else(|_| Err(silent(place)))
}

/// What is said of a server that does not answer.
fn silent(place: &Place) -> PodError {
    let unreachable = ClusterError::Unreachable {
        server: place.server.clone(),
        why: format!("no answer within {} s", ANSWER.as_secs()),
        origin: place.source.clone(),
    };
    unreachable.into()
}

/// Makes the namespace for agents' pods where there is none.
async fn make_namespace(cluster: &Cluster) -> Result<(), PodError> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    match namespaces.get_opt(NAMESPACE).await {
        Ok(None) => {}
        // Who may not look makes pods where an operator has made room.
        Ok(Some(_)) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 403 => return Ok(()),
        Err(error) => return Err(cluster.explain(error).into()),
    }
    rights::check_namespaces(cluster).await?;
    info!("making the namespace {NAMESPACE}");
    let made = namespaces
        .create(&PostParams::default(), &job::namespace())
        .await;
    match made {
        Ok(_) => {}
        // Another follow was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(cluster.explain(error).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
        let place = Place {
            server: "https://10.0.0.1:6443".to_owned(),
            source: "context a".to_owned(),
            command: None,
        };
        let begun = tokio::time::Instant::now();
        let work = future::pending::<Result<(), PodError>>();
        let error = answered(&place, work).await.expect_err("nothing was said");
        assert_eq!(begun.elapsed(), ANSWER);
        let said = error.to_string();
        assert!(
            said.contains("https://10.0.0.1:6443") && said.contains("within 30 s"),
            "{said}"
        );
    }
}
