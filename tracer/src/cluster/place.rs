//! The name of a cluster in messages.

/// The name of a cluster in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The API server's URL.
    pub server: String,
    /// Source of the credentials: `context kind of /root/.kube/config`.
    pub source: String,
    /// Credential command, if the kubeconfig names one.
    pub command: Option<String>,
}
