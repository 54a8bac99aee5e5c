//! What `follow` and `record` have in common.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, ValueHint};

use super::{AccessArgs, COST, END, PodArgs, Protocol, WHAT, WHERE};
use crate::cli::values::{self, AgentSpec, EndName};

/// What to follow, where to look, and when to end.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct WatchArgs {
    /// Where the packets come from.
    #[command(flatten)]
    pub source: Source,

    /// Where they go.
    #[command(flatten)]
    pub destination: Destination,

    /// Namespace of pods that are named without one; default: the context's, with --inventory `default`
    #[arg(short, long, value_name = "NAMESPACE", help_heading = WHAT)]
    pub namespace: Option<String>,

    /// Follow only this protocol
    #[arg(long, value_enum, default_value_t, help_heading = WHAT)]
    pub proto: Protocol,

    /// Follow only packets from this source port, and their answers
    #[arg(
        long,
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true,
        help_heading = WHAT
    )]
    pub src_port: Option<u16>,

    /// Follow only packets to this destination port, and their answers
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

    /// End after this number of journeys (the way of one packet each), ARP and ND not counted
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u64>,
        allow_hyphen_values = true,
        help_heading = END
    )]
    pub count: Option<u64>,

    /// How long to wait for a packet's next hop before the packet counts as missing
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        default_value = "5s",
        help_heading = END
    )]
    pub hold: Duration,

    /// Which cluster to ask, and as whom.
    #[command(flatten)]
    pub access: AccessArgs,

    /// Cluster objects from a file, not from the cluster, as `kubectl get
    /// nodes,pods,services,endpointslices -A -o yaml` prints them, or -o json; - for stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = WHERE)]
    pub inventory: Option<PathBuf>,

    /// How to reach a node: NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND.
    /// Once per node; default: NODE=pod for each node that runs an end of the follow
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

    /// Also observe the interfaces inside the pods' network namespaces
    #[arg(long, help_heading = WHERE)]
    pub pod_interfaces: bool,

    /// Also observe packets at XDP, as the driver receives them, before GRO and tc; without IFACE at the
    /// uplinks; needs Linux 5.18
    ///
    /// An interface has room for one program at XDP. tracer attaches in the driver, and only where that
    /// place is free. Until tracer ends, no other program can be attached there. Meanwhile a veth peer has no
    /// TSO, which slows TCP. A queue of 256 packets is in front of the veth. A NIC's driver may reset its
    /// queues at the start and the end. --dry-run says what changes.
    #[arg(
        long,
        value_name = "IFACE",
        num_args = 0..,
        require_equals = true,
        value_delimiter = ',',
        value_parser = values::interface,
        help_heading = WHERE
    )]
    pub xdp: Option<Vec<String>>,

    /// Where XDP runs
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        default_value_t,
        requires = "xdp",
        help_heading = WHERE
    )]
    pub xdp_mode: XdpMode,

    /// Parse packets to this UDP port as VXLAN, besides 8472, 4789 and the ports of the nodes' devices; at
    /// most 4
    #[arg(
        long = "vxlan-port",
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true,
        help_heading = WHERE
    )]
    pub vxlan_ports: Vec<u16>,

    /// Copy the first BYTES of each frame out of the kernel as well, with payload, at most 2048; without this,
    /// no payload leaves the kernel
    ///
    /// A frame is copied as it is at each observation point, with the tunnels around the packet. A recording
    /// holds these bytes, `tracer export --format pcapng` and the live view show them, and --anonymize leaves
    /// them out. 256 has all headers of a packet in VXLAN, 2048 all of a frame whose MTU is 1500. Each event
    /// takes as much more of the ring buffer.
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::snaplen,
        allow_hyphen_values = true,
        help_heading = COST
    )]
    pub snaplen: Option<u32>,

    /// Read the names in DNS answers, and show them at addresses outside of the cluster
    ///
    /// The follow has to see the answers, over UDP: --dst 0.0.0.0/0 follows all that a pod sends over IPv4. An
    /// address has the name that was asked for, also behind aliases (CNAME). If several names lead to one
    /// address, the latest answer before the packet counts. A recording holds the names; --anonymize leaves them
    /// out. No other payload leaves the agents.
    #[arg(long, help_heading = COST)]
    pub dns_names: bool,

    /// Maximum events per second and node; above it packets are sampled, and the summary says so
    #[arg(
        long,
        value_name = "N",
        value_parser = values::positive::<u32>,
        allow_hyphen_values = true,
        default_value = "50000",
        help_heading = COST
    )]
    pub budget: u32,

    /// Size of a node's ring buffer, a power of two: 512KiB, 8MiB. The ring buffer for drops has a quarter
    #[arg(
        long,
        value_name = "BYTES",
        value_parser = values::ring_size,
        allow_hyphen_values = true,
        default_value = "4MiB",
        help_heading = COST
    )]
    pub ring_size: u32,
}

