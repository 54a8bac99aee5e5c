//! Names of the objects, for completion.

use super::Inventory;

impl Inventory {
    /// Namespace and name of each pod, in order.
    pub fn pod_names(&self) -> impl Iterator<Item = &(String, String)> {
        self.pods.keys()
    }

    /// Namespace and name of each Service, in order.
    pub fn service_names(&self) -> impl Iterator<Item = &(String, String)> {
        self.services.keys()
    }
}
