//! How a command fails: one sentence on stderr, and an exit code.

use std::{fmt::Display, io, path::PathBuf, process::ExitCode};

use clap::error::ErrorKind;

use crate::{
    cluster::ClusterError,
    inventory::{InventoryError, list},
    link::wire::MAX_PAIRS,
    terminal::tell,
};

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked for.
    Done,
    /// No packet matched.
    NothingMatched,
    /// Packets fared otherwise than was expected.
    Unexpected,
}

impl Outcome {
    /// That of a follow with so many journeys.
    #[must_use]
    pub const fn of(matched: u64) -> Self {
        if matched == 0 {
            Self::NothingMatched
        } else {
            Self::Done
        }
    }
}

/// Why a command failed, ready to be shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The arguments contradict each other.
    Syntax(String),
    /// Anything else: one sentence.
    Other(String),
    /// Who read stdout has gone. Nothing is wrong and nobody is told.
    BrokenPipe,
}

impl Failure {
    /// A failure with what an error says.
    pub fn new(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// For errors in writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Other(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let sentence = error.to_string();
        if error.is_contradiction() {
            Self::Syntax(sentence)
        } else {
            Self::Other(sentence)
        }
    }
}

/// For arguments that clap refuses, without its usage lines.
impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.to_string().replace("\n\n  tip: ", "; ");
        let (said, _) = text.split_once("\n\nUsage: ").unwrap_or((&text, ""));
        let (said, _) = said
            .split_once("\n\nFor more information")
            .unwrap_or((said, ""));
        let words: Vec<&str> = said.split_whitespace().skip(1).collect();
        // Values are refused by our own parsers, which say what would do.
        let hint = match error.kind() {
            ErrorKind::ValueValidation => "",
            _ => " (see --help)",
        };
        Self::Syntax(words.join(" ") + hint)
    }
}

/// Ends a command: tells stderr what failed, if anything did.
#[must_use]
pub(super) fn finish(result: Result<Outcome, Failure>) -> ExitCode {
    let (code, sentence) = match result {
        Ok(Outcome::Done) | Err(Failure::BrokenPipe) => (0, None),
        Ok(Outcome::Unexpected) => (3, None),
        Ok(Outcome::NothingMatched) => (4, None),
        Err(Failure::Other(sentence)) => (1, Some(sentence)),
        Err(Failure::Syntax(sentence)) => (2, Some(sentence)),
    };
    if let Some(sentence) = sentence {
        tell(&sentence);
    }
    ExitCode::from(code)
}

