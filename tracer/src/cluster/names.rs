//! Names of a cluster's objects, and of the contexts of a kubeconfig.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service};
use kube::{Api, ResourceExt as _, api::ListParams, core::PartialObjectMeta};
use serde::de::DeserializeOwned;

use super::{Access, Cluster, ClusterError};

/// How many names are asked for: more help nobody.
const MOST: u32 = 500;

/// A kind of objects that have names.
pub trait Named:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Sized
{
    /// Where they are; `None`: everywhere.
    fn api(cluster: &Cluster, namespace: Option<&str>) -> Api<Self>;
}

macro_rules! in_namespaces {
    ($($kind:ty),*) => {$(
        impl Named for $kind {
            fn api(cluster: &Cluster, namespace: Option<&str>) -> Api<Self> {
                match namespace {
                    Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
                    None => Api::all(cluster.client.clone()),
                }
            }
        }
    )*};
}

macro_rules! of_the_cluster {
    ($($kind:ty),*) => {$(
        impl Named for $kind {
            fn api(cluster: &Cluster, _: Option<&str>) -> Api<Self> {
                Api::all(cluster.client.clone())
            }
        }
    )*};
}

in_namespaces!(Pod, Service);
of_the_cluster!(Namespace, Node);

impl Cluster {
    /// Names of objects of a kind, 500 at most, without their namespace.
    ///
    /// # Errors
    /// If the user may not list them, or the server does not answer.
    pub async fn names<K: Named>(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<String>, ClusterError> {
        let api = K::api(self, namespace);
        let objects = api.list_metadata(&ListParams::default().limit(MOST)).await;
        let objects = objects.map_err(|error| self.explain(error))?;
        Ok(objects.iter().map(PartialObjectMeta::name_any).collect())
    }
}

impl Access {
    /// The contexts of the kubeconfig; none if it cannot be read.
    #[must_use]
    pub fn contexts(&self) -> Vec<String> {
        let kubeconfig = super::access::read(&self.paths(), self.kubeconfig.is_some());
        let contexts = kubeconfig
            .ok()
            .flatten()
            .map(|kubeconfig| kubeconfig.contexts);
        let contexts = contexts.into_iter().flatten();
        contexts.map(|context| context.name).collect()
    }
}
