//! Groups of pods.

use std::fmt;

/// A group of pods, named by what they have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Namespace of the pods.
    pub namespace: String,
    /// What the pods have in common.
    pub pods: Pods,
}

/// What pods can have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pods {
    /// A workload and its name.
    Of(Workload, String),
    /// Labels, as `kubectl get pods -l` takes them.
    Labelled(String),
    /// The namespace alone.
    All,
}

/// A workload that manages pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
    /// A ReplicaSet.
    ReplicaSet,
}

impl Workload {
    /// The workload for a name as in kubectl: in full, in the plural, or short.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Some(match text {
            "deployment" | "deployments" | "deploy" => Self::Deployment,
            "statefulset" | "statefulsets" | "sts" => Self::StatefulSet,
            "daemonset" | "daemonsets" | "ds" => Self::DaemonSet,
            "replicaset" | "replicasets" | "rs" => Self::ReplicaSet,
            _ => return None,
        })
    }

    /// Name of the workload in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
            Self::ReplicaSet => "replicaset",
        }
    }
}

/// `deployment shop/web`, `app=web in shop`, or `namespace shop`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace;
        match &self.pods {
            Pods::Of(workload, name) => write!(f, "{} {namespace}/{name}", workload.name()),
            Pods::Labelled(labels) => write!(f, "{labels} in {namespace}"),
            Pods::All => write!(f, "namespace {namespace}"),
        }
    }
}
