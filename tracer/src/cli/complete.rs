//! Completion of words on the command line, with the names of a cluster's objects.
//!
//! A shell runs `tracer` for each completion, so a loaded script never gets out of date. Names come
//! from the cluster or the kubeconfig that the words before name. If a cluster does not answer
//! soon, or forbids the list, there are no candidates: a prompt is no place for an error. It is no
//! place for a question either, so a credential command gets no terminal.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Debug,
    io, iter,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::{ArgMatches, Command, CommandFactory as _};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate, Shell,
    engine::complete,
    env::{CompleteEnv, Shells},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Node, Pod, Service},
};
use kube::{Api, Resource};
use nix::{
    sys::signal::{SigHandler, Signal, killpg, signal},
    unistd::{getpgrp, getpid, getsid},
};
use serde::de::DeserializeOwned;
use tokio::runtime;

use super::args::Arguments;
use crate::cluster::{Access, Cluster, names};

/// The variable by which a shell's script asks for candidates.
const VARIABLE: &str = "COMPLETE";

/// The limit of the time that a user waits after pressing Tab.
const PATIENCE: Duration = Duration::from_secs(2);

/// The name of the program that kubectl runs to complete the words of `kubectl packet-path`. The
/// name follows kubectl's rule for plugins, and is a link to this program.
const OF_KUBECTL: &str = "kubectl_complete-packet_path";

/// The last line for kubectl, which excludes file names (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";

/// Makes the completer of an argument.
type Completes = fn() -> ArgValueCompleter;

/// The arguments whose values are names in a cluster, each with its completer.
const NAMES: [(&str, Completes); 8] = [
    ("context", contexts),
    ("namespace", namespaces),
    ("node", nodes),
    ("pod", pods),
    ("src_pod", pods),
    ("dst_pod", pods),
    ("src_service", services),
    ("dst_service", services),
];

/// The command line, with the completers of names.
fn command() -> Command {
    Arguments::command().mut_subcommands(|command| {
        command.mut_args(|arg| {
            let named = NAMES.iter().find(|(name, _)| arg.get_id() == name);
            match named {
                Some((_, completer)) => arg.add(completer()),
                None => arg,
            }
        })
    })
}

/// Answers a shell's script or kubectl. Returns `None` if neither of the two asks. After the answer
/// to a script, the process ends here.
pub(super) fn answer() -> Option<io::Result<Vec<u8>>> {
    if is_for_kubectl() {
        return Some(for_kubectl());
    }
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
    None
}

fn is_for_kubectl() -> bool {
    let program = env::args_os().next().map(PathBuf::from);
    program.is_some_and(|program| program.file_name() == Some(OF_KUBECTL.as_ref()))
}

/// One candidate per line, with its description after a tab, and then the directive.
fn for_kubectl() -> io::Result<Vec<u8>> {
    let words: Vec<OsString> = words().collect();
    let last = words.len() - 1;
    let found = complete(&mut command(), words, last, None)?;
    let mut lines = String::new();
    for candidate in found {
        lines.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = help.to_string();
            lines.push('\t');
            lines.push_str(help.lines().next().unwrap_or_default());
        }
        lines.push('\n');
    }
    lines.push_str(NO_FILES);
    lines.push('\n');
    Ok(lines.into_bytes())
}

/// The words of the command line to complete, with the program's name.
fn words() -> impl Iterator<Item = OsString> {
    let before = if is_for_kubectl() {
        1
    } else {
        // A script also passes the program's name, after `--`.
        env::args_os().take_while(|word| word != "--").count() + 2
    };
    iter::once("tracer".into()).chain(env::args_os().skip(before))
}

/// Writes the script with which a shell asks this program.
///
/// # Errors
/// If the path of this program is unknown.
pub(super) fn script(shell: Shell) -> io::Result<Vec<u8>> {
    let program = env::current_exe()?;
    let shells = Shells::builtins();
    let name = shell.to_string();
    let shell = shells
        .completer(&name)
        .ok_or_else(|| io::Error::other(format!("no script for {name}")))?;
    let mut script = Vec::new();
    let program = program.to_string_lossy();
    shell.write_registration(VARIABLE, "tracer", "tracer", &program, &mut script)?;
    Ok(script)
}

/// Names of pods.
fn pods() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| in_namespace::<Pod>(word))
}

/// Names of Services.
fn services() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| in_namespace::<Service>(word))
}

/// Names of nodes.
fn nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| of_cluster::<Node>(word))
}

/// Names of namespaces.
fn namespaces() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| of_cluster::<Namespace>(word))
}

/// Names of contexts in the kubeconfig.
fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let (access, _) = asked();
        candidates(word, soon(move || access.contexts()))
    })
}

