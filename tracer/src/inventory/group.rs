//! Pods that are named together.

use std::fmt;

/// Pods that are named by what they have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Their namespace.
    pub namespace: String,
    /// What they have in common.
    pub pods: Pods,
}

/// What pods can have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pods {
    /// What keeps them running, by its name.
    Of(Workload, String),
    /// Labels, as `kubectl get pods -l` takes them.
    Labelled(String),
}

/// What keeps pods running.
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
    /// As kubectl takes it: in full, in the plural, or short.
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

    /// What messages call it.
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

/// `deployment shop/web`, or `app=web in shop`.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = &self.namespace;
        match &self.pods {
            Pods::Of(workload, name) => write!(f, "{} {namespace}/{name}", workload.name()),
            Pods::Labelled(labels) => write!(f, "{labels} in {namespace}"),
        }
    }
}