/// Why arguments make no follow.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The objects file is at fault, or the name.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The cluster cannot be asked, or lacks what was named.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster cannot be asked by this process.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    /// ICMP has no ports.
    #[error("ICMP has no ports: leave out --src-port and --dst-port, or choose another --proto")]
    IcmpPorts,
    /// DNS has its own port.
    #[error("DNS is asked at port 53, so --dns takes no --dst-port: leave one of them out")]
    DnsPort,
    /// DNS uses UDP and TCP.
    #[error("DNS uses UDP and TCP: with --dns, leave out --proto, or give udp or tcp")]
    DnsProto,
    /// Source and destination are the same.
    #[error("source and destination are both {0}: give two different ends")]
    SameEnds(String),
    /// No address of one end can talk to one of the other.
    #[error(
        "{source_end} has only {source_family} addresses and {destination_end} only {destination_family}: give two ends of one family"
    )]
    Families {
        /// The source.
        source_end: String,
        /// `IPv4` or `IPv6`.
        source_family: &'static str,
        /// The destination.
        destination_end: String,
        /// The other.
        destination_family: &'static str,
    },
    /// The Service has other ports.
    #[error("{service} has no {asked}: it has {}", list(ports, "and"))]
    NoSuchPort {
        /// `service namespace/name`.
        service: String,
        /// What was asked for.
        asked: String,
        /// The ports that it has.
        ports: Vec<String>,
    },
    /// There is no address to follow.
    #[error(
        "{0} has no endpoints, so there is no address to follow: `kubectl get endpointslices` shows why"
    )]
    NoEndpoints(String),
    /// More than an agent can be told.
    #[error(
        "this follow has more than {MAX_PAIRS} pairs of addresses and ports, and no more fit: name \
         fewer ends, or a CIDR that holds them"
    )]
    TooManyPairs,
    /// The kernel programs have room for few ports.
    #[error("{0} VXLAN ports are too many: give --vxlan-port at most 4 times")]
    VxlanPorts(usize),
    /// The ring buffer is less than a page.
    #[error("a ring buffer of {size} bytes is less than a page here: give at least {page}")]
    RingSize {
        /// What was given, in bytes.
        size: u32,
        /// The page size, in bytes.
        page: u32,
    },
    /// Nothing is attached, so nothing can be recorded.
    #[error("--dry-run attaches nothing, so there is nothing to record: leave out -w or --dry-run")]
    DryRecording,
    /// `-o pcapng` beside `--dry-run`.
    #[error("--dry-run sees no packets, so there is no capture: leave out -o pcapng or --dry-run")]
    DryCapture,
    /// `--expect-file` beside `--dry-run`.
    #[error(
        "--dry-run attaches nothing, so no flow can be compared: leave out --expect-file or --dry-run"
    )]
    DryExpectations,
    /// The view goes to the same place.
    #[error(
        "-w - would mix the trace with what is shown, both on stdout: give a file, or use `tracer record -w -`"
    )]
    MixedOutput,
    /// Standard output has no other name to go on under.
    #[error(
        "standard output cannot be rotated: give -w a file, or leave out --rotate-size and --rotate-time"
    )]
    RotatedOutput,
    /// What is captured goes nowhere.
    #[error(
        "--anonymize leaves out of the recording what --snaplen captures: give only one of them"
    )]
    CapturesNothing,
    /// A trace is no text.
    #[error(
        "a trace is binary and not for a terminal: give -w a file, or send stdout to one (`-w - > trace.arrows`)"
    )]
    TerminalOutput,
    /// Files are to be removed of a recording that has one.
    #[error(
        "--rotate-keep is of use with several files only: give --rotate-size or --rotate-time, too"
    )]
    KeepsOneFile,
    /// The secret cannot be read.
    #[error("cannot read the key in {p}: {source}", p = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no secret in it.
    #[error("there is no key in {p}: write one line into it", p = .0.display())]
    EmptyKey(PathBuf),
    /// A node with two agents.
    #[error("node {0} has two agents: give --agent once per node")]
    TwoAgents(String),
    /// Two nodes in one namespace.
    #[error(
        "the agents of {first} and {second} are in the same network namespace: give each node its own"
    )]
    SharedNamespace {
        /// A node.
        first: String,
        /// Another.
        second: String,
    },
    /// The file of a network namespace cannot be opened.
    #[error(
        "the network namespace {p} of node {node} cannot be opened ({source}): `ip netns list` shows those with names, and opening others takes root",
        p = path.display()
    )]
    Namespace {
        /// The agent's node.
        node: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no namespace.
    #[error(
        "{p}, given for node {node}, is no network namespace: give a file such as /run/netns/NAME or /proc/PID/ns/net",
        p = path.display()
    )]
    NotNamespace {
        /// The agent's node.
        node: String,
        /// The file.
        path: PathBuf,
    },
    /// A node was named that nobody looks at.
    #[error(
        "no agent for {node}: add --agent {node}=local if this machine is {node}, {node}=pod, or {node}=exec:COMMAND"
    )]
    UnwatchedNode {
        /// Its name.
        node: String,
    },
    /// Without an end to go by, it is not known where to look.
    #[error(
        "no node to look at: name each with --agent NODE=local (this machine), NODE=pod or NODE=exec:COMMAND, or give --all-nodes"
    )]
    NoNode,
    /// Nobody looks at either end.
    #[error(
        "no agent for {}: add --agent {first}=local if this machine is {first}, or --agent {first}=exec:COMMAND",
        list(nodes, "and"),
        first = nodes[0]
    )]
    NoAgent {
        /// The nodes of the ends; never empty.
        nodes: Vec<String>,
    },
    /// It is not known on which nodes the ends are, and nobody looks anywhere.
    #[error(
        "neither {source_end} nor {destination_end} is on a node that is known: name one to look at with --agent NODE=local or --agent NODE=exec:COMMAND"
    )]
    NoPlace {
        /// The source.
        source_end: String,
        /// The destination.
        destination_end: String,
    },
}

impl SettingsError {
    /// Whether the arguments alone are at fault.
    const fn is_contradiction(&self) -> bool {
        matches!(
            self,
            Self::IcmpPorts
                | Self::DnsPort
                | Self::DnsProto
                | Self::SameEnds(_)
                | Self::Families { .. }
                | Self::VxlanPorts(_)
                | Self::RingSize { .. }
                | Self::DryRecording
                | Self::DryCapture
                | Self::DryExpectations
                | Self::MixedOutput
                | Self::RotatedOutput
                | Self::CapturesNothing
                | Self::KeepsOneFile
                | Self::TwoAgents(_)
        )
    }
}
