//! Reads from a cluster what a follow or `tracer drops` needs, and no more.
//!
//! The ends are read by their names or labels. Then come their nodes, the other pods on these
//! nodes, the Services that were named or select the ends, and their EndpointSlices. Drops are
//! not about Services, so `tracer drops` reads none. The amount does not grow with the cluster,
//! because a node has some hundred pods at most, unless many nodes are concerned (`FEW_NODES`).
//! Objects that the user may not read are left out with one note, except the ends themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::{Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams, core::Selector};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    Cluster, ClusterError,
    names::{NAMES, names},
    refused::{Refused, SLICES},
    wanted::{Leading, Wanted},
};
use crate::inventory::{Group, Inventory, Pods, SERVICE_LABEL, Workload, nearest};

/// Limit for the requests about the ends together, and for each list of other pods; an overloaded
/// server answers late.
const PATIENCE: Duration = Duration::from_secs(30);

/// Label of the DNS Service, whatever DNS server the cluster has.
const DNS_LABEL: &str = "k8s-app=kube-dns";

impl Cluster {
    /// Reads the wanted objects. Also returns notes for the user, one sentence each.
    ///
    /// # Errors
    /// If a named object does not exist or may not be read, or if the server does not answer.
    pub async fn read(
        &self,
        wanted: &[Wanted],
        leading: Leading,
    ) -> Result<(Inventory, Vec<String>), ClusterError> {
        let mut read = self.in_time(self.read_ends(wanted, leading)).await?;
        self.take_pods_on_nodes(&mut read).await?;
        Ok((read.inventory, read.refused.said().into_iter().collect()))
    }

    /// Reads a node.
    ///
    /// # Errors
    /// If there is no such node, if it may not be read, or if the server does not answer.
    pub async fn read_node(&self, name: &str) -> Result<Node, ClusterError> {
        self.in_time(self.node(name)).await
    }

