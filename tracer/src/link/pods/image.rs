//! Chooses an image on a node that has a shell, and that may run as root there although the
//! user did not name it.

use k8s_openapi::api::core::v1::Node;

use super::PodError;

/// Repositories of images that have a shell with `head`, `uname` and `sha256sum`, and whose
/// publishers many trust as root on their nodes. The whole name must match: anybody may push an
/// image to an own repository and have a node pull it.
const SHELLS: &[&str] = &[
    "docker.io/library/busybox",
    "docker.io/library/alpine",
    "docker.io/library/debian",
    "docker.io/library/ubuntu",
    "docker.io/library/fedora",
    "docker.io/library/rockylinux",
    "docker.io/library/nginx",
    "docker.io/library/httpd",
    "docker.io/library/redis",
    "docker.io/library/postgres",
    "docker.io/library/mariadb",
    "docker.io/library/mysql",
    "docker.io/library/python",
    "docker.io/rockylinux/rockylinux",
    "docker.io/nicolaka/netshoot",
    "docker.io/calico/node",
    "quay.io/calico/node",
    "quay.io/cilium/cilium",
    "docker.io/flannel/flannel",
    "ghcr.io/flannel-io/flannel",
    "docker.io/kindest/kindnetd",
    "registry.k8s.io/e2e-test-images/busybox",
];

/// The smallest image with a shell on a node; `None` if there is none.
pub(super) fn of(node: &Node) -> Option<String> {
    let images = node.status.as_ref()?.images.as_ref()?;
    let mut found: Vec<(i64, &String)> = Vec::new();
    for image in images {
        let names = image.names.iter().flatten();
        // An image may have several names, and each counts by itself.
        let known = names.filter(|name| SHELLS.contains(&repository(name)));
        // People know an image by its tag.
        if let Some(name) = known.min_by_key(|name| name.contains('@')) {
            found.push((image.size_bytes.unwrap_or(i64::MAX), name));
        }
    }
    found.sort();
    found.first().map(|(_, name)| (*name).clone())
}

/// An image's registry and path, without its tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        // After the colon of a registry's port comes a path.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// Whether an image has the name `tracer`, as the project's own image does.
pub(super) fn is_tracers(name: &str) -> bool {
    repository(name).rsplit('/').next() == Some("tracer")
}

/// Refuses virtual nodes.
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
    fn a_name_that_resembles_a_known_one_is_refused() {
        for name in [
            "evil.io/x/busybox:1",
            "evil.io/docker.io/library/busybox:1",
            "docker.io/evil/busybox:1",
            "docker.io/library/busybox-evil:1",
            "docker.io/library/busybox/evil:1",
            "docker.io:5000/library/busybox",
            "evil.io/x:docker.io/library/busybox",
            "evil.io/x@docker.io/library/busybox",
            "busybox:1",
            "local.test/tools:1",
        ] {
            assert_eq!(of(&node(&[(&[name], 1)])), None, "{name}");
        }
        let names = ["evil.io/busybox:1", "quay.io/calico/node@sha256:ab"];
        let found = of(&node(&[(&names, 1)]));
        assert_eq!(found.as_deref(), Some("quay.io/calico/node@sha256:ab"));
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
