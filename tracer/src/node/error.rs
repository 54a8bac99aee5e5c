//! Errors of a node, each in one sentence.

use std::{error::Error, io, path::PathBuf};

use tracer_core::model::Direction;

use super::{discover::DiscoverError, kernel::BtfError, tables::TooMany};
use crate::inventory::list;

/// Why an agent cannot start or continue.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Capabilities are missing: their names, each with its purpose.
    #[error(
        "tracer needs {}: run it as root, or give the program {}", list(.0, "and"),
        if .0.len() == 1 { "that capability" } else { "these capabilities" }
    )]
    Capabilities(Vec<&'static str>),
    /// The kernel lacks something.
    #[error("this kernel has no {what}: tracer needs {needs}")]
    Kernel {
        /// The missing feature.
        what: &'static str,
        /// What the feature needs, such as a kernel version.
        needs: &'static str,
    },
    /// The namespace cannot be entered.
    #[error("the network namespace {} cannot be entered ({source}): check the path given to --agent", path.display())]
    Namespace {
        /// Path of the namespace.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The interfaces were not found.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// The kernel's BTF cannot be used.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// The filter is too large.
    #[error(transparent)]
    Filter(#[from] TooMany),
    /// There is nothing to observe.
    #[error(
        "no interface to observe was found on {node}: is this the node's own network namespace?"
    )]
    NothingToObserve {
        /// Name of the node.
        node: String,
    },
    /// The kernel refuses the programs.
    #[error("the kernel refuses tracer's programs: {0}")]
    Load(String),
    /// The kernel refuses the XDP programs.
    #[error(
        "XDP is not observed: the kernel refuses tracer's programs for it, which need Linux 5.18: {0}"
    )]
    LoadXdp(String),
    /// The kernel does not let programs read its memory.
    #[error(
        "the kernel is locked down (confidentiality) and lets no program read dropped packets: boot \
         it with lockdown=integrity"
    )]
    LockedDown,
    /// A program cannot be attached.
    #[error("cannot attach to {interface} {direction}: {why}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// Direction of the program.
        direction: Direction,
        /// The kernel's reason.
        why: String,
    },
    /// A map cannot be read or written.
    #[error("a map of tracer's programs cannot be used: {0}")]
    Map(String),
    /// A thread or descriptor cannot be created.
    #[error("tracer cannot {what}: {source}")]
    System {
        /// Its purpose.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
}

impl NodeError {
    pub(super) fn load(source: &dyn Error) -> Self {
        Self::Load(chain(source))
    }

    pub(super) fn load_xdp(source: &dyn Error) -> Self {
        Self::LoadXdp(chain(source))
    }

    pub(super) fn map(source: &dyn Error) -> Self {
        Self::Map(chain(source))
    }

    pub(super) fn attach(interface: &str, direction: Direction, source: &dyn Error) -> Self {
        Self::Attach {
            interface: interface.to_owned(),
            direction,
            why: chain(source),
        }
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    without_log(&text)
}

/// The last line of a verifier's log, which may have thousands of lines. The whole log goes to
/// the debug messages.
fn without_log(text: &str) -> String {
    let Some((error, log)) = text.split_once("Verifier output:") else {
        return text.trim().replace('\n', " ");
    };
    tracing::debug!("verifier log:\n{log}");
    let statistics = |line: &&str| {
        ["verification time", "stack depth", "processed"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let last = log
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !statistics(line))
        .unwrap_or("no reason given");
    format!("{}: {last}", error.trim().trim_end_matches(['.', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_log_becomes_one_line() {
        let text = "the syscall returned Permission denied. Verifier output: 0: r1 = 0\n\
                    invalid access to packet\nverification time 3 usec\nprocessed 1 insns\n";
        assert_eq!(
            without_log(text),
            "the syscall returned Permission denied: invalid access to packet"
        );
    }
}
