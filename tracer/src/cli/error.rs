//! The end of a command: one sentence on stderr, if it failed, and an exit code.

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
    /// The command did what the user asked for.
    Done,
    /// No packet matched.
    NothingMatched,
    /// Packets had another fate than the user expected.
    Unexpected,
}

impl Outcome {
    /// The outcome of a follow with this number of journeys.
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
    /// Any other failure, in one sentence.
    Other(String),
    /// The reader of stdout has gone. This is no error, so there is no message.
    BrokenPipe,
}

impl Failure {
    /// A failure with the text of an error.
    pub fn new(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// For errors of writing to stdout.
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
        // tracer's own parsers refuse values, and their messages say which values are right.
        let hint = match error.kind() {
            ErrorKind::ValueValidation => "",
            _ => " (see --help)",
        };
        Self::Syntax(words.join(" ") + hint)
    }
}

/// Ends a command: writes the failure to stderr, if there is one.
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

/// Why a follow cannot start with these arguments.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The objects file is wrong, or a name that it should have.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The cluster cannot be read, or lacks a named object.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// This process cannot start the runtime that the API's client needs.
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
    /// No address of one end has the family of an address of the other.
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
        /// The other family.
        destination_family: &'static str,
    },
    /// The Service has other ports.
    #[error("{service} has no {asked}: it has {}", list(ports, "and"))]
    NoSuchPort {
        /// `service namespace/name`.
        service: String,
        /// The requested port.
        asked: String,
        /// The Service's ports.
        ports: Vec<String>,
    },
    /// There is no address to follow.
    #[error(
        "{0} has no endpoints, so there is no address to follow: `kubectl get endpointslices` shows why"
    )]
    NoEndpoints(String),
    /// The follow has more pairs than an agent takes.
    #[error(
        "this follow has more than {MAX_PAIRS} pairs of addresses and ports, and no more fit: name \
         fewer ends, or a CIDR that holds them"
    )]
    TooManyPairs,
    /// The kernel programs have room for few ports.
    #[error("{0} VXLAN ports are too many: give --vxlan-port at most 4 times")]
    VxlanPorts(usize),
    /// The ring buffer is smaller than a page.
    #[error("a ring buffer of {size} bytes is less than a page here: give at least {page}")]
    RingSize {
        /// The given size, in bytes.
        size: u32,
        /// The page size, in bytes.
        page: u32,
    },
    /// A dry run attaches nothing, so it has nothing to record.
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
    /// The recording and the view would both go to stdout.
    #[error(
        "-w - would mix the trace with what is shown, both on stdout: give a file, or use `tracer record -w -`"
    )]
    MixedOutput,
    /// A rotated recording needs names for its further files, which standard output does not have.
    #[error(
        "standard output cannot be rotated: give -w a file, or leave out --rotate-size and --rotate-time"
    )]
    RotatedOutput,
    /// An anonymized recording leaves captured frames out.
    #[error(
        "--anonymize leaves out of the recording what --snaplen captures: give only one of them"
    )]
    CapturesNothing,
    /// A recording is binary, and a terminal is for text.
    #[error(
        "a trace is binary and not for a terminal: give -w a file, or send stdout to one (`-w - > trace.arrows`)"
    )]
    TerminalOutput,
    /// Old files are to be removed, but the recording has only one file.
    #[error(
        "--rotate-keep is of use with several files only: give --rotate-size or --rotate-time, too"
    )]
    KeepsOneFile,
    /// The file with the secret cannot be read.
    #[error("cannot read the key in {p}: {source}", p = path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has no secret.
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
        /// One node.
        first: String,
        /// The other node.
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
        /// The cause.
        source: io::Error,
    },
    /// Agents run on Linux only.
    #[cfg(not(target_os = "linux"))]
    #[error(
        "the agent of {0} cannot run here, because agents run on Linux: reach the node with --agent \
         {0}=ssh:HOST, or leave --agent out on a cluster"
    )]
    NotLinux(String),
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
    /// A named node has no agent.
    #[error(
        "no agent for {node}: add --agent {node}=local if this machine is {node}, {node}=pod, or {node}=exec:COMMAND"
    )]
    UnwatchedNode {
        /// The node's name.
        node: String,
    },
    /// The namespace has no pods whose drops could be shown.
    #[error(
        "namespace {0} has no pod with an address of its own: `kubectl get pods -n {0} -o wide` shows its pods"
    )]
    NoPods(String),
    /// No end is named, so tracer does not know where to look.
    #[error(
        "no node to look at: name each with --agent NODE=local (this machine), NODE=pod or NODE=exec:COMMAND, or give --all-nodes"
    )]
    NoNode,
    /// No node of either end has an agent.
    #[error(
        "no agent for {}: add --agent {first}=local if this machine is {first}, or --agent {first}=exec:COMMAND",
        list(nodes, "and"),
        first = nodes[0]
    )]
    NoAgent {
        /// The nodes of the ends; never empty.
        nodes: Vec<String>,
    },
    /// The nodes of the ends are unknown, and no agent is given.
    #[error(
        "no known node has {source_end} or {destination_end}: name a node with --agent NODE=local or --agent NODE=exec:COMMAND"
    )]
    NoPlace {
        /// The source.
        source_end: String,
        /// The destination.
        destination_end: String,
    },
}

impl SettingsError {
    /// Whether the arguments alone are wrong, whatever the cluster has.
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
