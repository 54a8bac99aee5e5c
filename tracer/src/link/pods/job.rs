//! The object in the cluster for an agent: a Job with one pod.

use std::time::Duration;

use k8s_openapi::api::{batch::v1::Job, core::v1::Namespace};
use serde_json::{Value, json};
use tracer_core::request::{Start, Watch};

use super::{CONTAINER, NAMESPACE, inside::Inside};
use crate::link::script;

/// Label of all objects that tracer creates.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "tracer-agent");
pub(super) const SELECTOR: &str = "app.kubernetes.io/name=tracer-agent";

/// Annotation: how long the follow waits for the pod to run, s.
pub(super) const WAITS: &str = "tracer/waits";

/// Limit of a Job's life, longer than a follow uses a single pod.
const LONGEST: Duration = Duration::from_hours(12);

/// What a follow would do to a node, in a few sentences.
#[must_use]
pub fn about(start: &Start) -> String {
    format!(
        "{}: tracer would create a pod in the namespace {NAMESPACE}, and remove it when the follow \
         ends. The pod uses the host's network and process ids and the capabilities {}. Limits: \
         {CPU} CPU, {MEMORY} of memory, {} events per second. An audit log shows a Job, lists of \
         pods and an exec.",
        start.node,
        capabilities(start).join(", "),
        start.budget
    )
}

/// CPU limit of a pod.
const CPU: &str = "1";
const MEMORY: &str = "256Mi";

/// Parameters of an agent's Job.
pub(super) struct Wanted<'a> {
    /// Name of the Job, and the beginning of the pod's name.
    pub(super) name: &'a str,
    pub(super) start: &'a Start,
    pub(super) image: &'a str,
    pub(super) inside: Inside,
    /// Pull policy of the image.
    pub(super) pull: &'a str,
    /// Kernel release of the node, as from `uname -r`.
    pub(super) kernel: &'a str,
    pub(super) wait: Duration,
}

/// The namespace object for agents' pods.
pub(super) fn namespace() -> Namespace {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {
                LABEL.0: LABEL.1,
                // All other Pod Security levels refuse pods that see their hosts.
                "pod-security.kubernetes.io/enforce": "privileged",
            },
        },
    }))
    .expect("it is a namespace")
}

impl Wanted<'_> {
    /// The Job object.
    pub(super) fn job(&self) -> Job {
        let node = &self.start.node;
        let labels = json!({LABEL.0: LABEL.1});
        serde_json::from_value(json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.name,
                "labels": labels,
                "annotations": {WAITS: self.wait.as_secs().to_string()},
            },
            "spec": {
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": 0,
                "activeDeadlineSeconds": LONGEST.as_secs(),
                "template": {
                    "metadata": {"labels": labels, "annotations": {"tracer/node": node}},
                    "spec": self.pod(),
                },
            },
        }))
        .expect("it is a Job")
    }

    fn pod(&self) -> Value {
        let capabilities = self.capabilities();
        // SELinux type of a container that may see its host's processes.
        let enters = capabilities.contains(&"SYS_ADMIN");
        let selinux = enters.then(|| json!({"type": "spc_t"}));
        json!({
            "nodeName": self.start.node,
            "restartPolicy": "Never",
            // The agent needs time to detach its programs.
            "terminationGracePeriodSeconds": 5,
            "hostNetwork": true,
            "hostPID": true,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "volumes": [{
                "name": "tracer",
                "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"},
            }],
            "containers": [{
                "name": CONTAINER,
                "image": self.image,
                "imagePullPolicy": self.pull,
                "command": self.inside.holder(),
                "volumeMounts": [{"name": "tracer", "mountPath": script::FOLDER}],
                "resources": {
                    "requests": {"cpu": "20m", "memory": "64Mi"},
                    "limits": {"cpu": CPU, "memory": MEMORY},
                },
                "securityContext": {
                    "privileged": false,
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "runAsUser": 0,
                    "runAsGroup": 0,
                    "runAsNonRoot": false,
                    "capabilities": {"drop": ["ALL"], "add": capabilities},
                    "seLinuxOptions": selinux,
                    "seccompProfile": {"type": "RuntimeDefault"},
                    // The default profile forbids access to other processes' namespaces.
                    "appArmorProfile": {"type": "Unconfined"},
                },
            }],
        })
    }

    /// Capabilities of the agent, and no others.
    fn capabilities(&self) -> Vec<&'static str> {
        let mut needed = capabilities(self.start);
        if is_before(self.kernel, (5, 11)) {
            // Before Linux 5.11, BPF maps count as locked memory.
            needed.push("SYS_RESOURCE");
        }
        needed
    }
}

