//! The arguments as they are typed: nothing is looked up here.

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::Duration,
};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::{
    help,
    values::{self, AgentSpec, EndName},
};

/// Where did my packet go, and if it died, where and why?
///
/// tracer follows live packets from pod to pod, across nodes, and shows every hop inside the kernels on
/// the way. A hop is one packet seen at one observation point — not a router: a ping between nodes has
/// eight or more. It is passive: it changes no packet, no rule and no setting.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    after_help = help::TRACER,
    max_term_width = 80,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// Say more on stderr about what is being done; twice for details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Follow live packets between two ends and show every hop
    ///
    /// A hop is one packet seen at one observation point (a node, a network namespace, an interface, a
    /// direction) — not a router: a ping between nodes has eight or more. Both directions are followed,
    /// until Ctrl-C, --duration or --count; a summary comes last. Data goes to stdout, all else to stderr.
    #[command(after_help = help::FOLLOW, override_usage = help::FOLLOW_USAGE)]
    Follow(Box<FollowArgs>),

    /// Show the packets that the nodes' kernels drop, by pod, place, reason and function
    ///
    /// Every packet that a kernel gives up is freed by one function, with a reason. Many of those had
    /// arrived, or were copies: only losses are shown, and what cannot be told to be none. One line per
    /// kind of drop and second, until Ctrl-C, --duration or --count; a summary comes last.
    #[command(after_help = help::DROPS)]
    Drops(Box<DropsArgs>),

    /// Show the version
    #[command(after_help = help::VERSION)]
    Version,

    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The arguments of `tracer follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    /// Where the packets come from.
    #[command(flatten)]
    pub source: Source,

    /// Where they go.
    #[command(flatten)]
    pub destination: Destination,

    /// Namespace of pods that are named without one
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default", help_heading = WHAT)]
    pub namespace: String,

    /// Follow this protocol only
    #[arg(long, value_enum, default_value_t, help_heading = WHAT)]
    pub proto: Protocol,

    /// Follow packets from this port of the source only, and their answers
    #[arg(
        long,
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true,
        help_heading = WHAT
    )]
    pub src_port: Option<u16>,

    /// Follow packets to this port of the destination only, and their answers
    #[arg(
        long,
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true,
        help_heading = WHAT
    )]
    pub dst_port: Option<u16>,

    /// End after this time, such as 30s, 5m or 500ms
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub duration: Option<Duration>,

    /// End after so many journeys: one packet's way each, ARP and ND not counted
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u64>,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub count: Option<u64>,

    /// How long to wait for a packet's next hop before calling it missing
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        default_value = "5s",
        help_heading = END
    )]
    pub hold: Duration,

    /// Cluster objects, as `kubectl get nodes,pods,services,endpointslices -A -o yaml` prints them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub inventory: Option<PathBuf>,

    /// How to look into a node: NODE=local or NODE=netns:PATH; once per node
    ///
    /// NODE=local is this machine; NODE=netns:PATH is a network namespace on it that is the node's own, as
    /// in a lab or kind. Without objects file and agents, this machine is looked at.
    #[arg(long = "agent", value_name = "NODE=SPEC", help_heading = WHERE)]
    pub agents: Vec<AgentSpec>,

    /// Also observe the pods' own interfaces, inside their namespaces
    #[arg(long, help_heading = WHERE)]
    pub pod_interfaces: bool,

    /// Take packets to this UDP port for VXLAN, besides 8472, 4789 and those of the nodes' devices; at
    /// most 4
    #[arg(
        long = "vxlan-port",
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true,
        help_heading = WHERE
    )]
    pub vxlan_ports: Vec<u16>,

    /// Show where it would look, on which nodes, and what could hide packets there; attach nothing
    #[arg(long, help_heading = WHERE)]
    pub dry_run: bool,

    /// Output format; json is one object a line
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,

    /// Whether to read what may explain a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Most events per second and node; above it packets are sampled, and the summary says so
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u32>,
        allow_hyphen_values = true,
        default_value = "50000",
        help_heading = COST
    )]
    pub budget: u32,

    /// Size of a node's ring buffer, a power of two: 512KiB, 8MiB
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::ring_size,
        allow_hyphen_values = true,
        default_value = "8MiB",
        help_heading = COST
    )]
    pub ring_size: u32,
}

/// Whether to read what may explain a drop.
#[derive(Debug, Args)]
pub struct Explain {
    /// Tell what routes, neighbours, rules and the like are at the moment of a drop; default: on a
    /// terminal
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = OUTPUT
    )]
    pub explain: Option<bool>,
}

impl Explain {
    /// Whether that was asked for.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.explain.unwrap_or_else(|| io::stdout().is_terminal())
    }
}

/// The arguments of `tracer drops`.
#[derive(Debug, Args)]
pub struct DropsArgs {
    /// Show only packets from or to this pod, or dropped inside it: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub pod: Option<EndName>,

    /// Namespace of a pod that is named without one
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default", help_heading = WHAT)]
    pub namespace: String,

    /// Show only drops on this node
    #[arg(long, value_name = "NODE", help_heading = WHAT)]
    pub node: Option<String>,

    /// End after this time, such as 30s, 5m or 500ms
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub duration: Option<Duration>,

    /// End after so many dropped packets
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u64>,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub count: Option<u64>,

    /// Cluster objects, as `kubectl get nodes,pods,services,endpointslices -A -o yaml` prints them
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub inventory: Option<PathBuf>,

    /// How to look into a node: NODE=local or NODE=netns:PATH; once per node
    ///
    /// NODE=local is this machine; NODE=netns:PATH is a network namespace on it that is the node's own, as
    /// in a lab or kind. Without objects file and agents, this machine is looked at.
    #[arg(long = "agent", value_name = "NODE=SPEC", help_heading = WHERE)]
    pub agents: Vec<AgentSpec>,

    /// Output format; json is one object a line
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,

    /// Whether to read what may explain a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Most events per second and node; what is above it is only counted
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u32>,
        allow_hyphen_values = true,
        default_value = "50000",
        help_heading = COST
    )]
    pub budget: u32,

    /// Size of a node's ring buffer, a power of two: 512KiB, 8MiB
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::ring_size,
        allow_hyphen_values = true,
        default_value = "8MiB",
        help_heading = COST
    )]
    pub ring_size: u32,
}

/// Headings of the help.
const WHAT: &str = "What to follow";
const WHERE: &str = "Where to look";
const END: &str = "When to end";
const OUTPUT: &str = "Output";
const COST: &str = "What it may cost";

/// One side of a follow.
#[derive(Debug, Args)]
#[group(id = "source", required = true, multiple = false)]
pub struct Source {
    /// Source: `[NAMESPACE:]pod/NAME`, an IP address or a network
    #[arg(long, value_name = "END", help_heading = WHAT)]
    pub src: Option<EndName>,

    /// Source pod: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub src_pod: Option<EndName>,

    /// Source IP address
    #[arg(long, value_name = "IP", value_parser = values::address, help_heading = WHAT)]
    pub src_ip: Option<EndName>,
}

/// The other side.
#[derive(Debug, Args)]
#[group(id = "destination", required = true, multiple = false)]
pub struct Destination {
    /// Destination: `[NAMESPACE:]pod/NAME`, an IP address or a network
    #[arg(long, value_name = "END", help_heading = WHAT)]
    pub dst: Option<EndName>,

    /// Destination pod: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub dst_pod: Option<EndName>,

    /// Destination IP address
    #[arg(long, value_name = "IP", value_parser = values::address, help_heading = WHAT)]
    pub dst_ip: Option<EndName>,
}

impl Source {
    /// Whichever way it was named.
    pub(super) fn name(&self) -> EndName {
        let Self {
            src,
            src_pod,
            src_ip,
        } = self;
        the_one([src, src_pod, src_ip])
    }
}

impl Destination {
    /// Whichever way it was named.
    pub(super) fn name(&self) -> EndName {
        let Self {
            dst,
            dst_pod,
            dst_ip,
        } = self;
        the_one([dst, dst_pod, dst_ip])
    }
}

fn the_one(names: [&Option<EndName>; 3]) -> EndName {
    let given = names.into_iter().flatten().next();
    given.expect("clap lets exactly one through").clone()
}

/// What `--proto` can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// All of them, ARP and neighbour discovery included
    #[default]
    Any,
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// ICMP and ICMPv6
    Icmp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// The IANA number; `None` for any.
    #[must_use]
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Any => None,
            Self::Icmp => Some(1),
            Self::Tcp => Some(6),
            Self::Udp => Some(17),
            Self::Sctp => Some(132),
        }
    }
}

/// What `--output` can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people: a line per hop
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}
