//! What the words on the command line ask for, and how long a user waits for it.
//!
//! If a cluster does not answer soon, or forbids the list, there are no names: a prompt is no place
//! for an error. It is no place for a question either, so a credential command gets no terminal.

use std::{env, ffi::OsString, fmt::Debug, path::PathBuf, sync::mpsc, thread, time::Duration};

use clap::{ArgMatches, Command, CommandFactory as _};
use nix::{
    sys::signal::{SigHandler, Signal, killpg, signal},
    unistd::{getpgrp, getpid, getsid},
};
use tokio::runtime;

use super::objects::Objects;
use crate::{cli::args::Arguments, cluster::Access};

/// The limit of the time that a user waits after pressing Tab.
const PATIENCE: Duration = Duration::from_secs(2);

/// The objects and the namespace that the words name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    access: Access,
    /// The objects file, which replaces a cluster.
    file: Option<PathBuf>,
    namespace: Option<String>,
}

impl Asked {
    /// Reads an incomplete command line.
    pub(super) fn by(words: impl Iterator<Item = OsString>) -> Self {
        let matches = lenient(Arguments::command()).try_get_matches_from(words);
        let matches = matches.ok();
        let matches = matches.as_ref().and_then(|matches| matches.subcommand());
        let Some((_, matches)) = matches else {
            return Self::default();
        };
        let text = |name: &str| one::<String>(matches, name);
        let path = |name: &str| one::<PathBuf>(matches, name).map(at_home);
        Self {
            access: Access {
                kubeconfig: path("kubeconfig"),
                context: text("context"),
                user: text("user"),
            },
            file: path("inventory"),
            namespace: text("namespace"),
        }
    }

    /// Whether an objects file has the names.
    pub(super) const fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Names of contexts in the kubeconfig.
    pub(super) fn contexts(self) -> Vec<String> {
        soon(move || self.access.contexts())
    }

    /// Names that `look` finds among the objects. Its second argument is the namespace of objects
    /// that are named without one.
    pub(super) fn names(
        self,
        look: impl AsyncFnOnce(Objects, String) -> Vec<String> + Send + 'static,
    ) -> Vec<String> {
        soon(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else {
                return Vec::new();
            };
            runtime.block_on(async {
                let objects = match &self.file {
                    Some(path) => Objects::of_file(path),
                    None => Objects::of_cluster(&self.access).await,
                };
                let Some(objects) = objects else {
                    return Vec::new();
                };
                let namespace = self.namespace;
                let namespace = namespace.unwrap_or_else(|| objects.namespace().to_owned());
                look(objects, namespace).await
            })
        })
    }
}

/// The names that `look` finds in the time that a user waits. A name server, a credential command,
/// or a kubeconfig that is a pipe may block for longer. Therefore a thread looks for the names, and
/// ends with the process. A timeout also ends the credential command.
fn soon(look: impl FnOnce() -> Vec<String> + Send + 'static) -> Vec<String> {
    let (found, names) = mpsc::channel();
    thread::spawn(move || {
        // Sending fails if nobody waits any more.
        let _: Result<(), _> = found.send(look());
    });
    names.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        end_commands();
        Vec::new()
    })
}

/// Ends started commands, if this process leads its own session ([`Access::connect_unattended`]).
/// Then this process has started all others in its group.
fn end_commands() {
    if getsid(None) != Ok(getpid()) {
        return;
    }
    // SAFETY: no handler is installed, and nothing else here uses the signal.
    let ignored = unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) };
    if ignored.is_ok() {
        // The group may have no other process.
        let _: Result<(), _> = killpg(getpgrp(), Signal::SIGTERM);
    }
}

/// The value of an argument, if the command has that argument.
fn one<T: Clone + Debug + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

/// A path as the shell will pass it. A word that is completed still has its `~`.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// Makes a command accept an incomplete command line.
fn lenient(command: Command) -> Command {
    let command = command.ignore_errors(true);
    command.mut_subcommands(|command| command.ignore_errors(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Asked {
        Asked::by(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_words_before_name_the_cluster() {
        let Asked {
            access,
            file,
            namespace,
        } = asked("tracer follow --kubeconfig /etc/k --context kind -n shop --src-pod we");
        assert_eq!(access.kubeconfig.as_deref(), Some("/etc/k".as_ref()));
        assert_eq!(access.context.as_deref(), Some("kind"));
        assert_eq!(file, None);
        assert_eq!(namespace.as_deref(), Some("shop"));
        let jane = asked("tracer follow --as jane --dst-pod");
        assert_eq!(jane.access.user.as_deref(), Some("jane"));
        assert_eq!(jane.namespace, None);
        assert_eq!(asked("tracer"), Asked::default());
    }

    #[test]
    fn the_words_before_name_the_objects_file() {
        for line in [
            "tracer follow --inventory ~/o.yaml -n shop --src pod/",
            "tracer drops --inventory ~/o.yaml --namespace shop --pod",
        ] {
            let asked = asked(line);
            let home = env::home_dir().expect("a home");
            assert_eq!(asked.file, Some(home.join("o.yaml")), "{line}");
            assert_eq!(asked.namespace.as_deref(), Some("shop"), "{line}");
        }
    }
}
