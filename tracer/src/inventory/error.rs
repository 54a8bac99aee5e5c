//! Errors of an objects file, and of look-ups in it.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    COMMAND,
    sentence::{age as ago, list},
};
use crate::stdio::INPUT;

/// Why the cluster's objects are not known, or one of them does not exist.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("the objects file {p} cannot be read ({source}): {}", written(path, "it"), p = path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is not YAML. It may be there for another purpose, so the message does not say
    /// to overwrite it.
    #[error("{p} is not YAML ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotYaml {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error, with the line.
        why: String,
    },
    /// The file begins like JSON, but is not JSON.
    #[error("{p} is not JSON ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotJson {
        /// Path of the file.
        path: PathBuf,
        /// The parser's error, with the line.
        why: String,
    },
    /// The file is YAML, but not kubectl's output. The message does not say to overwrite it
    /// either.
    #[error("{p} is YAML, but not of Kubernetes objects ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotObjects {
        /// Path of the file.
        path: PathBuf,
        /// What is missing, or has another type.
        why: String,
    },
    /// The file lacks required objects.
    #[error("{p} holds no {what}: {}", written(path, "it"), p = path.display())]
    Lacks {
        /// Path of the file.
        path: PathBuf,
        /// `nodes` or `pods`.
        what: &'static str,
    },
    /// An address in the file is invalid.
    #[error("{p} gives {kind} {name} the address `{text}`, which is none: {}", written(path, "the file again"), p = path.display())]
    Address {
        /// Path of the file.
        path: PathBuf,
        /// `node`, `pod` or `service`.
        kind: &'static str,
        /// Name of the object with this address.
        name: String,
        /// The address.
        text: String,
    },
    /// There is no such pod.
    #[error("{}{} holds no pod {name}: {}", path.display(), written_ago(*age), did_you_mean(near, "pods"))]
    UnknownPod {
        /// Path of the file.
        path: PathBuf,
        /// Age of the file; `None` if it is not known.
        age: Option<Duration>,
        /// `namespace/name`.
        name: String,
        /// Similar names.
        near: Vec<String>,
    },
    /// An object of that name exists in other namespaces only.
    #[error(
        "{} holds no {kind} {name}, but {}: name the {kind} with its namespace",
        path.display(),
        list(elsewhere, "and")
    )]
    OtherNamespace {
        /// Path of the file.
        path: PathBuf,
        /// `pod` or `service`.
        kind: &'static str,
        /// `namespace/name`.
        name: String,
        /// The same name in other namespaces.
        elsewhere: Vec<String>,
    },
    /// There is no such Service.
    #[error("{}{} holds no service {name}: {}", path.display(), written_ago(*age), did_you_mean(near, "services"))]
    UnknownService {
        /// Path of the file.
        path: PathBuf,
        /// Age of the file; `None` if it is not known.
        age: Option<Duration>,
        /// `namespace/name`.
        name: String,
        /// Similar names.
        near: Vec<String>,
    },
    /// The Service is of the type ExternalName.
    #[error(
        "service {name} is of the type ExternalName and has no addresses: follow those of {target} with --src-ip or --dst-ip"
    )]
    ExternalName {
        /// `namespace/name`.
        name: String,
        /// DNS name that the Service stands for.
        target: String,
    },
    /// The pod has ended.
    #[error(
        "pod {name} has ended ({phase}) and its address may be another pod's by now: follow a running pod"
    )]
    Ended {
        /// `namespace/name`.
        name: String,
        /// `Succeeded` or `Failed`.
        phase: String,
    },
    /// The pod has no address yet.
    #[error(
        "pod {name} has no IP address{}: wait until `kubectl get pod -o wide` shows one{}",
        phase_in_brackets(phase),
        if *is_live { "" } else { ", and write the objects file again" }
    )]
    NoAddress {
        /// `namespace/name`.
        name: String,
        /// Phase of the pod, mostly `Pending`.
        phase: String,
        /// Whether the object comes from the API server, and so is current.
        is_live: bool,
    },
    /// A file does not say which pods belong to a group.
    #[error(
        "only the Kubernetes API lists the pods of {group}, and {} does not: name a pod, or leave out --inventory",
        path.display()
    )]
    Group {
        /// Path of the file.
        path: PathBuf,
        /// The group, as it was named.
        group: String,
    },
    /// No pod of the group can be followed.
    #[error(
        "{group} has {pods} pods, and none that runs with an address of its own: `kubectl get pods -o wide` shows why"
    )]
    NoneRuns {
        /// The group, as it was named.
        group: String,
        /// Number of the group's pods.
        pods: usize,
    },
    /// The node's addresses are not known.
    #[error(
        "the addresses of node {0} are not known: give one with --src-ip or --dst-ip, or ask for the right to get nodes"
    )]
    NodeAddress(String),
    /// The pod is on the host network, so its address is its node's.
    #[error(
        "pod {name} is on the host network, so its packets cannot be told from its node's: follow the node's address with --src-ip or --dst-ip {address}"
    )]
    HostNetwork {
        /// `namespace/name`.
        name: String,
        /// Address of the node.
        address: IpAddr,
    },
    /// There is no such node.
    #[error("{} holds no node {name}: it has {}", path.display(), list(known, "and"))]
    UnknownNode {
        /// Path of the file.
        path: PathBuf,
        /// The unknown name.
        name: String,
        /// The existing nodes.
        known: Vec<String>,
    },
}

/// How to write the file; `what` is its name in the sentence.
fn written(path: &Path, what: &str) -> String {
    if path == Path::new(INPUT) {
        format!("pipe `{COMMAND}` into it")
    } else {
        format!("write {what} with `{COMMAND} > {}`", path.display())
    }
}

/// The age in a sentence, because most missing pods are due to outdated objects.
fn written_ago(age: Option<Duration>) -> String {
    let old = age.filter(|age| *age >= Duration::from_mins(1));
    old.map_or_else(String::new, |age| format!(" (written {} ago)", ago(age)))
}

fn did_you_mean(near: &[String], kind: &str) -> String {
    match near {
        [] => format!(
            "`kubectl get {kind} -A` lists those in the cluster; write the file again to include new ones"
        ),
        near => format!("did you mean {}?", list(near, "or")),
    }
}

fn phase_in_brackets(phase: &str) -> String {
    match phase {
        "" => String::new(),
        phase => format!(" (it is {phase})"),
    }
}
