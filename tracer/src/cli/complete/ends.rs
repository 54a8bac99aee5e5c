//! Ends of a follow: `[NAMESPACE:]KIND/NAME`.

use super::objects::Objects;
use crate::cli::values::{Kind, split};

/// `KIND/` for each kind, while the word has no kind yet. Of the kinds, an objects file has only
/// pods, Services and nodes. A node has no namespace.
pub(super) fn kinds(word: &str, is_file: bool) -> Vec<String> {
    let (namespace, object) = split(word);
    if object.contains('/') {
        return Vec::new();
    }
    let kinds = Kind::ALL.into_iter().filter(|kind| match kind {
        Kind::Pod | Kind::Service => true,
        Kind::Of(_) => !is_file,
        Kind::Node => namespace.is_none(),
    });
    let before = before(namespace);
    kinds
        .map(|kind| format!("{before}{}/", kind.name()))
        .collect()
}

/// `KIND/NAME` for each name, once the word has a kind; until then, `NAMESPACE:` for each
/// namespace. The kind stays as the user has written it. Without a namespace in the word, names are
/// those in `default`.
pub(super) async fn names(objects: &Objects, default: &str, word: &str) -> Vec<String> {
    let (namespace, object) = split(word);
    let Some((kind, _)) = object.split_once('/') else {
        if namespace.is_some() {
            return Vec::new();
        }
        let namespaces = objects.namespaces().await.into_iter();
        return namespaces.map(|name| format!("{name}:")).collect();
    };
    let of = match Kind::named(kind) {
        Some(Kind::Node) if namespace.is_some() => return Vec::new(),
        Some(of) => of,
        None => return Vec::new(),
    };
    let names = objects.names(of, namespace.unwrap_or(default)).await;
    let before = before(namespace);
    let names = names.into_iter();
    names.map(|name| format!("{before}{kind}/{name}")).collect()
}

fn before(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |namespace| format!("{namespace}:"))
}

#[cfg(test)]
mod tests {
    use tokio::runtime;

    use super::*;
    use crate::inventory::tests::{OBJECTS, parse};

    fn named(word: &str) -> Vec<String> {
        let objects = Objects::File(parse(OBJECTS).expect("the objects are fine"));
        let runtime = runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        runtime.block_on(names(&objects, "shop", word))
    }

    #[test]
    fn kinds_are_offered_before_names() {
        let all = [
            "pod/",
            "service/",
            "deployment/",
            "statefulset/",
            "daemonset/",
            "replicaset/",
            "node/",
        ];
        assert_eq!(kinds("", false), all);
        assert_eq!(kinds("", true), ["pod/", "service/", "node/"]);
        assert_eq!(kinds("shop:", true), ["shop:pod/", "shop:service/"]);
        assert_eq!(kinds("pod/we", false), [""; 0]);
        assert_eq!(kinds("shop:pod/we", false), [""; 0]);
    }

    #[test]
    fn names_are_those_of_the_kind_and_the_namespace() {
        assert_eq!(named("pod/"), ["pod/cart", "pod/job", "pod/next"]);
        assert_eq!(named("po/c"), ["po/cart", "po/job", "po/next"]);
        assert_eq!(named("default:pod/"), ["default:pod/web"]);
        assert_eq!(named("svc/"), ["svc/cart", "svc/headless"]);
        assert_eq!(named("node/"), ["node/node-a", "node/node-b"]);
        assert_eq!(named(""), ["default:", "kube-system:", "shop:"]);
        // A node has no namespace, and an objects file no workloads.
        for word in [
            "shop:node/",
            "deployment/",
            "secret/",
            "shop:",
            "10.244.1.0/",
        ] {
            assert_eq!(named(word), [""; 0], "{word}");
        }
    }
}
