//! Completion of words on the command line, with the names of a cluster's objects.
//!
//! A shell runs `tracer` for each completion, so a loaded script never gets out of date. Names come
//! from the objects file, the cluster or the kubeconfig that the words before name.

mod asked;
mod ends;
mod objects;

use std::{
    env,
    ffi::{OsStr, OsString},
    io, iter,
    path::PathBuf,
};

use clap::{Command, CommandFactory as _};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate, Shell,
    engine::complete,
    env::{CompleteEnv, Shells},
};

use self::{asked::Asked, objects::Objects};
use super::{args::Arguments, values::Kind};

/// The variable by which a shell's script asks for candidates.
const VARIABLE: &str = "COMPLETE";

/// The name of the program that kubectl runs to complete the words of `kubectl packet-path`. The
/// name follows kubectl's rule for plugins, and is a link to this program.
const OF_KUBECTL: &str = "kubectl_complete-packet_path";

/// The last line for kubectl, which excludes file names (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";

/// Makes the completer of an argument.
type Completes = fn() -> ArgValueCompleter;

/// The arguments whose values have names in a cluster, each with its completer.
const NAMES: [(&str, Completes); 10] = [
    ("context", contexts),
    ("namespace", namespaces),
    ("node", nodes),
    ("pod", pods),
    ("src", ends),
    ("dst", ends),
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
    ArgValueCompleter::new(|word: &OsStr| in_namespace(Kind::Pod, word))
}

/// Names of Services.
fn services() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| in_namespace(Kind::Service, word))
}

/// Names of nodes.
fn nodes() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        offered(word, async |objects, _| objects.names(Kind::Node, "").await)
    })
}

/// Names of namespaces.
fn namespaces() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        offered(word, async |objects, _| objects.namespaces().await)
    })
}

/// Names of contexts in the kubeconfig.
fn contexts() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| candidates(word, Asked::by(words()).contexts()))
}

/// Ends of a follow. The kinds need no cluster.
fn ends() -> ArgValueCompleter {
    ArgValueCompleter::new(|word: &OsStr| {
        let text = word.to_string_lossy().into_owned();
        let asked = Asked::by(words());
        let mut found = ends::kinds(&text, asked.has_file());
        found.extend(
            asked.names(async move |objects, namespace| {
                ends::names(&objects, &namespace, &text).await
            }),
        );
        candidates(word, found)
    })
}

/// Names in a namespace: `NAMESPACE/NAME` if the word has a namespace; otherwise `NAME` in the
/// default namespace, and `NAMESPACE/` for each namespace.
fn in_namespace(kind: Kind, word: &OsStr) -> Vec<CompletionCandidate> {
    let text = word.to_string_lossy().into_owned();
    offered(word, async move |objects, namespace| {
        if let Some((namespace, _)) = text.split_once('/') {
            let names = objects.names(kind, namespace).await.into_iter();
            return names.map(|name| format!("{namespace}/{name}")).collect();
        }
        let (mut offered, namespaces) =
            tokio::join!(objects.names(kind, &namespace), objects.namespaces());
        offered.extend(namespaces.into_iter().map(|name| format!("{name}/")));
        offered
    })
}

/// The names that continue a word.
fn offered(
    word: &OsStr,
    names: impl AsyncFnOnce(Objects, String) -> Vec<String> + Send + 'static,
) -> Vec<CompletionCandidate> {
    candidates(word, Asked::by(words()).names(names))
}

fn candidates(word: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let begins = word.to_string_lossy();
    let names = names.into_iter().filter(|name| name.starts_with(&*begins));
    names.map(CompletionCandidate::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
