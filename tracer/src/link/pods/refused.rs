//! Why a node cannot have an agent's pod.

use super::NAMESPACE;
use crate::cluster::ClusterError;

/// Why an agent's pod cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// The API server is not there, or does not want to.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Something is not allowed.
    #[error(
        "agents as pods need rights that this user does not have: {}; deploy/user.yaml and \
         deploy/agents.yaml have all of them",
        .0.join(", ")
    )]
    Rights(Vec<String>),
    /// The namespace is missing, and may not be made.
    #[error(
        "the namespace {NAMESPACE} is missing, and this user may not make it: an operator runs \
         `kubectl apply -f deploy/agents.yaml`"
    )]
    NoNamespace,
    /// No image on a node is of a repository that is known.
    #[error(
        "{0} has no image of a repository that is known to have a shell and to be trusted, which \
         the agent's pod needs: name one with --agent-image, such as docker.io/library/busybox:1"
    )]
    NoShell(String),
    /// It takes no pod that sees its host.
    #[error(
        "{0} is a virtual node ({1}), which takes no pod that sees its host: reach its machine \
         by --agent {0}=exec:COMMAND, or leave it out"
    )]
    Virtual(String, &'static str),
    /// Admission refuses.
    #[error(
        "the cluster refuses the agent's pod: {0}; an operator has to allow it in the namespace \
         {NAMESPACE} (deploy/agents.yaml has the label that PodSecurity wants)"
    )]
    Admission(String),
    /// It has ended before it was of use.
    #[error("the agent's pod ended: {0}")]
    Ended(String),
    /// Its image does not have what was to be started.
    #[error(
        "the agent's pod cannot start ({0}): its image seems to have neither tracer nor a shell, \
         so name another image with --agent-image"
    )]
    NoStart(String),
    /// Nobody would end it.
    #[error("tracer is ending, and makes no more agents' pods")]
    Closed,
    /// It did not come.
    #[error("the agent's pod did not run within {} s: {why}; --wait waits longer", wait.as_secs())]
    Late {
        /// How long it was waited for.
        wait: std::time::Duration,
        /// What it waits for.
        why: String,
    },
    /// The agent cannot be reached in its pod.
    #[error("exec into the agent's pod fails: {0}")]
    Exec(ClusterError),
}