    /// An answer, unless the server takes too long for it.
    pub(super) async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let answer = timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| {
            Err(ClusterError::Unreachable {
                server: self.place.server.clone(),
                why: format!("no answer within {} s", PATIENCE.as_secs()),
                origin: self.place.source.clone(),
            })
        })
    }

    /// Reads all but the other pods on the nodes.
    async fn read_ends(&self, wanted: &[Wanted], leading: Leading) -> Result<Read, ClusterError> {
        let mut inventory = Inventory::of_cluster(&self.place.server, &self.namespace);
        let mut refused = Refused::default();
        let mut ends: Vec<Pod> = Vec::new();
        let mut addressed: Vec<Pod> = Vec::new();
        let (mut nodes, mut listed) = (BTreeSet::new(), BTreeSet::new());
        let mut services = BTreeSet::new();
        for one in wanted {
            match one {
                Wanted::Pod { namespace, name } => {
                    ends.push(self.named::<Pod>("pod", namespace, name).await?);
                }
                Wanted::Group(group) => {
                    let pods = self.pods_of(group).await?;
                    let names = pods
                        .iter()
                        .map(|pod| (pod.namespace().unwrap_or_default(), pod.name_any()));
                    inventory.take_group(group.clone(), names.collect());
                    ends.extend(pods);
                }
                Wanted::Node(name) => {
                    nodes.insert(name.clone());
                    inventory.expect_node(name);
                }
                Wanted::AllNodes => {
                    let all = Api::<Node>::all(self.client.clone());
                    let all = all.list(&ListParams::default().match_any()).await;
                    for node in all.map_err(|error| self.explain(error))? {
                        inventory.take_node(&node)?;
                        listed.insert(node.name_any());
                    }
                }
                Wanted::Service { namespace, name } => {
                    let service = self.named::<Service>("service", namespace, name).await?;
                    inventory.take_service(&service)?;
                    services.insert((namespace.clone(), name.clone()));
                }
                Wanted::Address(address) => {
                    let field = format!("status.podIP={address}");
                    let pods = self.pods_everywhere(&field).await;
                    let pods = refused.unless("pods by address", pods)?;
                    addressed.extend(pods.unwrap_or_default());
                }
                Wanted::Dns => {
                    let all = Api::<Service>::all(self.client.clone());
                    let all = all.list(&ListParams::default().labels(DNS_LABEL)).await;
                    let all = all.map_err(|error| self.explain(error));
                    for service in refused.unless("Services", all)?.into_iter().flatten() {
                        inventory.take_service(&service)?;
                        let namespace = service.namespace().unwrap_or_default();
                        services.insert((namespace, service.name_any()));
                    }
                }
            }
        }
        let addressed: Vec<Pod> = others(addressed, &ends).collect();
        ends.extend(addressed);
        for pod in &ends {
            inventory.take_pod(pod)?;
        }
        let with_services = ends.iter().filter(|_| leading == Leading::Services);
        let namespaces: BTreeSet<String> = with_services.filter_map(Pod::namespace).collect();
        for namespace in namespaces {
            let all = Api::<Service>::namespaced(self.client.clone(), &namespace);
            let all = all.list(&ListParams::default().match_any()).await;
            let all = all.map_err(|error| self.explain(error));
            for service in refused.unless("Services", all)?.into_iter().flatten() {
                if ends.iter().any(|pod| selects(&service, pod)) {
                    inventory.take_service(&service)?;
                    services.insert((namespace.clone(), service.name_any()));
                }
            }
        }
        for (namespace, slices) in by_namespace(services) {
            // Without EndpointSlices, a Service that is an end is unknown.
            let is_end = slices.iter().any(|name| {
                let (namespace, name) = (namespace.clone(), name.clone());
                wanted.contains(&Wanted::Service { namespace, name })
            });
            let read = self.slices_of(&namespace, &slices).await;
            let read = match is_end {
                true => Some(read?),
                false => refused.unless(SLICES, read)?,
            };
            for slice in read.iter().flatten() {
                inventory.take_slice(slice);
            }
        }
        nodes.extend(inventory.unread_nodes());
        nodes.extend(listed.iter().cloned());
        for name in &nodes {
            if !listed.contains(name) {
                let is_wanted = wanted.contains(&Wanted::Node(name.clone()));
                let node = match self.node(name).await {
                    // A pod or an endpoint may still name a node that was removed.
                    Err(ClusterError::NoSuch { .. }) if !is_wanted => None,
                    node => refused.unless("nodes", node)?,
                };
                if let Some(node) = node {
                    inventory.take_node(&node)?;
                }
            }
        }
        Ok(Read {
            inventory,
            refused,
            ends,
            nodes,
        })
    }

    /// A node by its name.
    async fn node(&self, name: &str) -> Result<Node, ClusterError> {
        let nodes = Api::<Node>::all(self.client.clone());
        let node = nodes.get_opt(name).await;
        match node.map_err(|error| self.explain(error))? {
            Some(node) => Ok(node),
            None => {
                let others = names(&nodes).await;
                Err(ClusterError::NoSuch {
                    what: format!("node {name}"),
                    near: nearest(name, others.into_iter()),
                })
            }
        }
    }

    /// An object by its name.
    async fn named<K>(&self, kind: &str, namespace: &str, name: &str) -> Result<K, ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        match found.map_err(|error| self.explain(error))? {
            Some(found) => Ok(found),
            None => Err(ClusterError::NoSuch {
                what: format!("{kind} {namespace}/{name}"),
                near: self.like::<K>(namespace, name).await,
            }),
        }
    }

    /// Suggestions: the same name in other namespaces, and similar names in this one; empty if
    /// the user may not list them.
    async fn like<K>(&self, namespace: &str, name: &str) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let everywhere = Api::<K>::all(self.client.clone());
        let same = ListParams::default().limit(NAMES);
        let same = same.fields(&format!("metadata.name={name}"));
        let elsewhere = everywhere.list_metadata(&same).await.ok();
        let elsewhere = elsewhere.iter().flatten().map(|object| {
            let namespace = object.namespace().unwrap_or_default();
            format!("{namespace}/{}", object.name_any())
        });
        let elsewhere: Vec<String> = elsewhere.take(3).collect();
        if !elsewhere.is_empty() {
            return elsewhere;
        }
        let here = Api::<K>::namespaced(self.client.clone(), namespace);
        let here = names(&here).await.into_iter();
        let here = here.map(|name| format!("{namespace}/{name}"));
        nearest(&format!("{namespace}/{name}"), here)
    }

    /// The pods of a group.
    async fn pods_of(&self, group: &Group) -> Result<Vec<Pod>, ClusterError> {
        let labels = self.labels(group).await?;
        let pods = Api::<Pod>::namespaced(self.client.clone(), &group.namespace);
        let pods = pods.list(&ListParams::default().labels(&labels)).await;
        let pods = pods.map_err(|error| self.explain(error))?.items;
        if pods.is_empty() {
            return Err(ClusterError::NoPods(group.to_string()));
        }
        Ok(pods)
    }

    /// Label selector for the pods of a group, as the API takes it.
    pub(super) async fn labels(&self, group: &Group) -> Result<String, ClusterError> {
        let namespace = &group.namespace;
        let selector = match &group.pods {
            Pods::Labelled(labels) => return Ok(labels.clone()),
            Pods::All => return Ok(String::new()),
            Pods::Of(workload, name) => {
                let kind = workload.name();
                match workload {
                    Workload::Deployment => {
                        let owner = self.named::<Deployment>(kind, namespace, name).await?;
                        owner.spec.map(|spec| spec.selector)
                    }
                    Workload::StatefulSet => {
                        let owner = self.named::<StatefulSet>(kind, namespace, name).await?;
                        owner.spec.map(|spec| spec.selector)
                    }
                    Workload::DaemonSet => {
                        let owner = self.named::<DaemonSet>(kind, namespace, name).await?;
                        owner.spec.map(|spec| spec.selector)
                    }
                    Workload::ReplicaSet => {
                        let owner = self.named::<ReplicaSet>(kind, namespace, name).await?;
                        owner.spec.map(|spec| spec.selector)
                    }
                }
            }
        };
        self.selector(selector.unwrap_or_default())
    }

    fn selector(&self, selector: LabelSelector) -> Result<String, ClusterError> {
        let selector = Selector::try_from(selector);
        let selector = selector.map_err(|error| ClusterError::Other {
            server: self.place.server.clone(),
            why: error.to_string(),
        })?;
        Ok(selector.to_string())
    }

    /// EndpointSlices of some Services of a namespace.
    async fn slices_of(
        &self,
        namespace: &str,
        services: &[String],
    ) -> Result<Vec<EndpointSlice>, ClusterError> {
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), namespace);
        let label = format!("{SERVICE_LABEL} in ({})", services.join(","));
        let slices = slices.list(&ListParams::default().labels(&label)).await;
        Ok(slices.map_err(|error| self.explain(error))?.items)
    }

    /// Pods of all namespaces that match a field selector.
    async fn pods_everywhere(&self, field: &str) -> Result<Vec<Pod>, ClusterError> {
        let pods = Api::<Pod>::all(self.client.clone());
        // The server answers from its cache: for a name, slightly old data is good enough.
        let parameters = ListParams::default().fields(field).match_any();
        let pods = pods.list(&parameters).await;
        Ok(pods.map_err(|error| self.explain(error))?.items)
    }
}