/// Names of objects that belong to no namespace.
fn of_cluster<K>(word: &OsStr) -> Vec<CompletionCandidate>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    offered(word, async |cluster, _| {
        names(&Api::<K>::all(cluster.client)).await
    })
}

/// Names in a namespace: `NAMESPACE/NAME` if the word has a namespace; otherwise `NAME` in the
/// default namespace, and `NAMESPACE/` for each namespace.
fn in_namespace<K>(word: &OsStr) -> Vec<CompletionCandidate>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let text = word.to_string_lossy().into_owned();
    offered(word, async move |cluster, namespace| {
        if let Some((namespace, _)) = text.split_once('/') {
            let names = names(&Api::<K>::namespaced(cluster.client, namespace)).await;
            let names = names.into_iter();
            return names.map(|name| format!("{namespace}/{name}")).collect();
        }
        let namespace = namespace.unwrap_or(cluster.namespace);
        let objects = Api::<K>::namespaced(cluster.client.clone(), &namespace);
        let namespaces = Api::<Namespace>::all(cluster.client);
        let (mut offered, namespaces) = tokio::join!(names(&objects), names(&namespaces));
        offered.extend(namespaces.into_iter().map(|name| format!("{name}/")));
        offered
    })
}

/// The cluster's names that continue a word.
fn offered(
    word: &OsStr,
    names: impl AsyncFnOnce(Cluster, Option<String>) -> Vec<String> + Send + 'static,
) -> Vec<CompletionCandidate> {
    let (access, namespace) = asked();
    let found = soon(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else {
            return Vec::new();
        };
        runtime.block_on(async {
            match access.connect_unattended().await {
                Some(cluster) => names(cluster, namespace).await,
                None => Vec::new(),
            }
        })
    });
    candidates(word, found)
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

fn candidates(word: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let begins = word.to_string_lossy();
    let names = names.into_iter().filter(|name| name.starts_with(&*begins));
    names.map(CompletionCandidate::new).collect()
}

/// The cluster and the namespace that the words on the command line name.
fn asked() -> (Access, Option<String>) {
    asked_by(words())
}

fn asked_by(words: impl Iterator<Item = OsString>) -> (Access, Option<String>) {
    let matches = lenient(Arguments::command()).try_get_matches_from(words);
    let matches = matches.ok();
    let matches = matches.as_ref().and_then(|matches| matches.subcommand());
    let Some((_, matches)) = matches else {
        return (Access::default(), None);
    };
    let text = |name: &str| one::<String>(matches, name);
    let access = Access {
        kubeconfig: one::<PathBuf>(matches, "kubeconfig"),
        context: text("context"),
        user: text("user"),
    };
    (access, text("namespace"))
}

/// The value of an argument, if the command has that argument.
fn one<T: Clone + Debug + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

/// Makes a command accept an incomplete command line.
fn lenient(command: Command) -> Command {
    let command = command.ignore_errors(true);
    command.mut_subcommands(|command| command.ignore_errors(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_before_name_the_cluster() {
        let words = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            asked_by(words.into_iter())
        };
        let (access, namespace) =
            words("tracer follow --kubeconfig /etc/k --context kind -n shop --src-pod we");
        assert_eq!(access.kubeconfig.as_deref(), Some("/etc/k".as_ref()));
        assert_eq!(access.context.as_deref(), Some("kind"));
        assert_eq!(namespace.as_deref(), Some("shop"));
        let (access, namespace) = words("tracer follow --as jane --dst-pod");
        assert_eq!(access.user.as_deref(), Some("jane"));
        assert_eq!(namespace, None);
        assert_eq!(words("tracer"), (Access::default(), None));
    }

    #[test]
    fn each_name_that_is_completed_is_an_arguments() {
        let command = Arguments::command();
        for (name, _) in NAMES {
            let mut args = command.get_subcommands().flat_map(Command::get_arguments);
            assert!(args.any(|arg| arg.get_id() == name), "{name}");
        }
    }

    #[test]
    fn what_continues_the_word_is_offered() {
        let names = ["shop/", "shop-web", "cart"].map(str::to_owned).to_vec();
        let offered = candidates("shop".as_ref(), names);
        let offered: Vec<_> = offered.iter().map(CompletionCandidate::get_value).collect();
        assert_eq!(offered, ["shop/", "shop-web"]);
    }

    #[test]
    fn each_shell_has_a_script_that_asks_this_program() {
        for shell in [
            Shell::Bash,
            Shell::Elvish,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Zsh,
        ] {
            let script = script(shell).expect("a script");
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains(VARIABLE), "{shell}");
        }
    }
}
