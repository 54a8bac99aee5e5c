//! Names of a cluster's objects: those that a user may have meant, or may go on to type.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

/// How many names are looked through.
pub(super) const NAMES: u32 = 500;

/// Names of objects of a kind, without their namespace; none where they may not be listed.
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