/// Capabilities of an agent on newer kernels.
fn capabilities(start: &Start) -> Vec<&'static str> {
    // They are for loading programs, attaching them, distinguishing packets, and naming
    // functions.
    let mut needed = vec!["BPF", "NET_ADMIN", "PERFMON", "SYSLOG"];
    let request = &start.request;
    let has_pods = !request.pods.is_empty() || !request.unplaced.is_empty();
    if has_pods || request.pod_interfaces || start.watch == Watch::Drops {
        // They are for finding pods by their namespaces, and for noticing new pods.
        needed.extend(["SYS_ADMIN", "SYS_PTRACE", "NET_BROADCAST"]);
    }
    needed
}

/// Whether a kernel's version is below `version`; false if the release has no version.
fn is_before(kernel: &str, version: (u32, u32)) -> bool {
    let mut numbers = kernel.split(['.', '-']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < version,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Container;
    use tracer_common::hash::Key;
    use tracer_core::request::{Filter, Request};

    use super::*;

    fn start(watch: Watch, pods: usize) -> Start {
        Start {
            node: "node-a".to_owned(),
            request: Request {
                pods: vec![[10, 0, 0, 1].into(); pods],
                ..Request::default()
            },
            watch,
            filter: Filter::default(),
            pods: Vec::new(),
            bystanders: Vec::new(),
            vxlan_ports: Vec::new(),
            key: Key([0; 2]),
            ring_size: 1 << 23,
            budget: 1,
            explain: false,
            snaplen: 0,
            dns_names: false,
            goes_along: false,
        }
    }

    fn job(start: &Start, kernel: &str, inside: Inside) -> Job {
        let wanted = Wanted {
            name: "tracer-1",
            start,
            image: "busybox",
            inside,
            pull: "Never",
            kernel,
            wait: Duration::from_secs(60),
        };
        wanted.job()
    }

    /// The only container of the Job's pod.
    fn container(job: Job) -> Container {
        let pod = job.spec.expect("a spec").template.spec.expect("a pod");
        let containers = <[Container; 1]>::try_from(pod.containers);
        let [container] = containers.expect("one container");
        container
    }

    fn capabilities(start: &Start, kernel: &str) -> Vec<String> {
        let container = container(job(start, kernel, Inside::Shell));
        let context = container.security_context.expect("a context");
        assert_eq!(context.privileged, Some(false));
        context.capabilities.and_then(|all| all.add).expect("some")
    }

    #[test]
    fn a_pod_may_do_what_its_follow_needs() {
        let base = ["BPF", "NET_ADMIN", "PERFMON", "SYSLOG"];
        let enters = ["SYS_ADMIN", "SYS_PTRACE", "NET_BROADCAST"];
        let remote = start(Watch::Follow, 0);
        assert_eq!(capabilities(&remote, "6.12.9-amd64"), base);
        let older = [&base[..], &["SYS_RESOURCE"]].concat();
        assert_eq!(capabilities(&remote, "5.10.0-30"), older);
        let all = [base.as_slice(), &enters].concat();
        assert_eq!(capabilities(&start(Watch::Follow, 1), "6.1.0"), all);
        assert_eq!(capabilities(&start(Watch::Drops, 0), "6.1"), all);
    }
    #[test]
    fn an_image_without_a_shell_is_held_by_tracer_itself() {
        let start = start(Watch::Follow, 1);
        let made = |inside| container(job(&start, "6.1", inside));
        let (mut shell, mut tracer) = (made(Inside::Shell), made(Inside::Tracer));
        let script = shell.command.take().expect("a command");
        assert_eq!(script[..2], ["sh", "-c"]);
        assert_eq!(script[2], script::of_pod());
        let command = tracer.command.take().expect("a command");
        assert_eq!(command, ["tracer", "agent", "--hold", "/tracer/pid"]);
        // The command must be `command`, because the image's entry point would take `args` as
        // its own.
        assert_eq!(tracer.args, None);
        // The file is in a memory volume that the pod may write to. Everything else is
        // read-only.
        let mounts = tracer.volume_mounts.as_ref().expect("a mount");
        assert_eq!(mounts[0].mount_path, "/tracer");
        // All else is the same.
        assert_eq!(shell, tracer);
    }
}
