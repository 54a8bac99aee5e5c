//! Agents in pods: one for each node, created when a follow begins and removed when it ends.
//!
//! Each pod belongs to a Job, so that Kubernetes removes pods that are left over. The pod's own
//! process waits for the agent, which comes by exec, and ends with it. The image has the
//! program, or a shell that receives it on standard input (`inside`). The agent ends with its
//! stream. So a killed follow leaves a pod for some seconds, and a Job no longer than its pod.
//! The next follow removes Jobs whose pods never came to run, once their follows have given up.

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

pub use self::{job::about as about_pod, refused::PodError};
pub(super) use self::{
    session::{Session, end_all, start},
    streams::{Input, Output},
};
use super::Needed;
use crate::cluster::{Access, Cluster, ClusterError, Place};

/// Namespace of agents' pods.
const NAMESPACE: &str = "tracer-agents";

/// Container of the agent. Webhooks may add others to the pod.
const CONTAINER: &str = "agent";

/// How long a follow waits for an agent's pod.
const WAIT: Duration = Duration::from_secs(60);

/// How long the API server has to answer. Without a limit, a server that accepts a connection
/// and then stays silent would block the follow.
const ANSWER: Duration = Duration::from_secs(30);

/// Settings for agents' pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pods {
    /// Cluster and user.
    pub access: Access,
    /// An image with tracer or a shell; `None`: a well-known one that the node has.
    pub image: Option<String>,
    /// How long pods may take until they run.
    pub wait: Duration,
    /// Whether lines tell what a pod waits for.
    pub tells: bool,
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            access: Access::default(),
            image: None,
            wait: WAIT,
            tells: true,
        }
    }
}

impl Pods {
    /// Checks that these nodes, or any of them, can have agents, before anything is created in the
    /// cluster. Removes Jobs that earlier follows left.
    ///
    /// # Errors
    /// [`PodError`] of the first node that cannot have an agent.
    pub(super) async fn prepare(&self, nodes: &[&str], needed: Needed) -> Result<(), PodError> {
        // Logging in may involve a person, who takes longer.
        let cluster = self.access.connect().await?;
        let prepared = async {
            rights::check(&cluster).await?;
            self.check_nodes(&cluster, nodes, needed).await?;
            make_namespace(&cluster).await?;
            tidy::run(&cluster).await
        };
        answered(&cluster.place, prepared).await
    }

    /// Checks that these nodes, or any of them, can have agents.
    async fn check_nodes(
        &self,
        cluster: &Cluster,
        nodes: &[&str],
        needed: Needed,
    ) -> Result<(), PodError> {
        let (mut fits, mut unfit) = (false, None);
        for node in nodes {
            let found = self.node(cluster, node).await;
            match found.and_then(|found| self.choose(node, &found)) {
                Ok(_) => fits = true,
                Err(error) if needed == Needed::All => return Err(error),
                Err(error) => unfit = unfit.or(Some(error)),
            }
        }
        unfit.filter(|_| !fits).map_or(Ok(()), Err)
    }

    async fn node(&self, cluster: &Cluster, name: &str) -> Result<Node, PodError> {
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let found = nodes.get(name).await;
        found.map_err(|error| cluster.explain(error).into())
    }

    /// The image for a node, and its pull policy.
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

/// Waits for an API server's answer, at most [`ANSWER`].
async fn answered<T>(
    place: &Place,
    work: impl Future<Output = Result<T, PodError>>,
) -> Result<T, PodError> {
    let answer = timeout(ANSWER, work).await;
    answer.unwrap_or_else(|_| Err(silent(place)))
}

/// The error for a server that does not answer.
fn silent(place: &Place) -> PodError {
    let unreachable = ClusterError::Unreachable {
        server: place.server.clone(),
        why: format!("no answer within {} s", ANSWER.as_secs()),
        origin: place.source.clone(),
    };
    unreachable.into()
}

/// Creates the namespace for agents' pods if it does not exist.
async fn make_namespace(cluster: &Cluster) -> Result<(), PodError> {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    match namespaces.get_opt(NAMESPACE).await {
        Ok(None) => {}
        // A user who may not read namespaces relies on an operator to have created it.
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
        // Another follow created it first.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(cluster.explain(error).into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future;

    use serde_json::json;

    use super::*;
    use crate::cluster::fake::{Answer, Fake};

    /// A cluster in which `node-a` has an image with a shell, and the others have none.
    async fn check(nodes: &[&str], needed: Needed) -> Option<String> {
        let fake = Fake::start(|path| {
            let image = json!({"names": ["docker.io/library/busybox:1"]});
            let is_fit = path.ends_with("/node-a");
            let images = if is_fit { vec![image] } else { Vec::new() };
            Answer::Object(json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": "a node"},
                "status": {"images": images},
            }))
        });
        let (pods, cluster) = (Pods::default(), fake.cluster());
        let checked = pods.check_nodes(&cluster, nodes, needed).await;
        checked.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_node_without_a_shell_stops_only_those_who_need_it() {
        let (both, none) = (["node-b", "node-a"], ["node-b", "node-c"]);
        assert_eq!(check(&both, Needed::Any).await, None);
        for said in [
            check(&both, Needed::All).await,
            check(&none, Needed::Any).await,
        ] {
            let said = said.expect("a node does not fit");
            assert!(said.starts_with("node-b has no image"), "{said}");
        }
    }

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
