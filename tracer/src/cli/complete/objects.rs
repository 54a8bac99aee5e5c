//! Objects whose names are offered: those of a cluster, or those of an objects file.

use std::{collections::BTreeSet, fmt::Debug, path::Path};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::{Namespace, Node, Pod, Service},
    },
};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::{
    cli::values::Kind,
    cluster::{Access, Cluster, names},
    inventory::{Inventory, Workload},
    stdio,
};

/// Where names come from.
pub(super) enum Objects {
    Cluster(Cluster),
    File(Inventory),
}

impl Objects {
    /// The objects of a cluster; `None` if nobody may connect without being asked for a password.
    pub(super) async fn of_cluster(access: &Access) -> Option<Self> {
        access.connect_unattended().await.map(Self::Cluster)
    }

    /// The objects in a file; `None` if it cannot be read. Standard input and pipes are left to the
    /// command that the user is typing.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let is_file = path.is_file() && !stdio::is_dash(path);
        let inventory = is_file.then(|| Inventory::load(path, |_| {}))?;
        inventory.ok().map(Self::File)
    }

    /// Namespace of objects that are named without one.
    pub(super) fn namespace(&self) -> &str {
        match self {
            Self::Cluster(cluster) => &cluster.namespace,
            Self::File(inventory) => inventory.namespace(),
        }
    }

    /// Names of the objects of a kind in a namespace, to which nodes do not belong. An objects file
    /// has no workloads.
    pub(super) async fn names(&self, kind: Kind, namespace: &str) -> Vec<String> {
        match (self, kind) {
            (Self::Cluster(cluster), _) => in_cluster(&cluster.client, kind, namespace).await,
            (Self::File(inventory), Kind::Pod) => within(namespace, inventory.pod_names()),
            (Self::File(inventory), Kind::Service) => within(namespace, inventory.service_names()),
            (Self::File(inventory), Kind::Node) => inventory.node_names(),
            (Self::File(_), Kind::Of(_)) => Vec::new(),
        }
    }

    /// Names of namespaces. For an objects file, they are those of its pods and Services.
    pub(super) async fn namespaces(&self) -> Vec<String> {
        match self {
            Self::Cluster(cluster) => names(&Api::<Namespace>::all(cluster.client.clone())).await,
            Self::File(inventory) => {
                let all = inventory.pod_names().chain(inventory.service_names());
                let all: BTreeSet<&String> = all.map(|(namespace, _)| namespace).collect();
                all.into_iter().cloned().collect()
            }
        }
    }
}

/// The names in a namespace.
fn within<'a>(namespace: &str, names: impl Iterator<Item = &'a (String, String)>) -> Vec<String> {
    let names = names.filter(|(of, _)| of == namespace);
    names.map(|(_, name)| name.clone()).collect()
}

async fn in_cluster(client: &Client, kind: Kind, namespace: &str) -> Vec<String> {
    match kind {
        Kind::Pod => in_namespace::<Pod>(client, namespace).await,
        Kind::Service => in_namespace::<Service>(client, namespace).await,
        Kind::Of(Workload::Deployment) => in_namespace::<Deployment>(client, namespace).await,
        Kind::Of(Workload::StatefulSet) => in_namespace::<StatefulSet>(client, namespace).await,
        Kind::Of(Workload::DaemonSet) => in_namespace::<DaemonSet>(client, namespace).await,
        Kind::Of(Workload::ReplicaSet) => in_namespace::<ReplicaSet>(client, namespace).await,
        Kind::Node => names(&Api::<Node>::all(client.clone())).await,
    }
}

async fn in_namespace<K>(client: &Client, namespace: &str) -> Vec<String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    names(&Api::<K>::namespaced(client.clone(), namespace)).await
}