/// What `--xdp-mode` can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// In the driver, before GRO
    #[default]
    Driver,
    /// In the kernel, behind GRO: for drivers without XDP
    Generic,
}

/// One side of a follow.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(id = "source", required = true, multiple = false)]
pub struct Source {
    /// Source: `[NAMESPACE:]pod/NAME`, `service/NAME[:PORT]`, deployment/NAME, statefulset/NAME, daemonset/NAME, labels such as
    /// app=web, node/NAME, an IP address or a network
    #[arg(long, value_name = "END", help_heading = WHAT)]
    pub src: Option<EndName>,

    /// Source pod: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub src_pod: Option<EndName>,

    /// Source service: `[NAMESPACE/]NAME[:PORT]`; PORT is a number or a name
    #[arg(long, value_name = "SERVICE", value_parser = values::service, help_heading = WHAT)]
    pub src_service: Option<EndName>,

    /// Source IP address
    #[arg(long, value_name = "IP", value_parser = values::address, help_heading = WHAT)]
    pub src_ip: Option<EndName>,
}

/// The other side.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(id = "destination", required = true, multiple = false)]
pub struct Destination {
    /// Destination, in the same form as --src
    #[arg(long, value_name = "END", help_heading = WHAT)]
    pub dst: Option<EndName>,

    /// Destination pod: NAME or NAMESPACE/NAME
    #[arg(long, value_name = "POD", value_parser = values::pod, help_heading = WHAT)]
    pub dst_pod: Option<EndName>,

    /// Destination service: `[NAMESPACE/]NAME[:PORT]`; PORT is a number or a name
    #[arg(long, value_name = "SERVICE", value_parser = values::service, help_heading = WHAT)]
    pub dst_service: Option<EndName>,

    /// Destination IP address
    #[arg(long, value_name = "IP", value_parser = values::address, help_heading = WHAT)]
    pub dst_ip: Option<EndName>,

    /// Instead of a destination: follow the source's DNS to any server, UDP and TCP port 53. The
    /// summary counts questions and answers
    #[arg(long, help_heading = WHAT)]
    pub dns: bool,
}

impl Source {
    /// Whichever way it was named.
    pub(in crate::cli) fn name(&self) -> EndName {
        let Self {
            src,
            src_pod,
            src_service,
            src_ip,
        } = self;
        the_one([src, src_pod, src_service, src_ip])
    }
}

impl Destination {
    /// Whichever way it was named.
    pub(in crate::cli) fn name(&self) -> EndName {
        let Self {
            dst,
            dst_pod,
            dst_service,
            dst_ip,
            dns,
        } = self;
        if *dns {
            return EndName::Dns;
        }
        the_one([dst, dst_pod, dst_service, dst_ip])
    }
}

fn the_one(names: [&Option<EndName>; 4]) -> EndName {
    let given = names.into_iter().flatten().next();
    given.expect("clap lets exactly one through").clone()
}
