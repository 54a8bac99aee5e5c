//! The arguments as they are typed: nothing is looked up here.

mod access;
mod agent;
mod drops;
mod expect;
mod export;
mod extcap;
mod follow;
mod import;
mod pods;
mod traces;
pub(super) mod watch;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{error::Failure, help};
use crate::terminal::is_screen;

pub use access::AccessArgs;
pub use agent::AgentArgs;
pub(crate) use agent::{AgentArguments, AgentCommand};
pub use drops::DropsArgs;
pub use expect::ExpectArgs;
pub use export::{BundleArgs, ExportArgs, Format, SchemaArgs, Split};
pub(super) use extcap::{ExtcapArgs, ExtcapCommand};
pub use follow::{Expected, FollowArgs, RecordArgs, RecordingArgs};
pub use import::ImportArgs;
pub(super) use pods::PodArgs;
pub use traces::{GroupBy, ReplayArgs, ShowArgs, StatsArgs};
pub use watch::{Destination, Source, WatchArgs};

/// Where did my packet go, and if it died, where and why?
///
/// tracer follows live packets from pod to pod, across nodes, and shows every hop inside the
/// kernels on the way. A hop is one packet seen at one observation point, not a router: a ping
/// between nodes has eight or more hops. tracer changes no packet, rule or sysctl. On a cluster,
/// tracer runs a pod on each observed node, unless --agent names another way, and removes it at
/// the end.
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
    /// A hop is one packet seen at one observation point: one direction of one interface in one network
    /// namespace. A hop is not a router: a ping between nodes has eight or more hops. tracer follows both
    /// directions until Ctrl-C, --duration or --count; a summary comes last. Data goes to stdout, all else
    /// to stderr.
    #[command(after_help = help::FOLLOW, override_usage = help::FOLLOW_USAGE)]
    Follow(Box<FollowArgs>),

    /// Show the packets that the nodes' kernels drop, by pod, place, reason and function
    ///
    /// The kernel frees each packet in one function, with a reason. Many of these packets had arrived, or
    /// were copies. Only losses are shown, and drops that may be losses: one line per kind of drop and
    /// second, until Ctrl-C, --duration or --count. A summary comes last. With names from the cluster's API, pods
    /// that appear or move get their names in later drops, and nodes get and lose agents.
    #[command(after_help = help::DROPS)]
    Drops(Box<DropsArgs>),

    /// Record what `follow` would show, for `tracer replay`
    ///
    /// Writes every hop and drop, the accounting, and the cluster's objects into a file, until Ctrl-C,
    /// --duration or --count. `tracer replay` shows the same journeys and verdicts from it, without root;
    /// pyarrow, DuckDB and others read it as it is (an Arrow IPC stream).
    #[command(after_help = help::RECORD, override_usage = help::RECORD_USAGE)]
    Record(Box<RecordArgs>),

    /// Run an agent on this node, for a follow on another machine
    ///
    /// `tracer follow --agent NODE=exec:COMMAND` starts COMMAND, which must run this command on the node.
    /// Commands come in on standard input, records go out on standard output. The agent listens on no port. When its input
    /// closes, it detaches all programs and ends.
    #[command(after_help = help::AGENT, override_usage = help::AGENT_USAGE)]
    Agent(AgentArgs),

    /// Show recorded journeys and verdicts again, without root
    ///
    /// Shows what the follow showed, from one recording or from all files of a rotated one. tracer joins
    /// several nodes' recordings of the same ends. On a terminal, the view moves in time: Space plays, t goes to a time, ] goes to the next problem,
    /// and ? lists all keys.
    #[command(after_help = help::REPLAY)]
    Replay(ReplayArgs),

    /// Write a recording in another program's format
    ///
    /// Journeys and verdicts are those that `replay` shows. OUT appears only once it is complete.
    #[command(after_help = help::EXPORT)]
    Export(ExportArgs),

    /// Add tracer to Wireshark as a capture interface, which shows each hop live
    ///
    /// Wireshark runs this command by its extcap interface, once `tracer extcap install` has put the command
    /// into Wireshark's folder. Wireshark then lists the interface `tracer: packet path`. Its options are
    /// those of `tracer follow`.
    #[command(after_help = help::EXTCAP, override_usage = help::EXTCAP_USAGE)]
    Extcap(ExtcapArgs),

    /// Join tcpdump captures of several interfaces and machines into a recording
    ///
    /// A packet that several captures have is one journey. `replay`, `show`, `stats` and `export` read the
    /// recording as any other. Captures do not say what they have missed, so nothing is concluded from a
    /// packet that is not in one. An export by `tracer export --format pcapng` becomes the recording that
    /// it was made of.
    #[command(after_help = help::IMPORT)]
    Import(ImportArgs),

    /// Put a recording and what it shows into one file, for a ticket
    ///
    /// A tar archive with the recording, a web page, the sums, and descriptions of the nodes; README.txt
    /// in the archive lists the files. With --anonymize, the archive holds no address or name of the
    /// cluster.
    #[command(after_help = help::BUNDLE)]
    Bundle(BundleArgs),

    /// Show what a recording contains
    #[command(after_help = help::SHOW)]
    Show(ShowArgs),

    /// Summarize recordings: latencies and drops
    #[command(after_help = help::STATS)]
    Stats(StatsArgs),

    /// Print the JSON Schema of what `-o json` writes
    #[command(after_help = help::SCHEMA)]
    Schema(SchemaArgs),

    /// Show the version
    #[command(after_help = help::VERSION)]
    Version,

    /// Write the manual pages into a directory
    ///
    /// tracer.1 and a page for each command, with the text of --help. Creates the directory if it does
    /// not exist, and overwrites pages of an earlier version.
    #[command(after_help = help::MAN)]
    Man {
        /// The directory, such as ~/.local/share/man/man1
        dir: PathBuf,
    },

    /// Print a completion script for a shell
    ///
    /// The script asks tracer for each completion. tracer completes pods, Services, nodes and
    /// namespaces with the names that the cluster has.
    #[command(after_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Whether agents read the facts around a drop.
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// At each drop, read the routes, neighbours, rules and sockets that may explain it; default: on a
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

