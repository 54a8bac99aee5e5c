//! The arguments of `tracer drops`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use super::{AccessArgs, COST, END, Explain, OUTPUT, Output, PodArgs, Times, WHAT, WHERE};
use crate::cli::values::{self, AgentSpec, EndName};

/// The arguments of `tracer drops`.
#[derive(Clone, Debug, Args)]
pub struct DropsArgs {
    /// Show only packets from or to this pod, or dropped inside it: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub pod: Option<EndName>,

    /// Show only packets from or to pods of this namespace, or dropped inside one. With --pod, the
    /// namespace of a pod that is named without one; default: the context's, with --inventory `default`
    #[arg(short, long, value_name = "NAMESPACE", help_heading = WHAT)]
    pub namespace: Option<String>,

    /// Show only drops on this node
    #[arg(long, value_name = "NODE", help_heading = WHAT)]
    pub node: Option<String>,

    /// Watch all nodes of the cluster, also those that join later: by --agent where one is given, else by
    /// a pod on each
    #[arg(long, conflicts_with = "node", help_heading = WHAT)]
    pub all_nodes: bool,

    /// End after this time, such as 30s, 5m or 500ms
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub duration: Option<Duration>,

    /// End after this number of dropped packets
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u64>,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub count: Option<u64>,

    /// Which cluster to ask, and as whom.
    #[command(flatten)]
    pub access: AccessArgs,

    /// Cluster objects from a file, not from the cluster, as `kubectl get
    /// nodes,pods,services,endpointslices -A -o yaml` prints them, or -o json; - for stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub inventory: Option<PathBuf>,

    /// How to reach a node: NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND.
    /// Once per node; default: NODE=pod for each chosen node of the cluster
    ///
    /// NODE=pod makes a pod on the node, and removes the pod at the end. NODE=local is this machine.
    /// NODE=netns:PATH is a network namespace on this machine that stands for a node, as in a lab or kind.
    /// NODE=ssh:HOST, or ssh:USER@HOST, runs the tracer that is installed there. Without one, tracer copies
    /// an agent there until the end. A login other than root uses sudo -n. NODE=exec:COMMAND runs a shell
    /// command whose standard streams lead to `tracer agent --stdio` on that node. If no object of a cluster
    /// is named and no agent is given, tracer observes this machine.
    #[arg(long = "agent", value_name = "NODE=SPEC", help_heading = WHERE)]
    pub agents: Vec<AgentSpec>,

    /// How agents' pods are made.
    #[command(flatten)]
    pub pods: PodArgs,

    /// Output format; json is one object a line
    #[arg(short, long, value_enum, default_value_t, help_heading = OUTPUT)]
    pub output: Output,

    /// The time zone of the output.
    #[command(flatten)]
    pub times: Times,

    /// Whether agents read the facts around a drop.
    #[command(flatten)]
    pub explain: Explain,

    /// Maximum events per second and node; drops above it are only counted
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
