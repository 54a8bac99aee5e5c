//! Names of a cluster's objects, for suggestions and completion.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

/// Limit of names that are read.
pub(super) const NAMES: u32 = 500;

/// Names of objects of a kind, without their namespace; empty if the user may not list them.
pub(crate) async fn names<K>(objects: &Api<K>) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let listed = objects
        .list_metadata(&ListParams::default().limit(NAMES))
        .await;
    let listed = listed.iter().flatten();
    listed.map(ResourceExt::name_any).collect()
}