/// What was read so far.
pub(super) struct Read {
    pub(super) inventory: Inventory,
    pub(super) refused: Refused,
    pub(super) ends: Vec<Pod>,
    /// The nodes that are concerned.
    pub(super) nodes: BTreeSet<String>,
}

/// Names by namespace.
fn by_namespace(names: BTreeSet<(String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (namespace, name) in names {
        all.entry(namespace).or_default().push(name);
    }
    all
}

/// Pods that are not among `ends`. The server's cache may be older than what was read of the
/// ends.
pub(super) fn others(pods: Vec<Pod>, ends: &[Pod]) -> impl Iterator<Item = Pod> {
    let key = |pod: &Pod| (pod.namespace(), pod.name_any());
    let known: BTreeSet<_> = ends.iter().map(key).collect();
    pods.into_iter()
        .filter(move |pod| !known.contains(&key(pod)))
}

/// Whether packets to a Service may end at a pod.
fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let labels = pod.labels();
    let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    let is_set = |selector: &&BTreeMap<String, String>| !selector.is_empty();
    service.namespace() == pod.namespace()
        && selector
            .filter(is_set)
            .is_some_and(|selector| selector.iter().all(has))
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::{Value, from_value, json};

    use super::{Pod, Service, others, selects};

    #[test]
    fn an_older_answer_does_not_replace_an_end() {
        let pod = |namespace: &str, name: &str, address: &str| -> Pod {
            from_value(json!({
                "metadata": {"name": name, "namespace": namespace},
                "status": {"podIPs": [{"ip": address}]},
            }))
            .expect("a pod")
        };
        let ends = [pod("shop", "db-0", "10.244.1.9")];
        let beside = vec![
            pod("shop", "db-0", "10.244.1.5"),
            pod("other", "db-0", "10.244.1.6"),
            pod("shop", "db-1", "10.244.1.7"),
        ];
        let left = others(beside, &ends);
        let left = left.map(|pod| (pod.namespace().expect("it has one"), pod.name_any()));
        let named = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        let expected = [named("other", "db-0"), named("shop", "db-1")];
        assert_eq!(left.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_service_selects_the_pods_of_its_namespace_that_have_its_labels() {
        let pod = from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "v": "2"}},
        }))
        .expect("a pod");
        let service = |namespace: &str, selector: Value| -> Service {
            from_value(json!({
                "metadata": {"name": "web", "namespace": namespace},
                "spec": {"selector": selector},
            }))
            .expect("a Service")
        };
        assert!(selects(&service("shop", json!({"app": "web"})), &pod));
        assert!(!selects(
            &service("shop", json!({"app": "web", "v": "1"})),
            &pod
        ));
        assert!(!selects(&service("other", json!({"app": "web"})), &pod));
        // Without a selector, the Service's endpoints come from elsewhere.
        assert!(!selects(&service("shop", json!({})), &pod));
        assert!(!selects(&service("shop", Value::Null), &pod));
    }
}