/// The time zone of the output.
#[derive(Clone, Debug, Args)]
pub struct Times {
    /// Show times in UTC, not in this machine's zone (or TZ's); json always has UTC
    #[arg(long, help_heading = OUTPUT)]
    pub utc: bool,
}

/// Headings of the help.
const WHAT: &str = "What to follow";
const WHERE: &str = "Where to look";
const END: &str = "When to end";
const OUTPUT: &str = "Output";
const RECORDING: &str = "Recording";
const COST: &str = "Limits";

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

/// How journeys are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct ShapeArgs {
    /// Output format; json is one object a line, pcapng is for Wireshark; default: live on a terminal,
    /// else text
    #[arg(short, long, value_enum, help_heading = OUTPUT)]
    pub output: Option<Shape>,

    /// Text with the hops of every journey. Without it, a terminal gets one line per journey above 3
    /// journeys a second, except for problems, and at most 100 lines a second
    #[arg(long, help_heading = OUTPUT)]
    pub hops: bool,
}

impl ShapeArgs {
    /// What was asked for; else the live view on a terminal, and text elsewhere.
    ///
    /// # Errors
    /// If that contradicts `--hops`, or if the live view was asked for where it cannot be.
    pub fn shape(self) -> Result<Shape, Failure> {
        match self.output {
            Some(Shape::Live) if self.hops => Err(Failure::Syntax(
                "--hops is for text, and the live view shows the hops of the journey that one \
                 opens: leave out --hops, or use -o text"
                    .to_owned(),
            )),
            Some(Shape::Json | Shape::Pcapng) if self.hops => Err(Failure::Syntax(
                "--hops is for text, and -o json and -o pcapng have all hops anyway: leave out \
                 --hops"
                    .to_owned(),
            )),
            Some(Shape::Pcapng) if io::stdout().is_terminal() => Err(Failure::new(
                "pcapng is binary and not for a terminal: send stdout to a file, or to a program \
                 (`-o pcapng | wireshark -k -i -`)",
            )),
            Some(Shape::Live) if !is_screen() => Err(Failure::new(
                "-o live takes a terminal on standard input and standard output, and a TERM that \
                 is not dumb: use -o text here",
            )),
            Some(asked) => Ok(asked),
            None if is_screen() && !self.hops => Ok(Shape::Live),
            None => Ok(Shape::Text),
        }
    }

    /// Whether text is no more than can be read while it is written.
    #[must_use]
    pub fn is_condensed(self) -> bool {
        !self.hops && io::stdout().is_terminal()
    }
}

/// What `--output` of what follows packets can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// On the whole terminal: the path, journeys, sums
    Live,
    /// For people: a line per hop
    Text,
    /// For programs: one object a line
    Json,
    /// For Wireshark and tshark: a packet for each hop, as a capture that runs
    Pcapng,
}

/// What `--output` can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// For programs: one object a line
    Json,
}
