//! Why a node cannot have an agent's pod.

use super::NAMESPACE;
use crate::cluster::ClusterError;

/// Why an agent's pod cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The API server is not available, or refuses.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The user lacks rights.
    #[error(
        "agents as pods need rights that this user does not have: {}; deploy/user.yaml and \
         deploy/agents.yaml have all of them",
        .0.join(", ")
    )]
    Rights(Vec<String>),
    /// The namespace is missing, and the user may not create it.
    #[error(
        "the namespace {NAMESPACE} is missing, and this user may not make it: an operator runs \
         `kubectl apply -f deploy/agents.yaml`"
    )]
    NoNamespace,
    /// No image on the node is from a known repository.
    #[error(
        "{0} has no image of a repository that is known to have a shell and to be trusted, which \
         the agent's pod needs: name one with --agent-image, such as docker.io/library/busybox:1"
    )]
    NoShell(String),
    /// The node does not accept pods that see their host.
    #[error(
        "{0} is a virtual node ({1}), which takes no pod that sees its host: reach its machine \
         by --agent {0}=exec:COMMAND, or leave it out"
    )]
    Virtual(String, &'static str),
    /// Admission control refuses the pod.
    #[error(
        "the cluster refuses the agent's pod: {0}; an operator has to allow it in the namespace \
         {NAMESPACE} (deploy/agents.yaml has the label that PodSecurity wants)"
    )]
    Admission(String),
    /// The pod ended too early.
    #[error("the agent's pod ended: {0}")]
    Ended(String),
    /// The image does not have the program to start.
    #[error(
        "the agent's pod cannot start ({0}): its image seems to have neither tracer nor a shell, \
         so name another image with --agent-image"
    )]
    NoStart(String),
    /// This process is ending, so nobody would end the pod.
    #[error("tracer is ending, and makes no more agents' pods")]
    Closed,
    /// The pod did not run in time.
    #[error("the agent's pod did not run within {} s: {why}; --wait waits longer", wait.as_secs())]
    Late {
        /// How long the follow waited for it.
        wait: std::time::Duration,
        /// What the pod waits for.
        why: String,
    },
    /// Exec into the pod failed.
    #[error("exec into the agent's pod fails: {0}")]
    Exec(ClusterError),
    /// The session's runtime cannot be made.
    #[error("cannot copy tracer to the node: {0}")]
    Runtime(std::io::Error),
    /// The session's thread ended before there was a pod.
    #[error("the peer is not a tracer agent: nobody made its pod")]
    Unmade,
}
