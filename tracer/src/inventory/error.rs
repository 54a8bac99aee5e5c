//! What can be wrong with an objects file, or with what is looked for in it.

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

/// Why the cluster's objects are not known, or one of them is not there.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("the objects file {p} cannot be read ({source}): {}", written(path, "it"), p = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not YAML. What it is, it may be for a good reason: nobody is
    /// told to overwrite it.
    #[error("{p} is not YAML ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// What the parser stumbled over, with its line.
        why: String,
    },
    /// The file begins as JSON does, and is none.
    #[error("{p} is not JSON ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// What the parser stumbled over, with its line.
        why: String,
    },
    /// The file is YAML and nothing that kubectl prints. Not to be overwritten
    /// either.
    #[error("{p} is YAML, but not of Kubernetes objects ({why}): write it with `{COMMAND} > objects.yaml`", p = path.display())]
    NotObjects {
        /// The file.
        path: PathBuf,
        /// What is missing or of another type.
        why: String,
    },
    /// The file lacks objects that nothing can be done without.
    #[error("{p} holds no {what}: {}", written(path, "it"), p = path.display())]
    Lacks {
        /// The file.
        path: PathBuf,
        /// `nodes` or `pods`.
        what: &'static str,
    },
    /// An address in the file is none.
    #[error("{p} gives {kind} {name} the address `{text}`, which is none: {}", written(path, "the file again"), p = path.display())]
    Address {
        /// The file.
        path: PathBuf,
        /// `node`, `pod` or `service`.
        kind: &'static str,
        /// Whose address.
        name: String,
        /// The address.
        text: String,
    },
    /// There is no such pod.
    #[error("{}{} holds no pod {name}: {}", path.display(), written_ago(*age), did_you_mean(near, "pods"))]
    UnknownPod {
        /// The file.
        path: PathBuf,
        /// How long ago it was written, where that is known.
        age: Option<Duration>,
        /// `namespace/name`.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// There is an object of that name in another namespace only.
    #[error(
        "{} holds no {kind} {name}, but {}: name the {kind} with its namespace",
        path.display(),
        list(elsewhere, "and")
    )]
    OtherNamespace {
        /// The file.
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
        /// The file.
        path: PathBuf,
        /// How long ago it was written, where that is known.
        age: Option<Duration>,
        /// `namespace/name`.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// The Service is a name for a name.
    #[error(
        "service {name} is of the type ExternalName and has no addresses: follow those of {target} with --src-ip or --dst-ip"
    )]
    ExternalName {
        /// `namespace/name`.
        name: String,
        /// The DNS name that it stands for.
        target: String,
    },
    /// The pod is not running any more.
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
        /// Mostly `Pending`.
        phase: String,
        /// Whether that is as the API server has it now.
        is_live: bool,
    },
    /// The file does not say which pods these are.
    #[error(
        "which pods {group} has is asked of the Kubernetes API, and {} does not say it: name a pod, or leave out --inventory",
        path.display()
    )]
    Group {
        /// The file.
        path: PathBuf,
        /// What was named.
        group: String,
    },
    /// None of the pods can be followed.
    #[error(
        "{group} has {pods} pods, and none that runs with an address of its own: `kubectl get pods -o wide` shows why"
    )]
    NoneRuns {
        /// What was named.
        group: String,
        /// How many pods it has.
        pods: usize,
    },
    /// The node's addresses are not known.
    #[error(
        "the addresses of node {0} are not known: give one with --src-ip or --dst-ip, or ask for the right to get nodes"
    )]
    NodeAddress(String),
    /// The pod's address is its node's.
    #[error(
        "pod {name} is on the host network, so its packets cannot be told from its node's: follow the node's address with --src-ip or --dst-ip {address}"
    )]
    HostNetwork {
        /// `namespace/name`.
        name: String,
        /// The node's address.
        address: IpAddr,
    },
    /// There is no such node.
    #[error("{} holds no node {name}: it has {}", path.display(), list(known, "and"))]
    UnknownNode {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The nodes that there are.
        known: Vec<String>,
    },
}

/// How to have the file, or `what` it is called.
fn written(path: &Path, what: &str) -> String {
    if path == Path::new(INPUT) {
        format!("pipe `{COMMAND}` into it")
    } else {
        format!("write {what} with `{COMMAND} > {}`", path.display())
    }
}

/// Stale objects are why most pods are not found.
fn written_ago(age: Option<Duration>) -> String {
    let old = age.filter(|age| *age >= Duration::from_mins(1));
    old.map_or_else(String::new, |age| format!(" (written {} ago)", ago(age)))
}

fn did_you_mean(near: &[String], kind: &str) -> String {
    match near {
        [] => format!(
            "`kubectl get {kind} -A` lists the cluster's, and a newer one is only in a newer file"
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
