//! Checks a user's rights, before anything is created.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};

use super::{NAMESPACE, PodError};
use crate::cluster::{Cluster, ClusterError, Rule};

/// The first minor version in which exec over WebSocket is `create`, as over SPDY.
const CREATES_EXEC: u32 = 35;

/// A right, as in an RBAC rule.
struct Right {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    namespace: Option<&'static str>,
}

impl Right {
    const fn here(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self {
            verb,
            group,
            resource,
            subresource: None,
            namespace: Some(NAMESPACE),
        }
    }

    const fn anywhere(verb: &'static str, resource: &'static str) -> Self {
        Self {
            namespace: None,
            ..Self::here(verb, "", resource)
        }
    }

    async fn is_given(&self, cluster: &Cluster) -> Result<bool, ClusterError> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
        let attributes = ResourceAttributes {
            verb: Some(self.verb.to_owned()),
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            subresource: self.subresource.map(str::to_owned),
            namespace: self.namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = reviews.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| cluster.explain(error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// The rule that grants the right.
    fn rule(&self) -> Rule {
        let resource = match self.subresource {
            Some(sub) => format!("{}/{sub}", self.resource),
            None => self.resource.to_owned(),
        };
        Rule {
            verb: self.verb.to_owned(),
            group: self.group.to_owned(),
            resource,
            namespace: self.namespace.map(str::to_owned),
        }
    }
}

/// Fails with all missing rights.
pub(super) async fn check(cluster: &Cluster) -> Result<(), PodError> {
    let version = cluster.client.apiserver_version().await;
    let minor = version.map_err(|error| cluster.explain(error))?.minor;
    // Some vendors write `34+`.
    let minor: u32 = minor.trim_end_matches('+').parse().unwrap_or(CREATES_EXEC);
    let verb = if minor < CREATES_EXEC {
        "get"
    } else {
        "create"
    };
    let exec = Right {
        subresource: Some("exec"),
        ..Right::here(verb, "", "pods")
    };
    let rights = [
        Right::anywhere("get", "nodes"),
        Right::here("create", "batch", "jobs"),
        Right::here("list", "batch", "jobs"),
        Right::here("delete", "batch", "jobs"),
        Right::here("list", "", "pods"),
        exec,
    ];
    let mut missing = Vec::new();
    for right in &rights {
        if !right.is_given(cluster).await? {
            missing.push(format!("add {}", right.rule()));
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PodError::Rights(missing))
    }
}

/// Checks that the user may create the namespace for agents' pods.
pub(super) async fn check_namespaces(cluster: &Cluster) -> Result<(), PodError> {
    match Right::anywhere("create", "namespaces")
        .is_given(cluster)
        .await?
    {
        true => Ok(()),
        false => Err(PodError::NoNamespace),
    }
}
