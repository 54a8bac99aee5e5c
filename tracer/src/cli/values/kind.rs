//! The kinds of objects that can be ends of a follow.

use crate::inventory::Workload;

/// A kind of object, as in `KIND/NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    /// A pod.
    Pod,
    /// A Service.
    Service,
    /// A workload, which stands for its pods.
    Of(Workload),
    /// A node.
    Node,
}

impl Kind {
    /// All kinds.
    pub(in crate::cli) const ALL: [Self; 7] = [
        Self::Pod,
        Self::Service,
        Self::Of(Workload::Deployment),
        Self::Of(Workload::StatefulSet),
        Self::Of(Workload::DaemonSet),
        Self::Of(Workload::ReplicaSet),
        Self::Node,
    ];

    /// The kind for a name as in kubectl: in full, in the plural, or short.
    pub(in crate::cli) fn named(text: &str) -> Option<Self> {
        Some(match text {
            "pod" | "pods" | "po" => Self::Pod,
            "service" | "services" | "svc" => Self::Service,
            "node" | "nodes" | "no" => Self::Node,
            _ => Self::Of(Workload::named(text)?),
        })
    }

    /// Name of the kind in full.
    pub(in crate::cli) const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Service => "service",
            Self::Of(workload) => workload.name(),
            Self::Node => "node",
        }
    }
}

/// Splits `NAMESPACE:OBJECT`. In `service/cart:80`, the part before the colon is no namespace.
pub(in crate::cli) fn split(text: &str) -> (Option<&str>, &str) {
    match text.split_once(':') {
        Some((namespace, object)) if !namespace.contains('/') => (Some(namespace), object),
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn each_kind_has_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        assert_eq!(Kind::named("secret"), None);
    }
}
