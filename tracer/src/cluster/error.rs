//! Errors between a kubeconfig and the API server's answer.

use std::{error::Error, fmt::Display, io, path::PathBuf};

use kube::client::AuthError;

use super::{place::Place, rule::Rule};
use crate::inventory::{InventoryError, list, nearest};

/// Why a request to the cluster failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is no kubeconfig, and this is no pod.
    #[error(
        "there is no kubeconfig{}: name one with --kubeconfig FILE, or the cluster's objects with --inventory FILE",
        looked_for(.0)
    )]
    NoKubeconfig(Vec<PathBuf>),
    /// A kubeconfig cannot be read.
    #[error("the kubeconfig {p} cannot be read ({source}): name another with --kubeconfig FILE", p = path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kubeconfig is invalid, or refers to something that is missing.
    #[error(
        "the kubeconfig {files} cannot be used ({why}): `kubectl config view` shows what kubectl makes of it"
    )]
    Kubeconfig {
        /// The files, as KUBECONFIG lists them.
        files: String,
        /// What is wrong.
        why: String,
    },
    /// No context was named, and none is current.
    #[error("the kubeconfig {files} has no current context: {}", choose(contexts))]
    NoContext {
        /// The files, as KUBECONFIG lists them.
        files: String,
        /// The existing contexts.
        contexts: Vec<String>,
    },
    /// There is no such context.
    #[error(
        "the kubeconfig {files} has no context {name}: {}",
        did_you_mean(name, contexts)
    )]
    UnknownContext {
        /// The files, as KUBECONFIG lists them.
        files: String,
        /// The named context.
        name: String,
        /// The existing contexts.
        contexts: Vec<String>,
    },
    /// This process is in a pod that cannot use its service account.
    #[error(
        "this pod cannot use its service account ({why}): give it one (automountServiceAccountToken), or name a kubeconfig with --kubeconfig FILE"
    )]
    ServiceAccount {
        /// What is wrong.
        why: String,
    },
    /// The kubeconfig's credentials cannot be used.
    #[error("{origin} gives no credentials ({why}): `kubectl get pods` should fail alike")]
    Credentials {
        /// Source of the credentials.
        origin: String,
        /// What is wrong.
        why: String,
    },
    /// The server does not answer.
    #[error(
        "the API server {server} cannot be reached ({why}): is it the right context ({origin}), and is a VPN needed?"
    )]
    Unreachable {
        /// URL of the server.
        server: String,
        /// The system's error.
        why: String,
        /// Source of the server's address.
        origin: String,
    },
    /// The server that answers cannot prove to be the API server.
    #[error(
        "the API server {server} cannot be trusted ({why}): compare the certificate authority in {origin}"
    )]
    Tls {
        /// URL of the server.
        server: String,
        /// The cause.
        why: String,
        /// Source of the certificate authority.
        origin: String,
    },
    /// The server does not accept the credentials.
    #[error(
        "the API server {server} does not accept the credentials of {origin}: they may have expired, so log in again"
    )]
    Unauthorized {
        /// URL of the server.
        server: String,
        /// Source of the credentials.
        origin: String,
    },
    /// The server refuses the request of this user.
    #[error("the API server refuses: {why}{}", to_add(.0), why = .0)]
    Forbidden(String),
    /// There is no such object.
    #[error("there is no {what}{}", did_they_mean(near))]
    NoSuch {
        /// Kind and name of the object.
        what: String,
        /// Similar names.
        near: Vec<String>,
    },
    /// Nothing that was named has a pod.
    #[error("{0} has no pods: `kubectl get pods --show-labels` shows those that there are")]
    NoPods(String),
    /// The requested object does not exist.
    #[error("the API server has none: {0}")]
    NotFound(String),
    /// An object cannot be used.
    #[error(transparent)]
    Object(#[from] InventoryError),
    /// Anything else.
    #[error("the API server {server} fails: {why}")]
    Other {
        /// URL of the server.
        server: String,
        /// The server's message.
        why: String,
    },
}

impl ClusterError {
    pub(super) fn of(error: &kube::Error, place: &Place) -> Self {
        let (server, origin) = (place.server.clone(), place.source.clone());
        if let kube::Error::Api(status) = error {
            let why = status.message.clone();
            return match status.code {
                401 => Self::Unauthorized { server, origin },
                403 => Self::Forbidden(why),
                404 => Self::NotFound(why),
                _ => Self::Other { server, why },
            };
        }
        if let Some(error) = find::<AuthError>(error) {
            let why = credentials(error, place.command.as_deref());
            return Self::Credentials { origin, why };
        }
        if let Some(error) = find::<rustls::Error>(error) {
            let why = error.to_string();
            return Self::Tls {
                server,
                why,
                origin,
            };
        }
        if let Some(error) = find::<io::Error>(error) {
            let why = first_line(error);
            return Self::Unreachable {
                server,
                why,
                origin,
            };
        }
        let why = first_line(&innermost(error));
        Self::Other { server, why }
    }

    /// Whether the request may work later: no server answered, or the server had an internal
    /// error.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Other { .. })
    }
}

/// The RBAC rule that would allow the request, if the refusal names it.
fn to_add(refusal: &str) -> String {
    Rule::asked_for(refusal).map_or_else(String::new, |rule| {
        format!("; add {rule} (deploy/user.yaml has all rules)")
    })
}

/// Why a credential command gave no credentials.
fn credentials(error: &AuthError, command: Option<&str>) -> String {
    let command = command.unwrap_or("its credential command");
    match error {
        AuthError::AuthExecStart(source) => format!("{command} cannot be started: {source}"),
        AuthError::AuthExecRun { out, .. } => {
            let words = String::from_utf8_lossy(&out.stderr);
            let words = words.lines().find(|line| !line.trim().is_empty());
            let words = words.map_or_else(String::new, |line| format!(": {}", line.trim()));
            format!("{command} failed, {}{words}", out.status)
        }
        error => first_line(error),
    }
}

/// The first error of a type among an error and its causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    let mut found = None;
    while let Some(error) = next {
        // The innermost error has the most detail, because an I/O error may wrap another.
        found = error.downcast_ref().or(found);
        next = cause(error);
    }
    found
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut last = error;
    while let Some(next) = cause(last) {
        last = next;
    }
    last
}

/// The cause of an error. An I/O error that wraps another error returns that error's cause, and so
/// hides the wrapped error.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// The first line of an error, for a sentence.
pub(super) fn first_line(error: &impl Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn looked_for(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    match &*paths {
        [] => String::new(),
        [path] => format!(" ({path} does not exist)"),
        paths => format!(" ({} do not exist)", list(paths, "and")),
    }
}

fn choose(contexts: &[String]) -> String {
    match contexts {
        [] => "it has none at all, so name another file with --kubeconfig FILE".to_owned(),
        contexts => format!("choose one with --context: {}", list(contexts, "or")),
    }
}

fn did_they_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(": did you mean {}?", list(near, "or")),
    }
}

fn did_you_mean(name: &str, contexts: &[String]) -> String {
    let near = nearest(name, contexts.iter().cloned());
    match (&*near, contexts) {
        ([], []) => "it has none at all".to_owned(),
        ([], contexts) => format!("it has {}", list(contexts, "and")),
        (near, _) => format!("did you mean {}?", list(near, "or")),
    }
}
