//! Which image on a node has a shell.

use k8s_openapi::api::core::v1::Node;

use super::PodError;

/// Words in the names of images that have a shell with `head`, `uname` and `sha256sum`.
/// What is in an image only its node knows.
const SHELLS: &[&str] = &[
    "busybox",
    "alpine",
    "debian",
    "ubuntu",
    "fedora",
    "rockylinux",
    "netshoot",
    "tools",
    "toolbox",
    "flannel",
    "calico/node",
    "cilium/cilium",
    "kindnetd",
    "nginx",
    "httpd",
    "redis",
    "postgres",
    "mariadb",
    "mysql",
    "python",
];

/// The smallest image with a shell that a node has.
pub(super) fn of(node: &Node) -> Option<String> {
    let images = node.status.as_ref()?.images.as_ref()?;
    let mut found: Vec<(i64, &String)> = Vec::new();
    for image in images {
        let names = image.names.as_deref().unwrap_or_default();
        // A tag is what people know it by.
        let name = names.iter().find(|name| !name.contains('@'));
        let Some(name) = name.or(names.first()) else {
            continue;
        };
        if SHELLS.iter().any(|word| name.contains(word)) {
            found.push((image.size_bytes.unwrap_or(i64::MAX), name));
        }
    }
    found.sort();
    found.first().map(|(_, name)| (*name).clone())
}

/// Refuses nodes that are none.
pub(super) fn check(name: &str, node: &Node) -> Result<(), PodError> {
    let labels = node.metadata.labels.as_ref();
    let is =
        |key, value| labels.is_some_and(|labels| labels.get(key).is_some_and(|is| is == value));
    if is("eks.amazonaws.com/compute-type", "fargate") {
        return Err(PodError::Virtual(name.to_owned(), "Fargate"));
    }
    if is("type", "virtual-kubelet") {
        return Err(PodError::Virtual(name.to_owned(), "virtual-kubelet"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(images: &[(&[&str], i64)]) -> Node {
        let images = images
            .iter()
            .map(|(names, size)| json!({"names": names, "sizeBytes": size}));
        let images: Vec<_> = images.collect();
        serde_json::from_value(json!({"metadata": {"name": "a"}, "status": {"images": images}}))
            .expect("a node")
    }

    #[test]
    fn the_smallest_image_with_a_shell_is_taken() {
        let found = of(&node(&[
            (&["registry.k8s.io/pause:3.10"], 1),
            (&["docker.io/library/nginx:1"], 70),
            (
                &[
                    "docker.io/library/busybox@sha256:ab",
                    "docker.io/library/busybox:1",
                ],
                4,
            ),
        ]));
        assert_eq!(found.as_deref(), Some("docker.io/library/busybox:1"));
        assert_eq!(of(&node(&[(&["registry.k8s.io/pause:3.10"], 1)])), None);
    }

    #[test]
    fn a_node_that_is_none_is_refused() {
        let mut fargate = node(&[]);
        assert!(check("a", &fargate).is_ok());
        let labels = [("eks.amazonaws.com/compute-type", "fargate")];
        fargate.metadata.labels = Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let refusal = check("a", &fargate).expect_err("it has no host");
        assert!(refusal.to_string().contains("Fargate"));
    }
}
