//! Commands of an agent's pod, by the contents of its image.
//!
//! The cluster does not say what an image contains. Images of the list have a shell. An image
//! that the user named may have a shell or `tracer`, so the likelier content is tried first. If
//! the runtime does not find the program in the image, the pod never starts, and another one is
//! created.

use super::image;
use crate::link::script::{self, FOLDER};

/// What the image is assumed to contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// A shell, which receives `tracer`.
    Shell,
    /// `tracer`, and perhaps nothing else.
    Tracer,
}

/// Possible contents of an image that the user named, the likelier one first; `None`: an image
/// of the list.
pub(super) fn guesses(named: Option<&str>) -> &'static [Inside] {
    match named {
        None => &[Inside::Shell],
        Some(name) if image::is_tracers(name) => &[Inside::Tracer, Inside::Shell],
        Some(_) => &[Inside::Shell, Inside::Tracer],
    }
}

impl Inside {
    /// Command of the pod's own process, which waits for the agent and ends with it.
    pub(super) fn holder(self) -> Vec<String> {
        match self {
            Self::Shell => shell(script::of_pod()),
            Self::Tracer => tracer("--hold"),
        }
    }

    /// Command that becomes the agent, by exec. An image that the user named may have both a
    /// shell and `tracer`.
    pub(super) fn agent(self, was_named: bool) -> Vec<String> {
        match self {
            Self::Shell => shell(script::for_pod(was_named)),
            Self::Tracer => {
                let mut words = tracer("--pid-file");
                words.push("--stdio".to_owned());
                words
            }
        }
    }

    /// Whether a script answers before the agent (`upload`).
    pub(super) fn uploads(self) -> bool {
        self == Self::Shell
    }

    /// Name for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Shell => "a shell",
            Self::Tracer => "tracer",
        }
    }
}

fn shell(script: String) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

/// The command of an agent, with an option that takes the path of the file for the agent's
/// process id.
fn tracer(option: &str) -> Vec<String> {
    let file = format!("{FOLDER}/pid");
    ["tracer", "agent", option, &file].map(str::to_owned).into()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{AgentArguments, AgentCommand, Arguments, Command};

    #[test]
    fn only_an_image_that_was_named_may_have_no_shell() {
        assert_eq!(guesses(None), [Inside::Shell]);
        for name in [
            "localhost/tracer:0.1.0",
            "registry.example:5000/net/tracer",
            "registry.example/tracer@sha256:ab",
        ] {
            let both = [Inside::Tracer, Inside::Shell];
            assert_eq!(guesses(Some(name)), both, "{name}");
        }
        for name in [
            "busybox",
            "registry.example/tracer/tools:1",
            "tools:tracer",
            "opentracer:1",
        ] {
            let both = [Inside::Shell, Inside::Tracer];
            assert_eq!(guesses(Some(name)), both, "{name}");
        }
    }

    #[test]
    fn what_an_image_with_tracer_runs_is_what_tracer_takes() {
        let agent = |words: Vec<String>| {
            // An image may have the whole program, or the agent alone.
            let alone = AgentArguments::try_parse_from(&words).expect("it is a command");
            assert!(matches!(alone.command, AgentCommand::Agent(_)));
            let arguments = Arguments::try_parse_from(words).expect("it is a command");
            match arguments.command {
                Command::Agent(args) => args,
                other => panic!("{other:?}"),
            }
        };
        let file = Some("/tracer/pid".into());
        let holder = agent(Inside::Tracer.holder());
        assert_eq!((holder.hold, holder.stdio), (file.clone(), false));
        let comes = agent(Inside::Tracer.agent(true));
        assert_eq!((comes.pid_file, comes.stdio), (file, true));
        assert!(!Inside::Tracer.uploads() && Inside::Shell.uploads());
    }
}
