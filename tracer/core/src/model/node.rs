//! What an agent says of itself and of its observation points.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kernel, Network};

/// An agent's first message: its node, its observation points and its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The node's name, as the cluster knows it.
    pub node: String,
    /// Identifier of the node's boot. Agents with equal identifiers share a kernel, and so a
    /// monotonic clock.
    pub boot_id: String,
    /// The node's kernel. `None` if the agent is older and does not report it, or if nobody knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// Nanoseconds that turn [`super::Hop::time`] into Unix time when added.
    pub realtime_offset: i64,
    /// Error bound of `realtime_offset` against the collector's clock, ns; 0 for agents in the
    /// collector's process.
    #[serde(default, skip_serializing_if = "is_none")]
    pub clock_bound: i64,
    /// The observation points; a [`super::Hop::point`] is an index into these.
    pub points: Vec<Point>,
    /// Number of streams of batches that will come: one for each namespace with points, and one
    /// for drops.
    pub streams: usize,
    /// Addresses whose ARP and neighbour discovery belongs to the follow:
    /// gateways, and both ends of the underlay.
    pub next_hops: Vec<IpAddr>,
    /// All addresses that the node's host namespace owns.
    pub local: Vec<IpAddr>,
    /// The pods whose own namespaces are watched for drops, besides the
    /// node's; `None` if drops are not watched.
    pub drops: Option<Vec<Arc<str>>>,
    /// Later values of `drops`, each with the time from which it holds, the agent's monotonic
    /// clock, ns; the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops_later: Vec<(u64, Vec<Arc<str>>)>,
    /// The node's interfaces and routes; empty if the agent does not report them.
    #[serde(default, skip_serializing_if = "Network::is_empty")]
    pub network: Network,
    /// How many of a frame's first bytes come with its hop (`--snaplen`): such hops hold
    /// payload. 0: none.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub snaplen: u32,
    /// What the agent did not find, or what is unusual, one sentence each.
    pub notes: Vec<String>,
}

/// An observation point: where an agent sees packets pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// `host`, or the pod's name for a pod's own network namespace.
    pub netns: String,
    /// Name of the interface.
    pub interface: String,
    /// Index of the interface, unique only within the network namespace.
    pub ifindex: u32,
    /// Direction of the packets, as the interface's namespace sees it.
    pub direction: Direction,
    /// Kind of attachment of the program: `tcx`, `clsact`, [`XDP`] or [`XDP_GENERIC`].
    /// [`CAPTURE`] for an imported capture, without a program.
    pub hook: Cow<'static, str>,
    /// Place of the interface on the path.
    pub role: Role,
    /// Kind of the interface, by the kernel's name: `veth`, `vxlan`, …. Empty for a physical
    /// interface.
    pub kind: String,
    /// Addresses behind the point: those of the pod for a pod's interfaces, else those of the
    /// interface.
    pub addresses: Vec<IpAddr>,
    /// How the agent found the interface, in one phrase.
    pub why: String,
    /// Foreign programs that run at this point before or after ours.
    pub foreign: Vec<Foreign>,
    /// Time from which the point is observed, the agent's monotonic clock, ns; 0: from the
    /// beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
    /// Time when the agent noticed that the point's program is gone, the agent's monotonic
    /// clock, ns. `None` while it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Hook of a point whose packets come from an imported capture.
pub const CAPTURE: &str = "capture";
/// The hook XDP in the driver. Packets are as a NIC hands them in, before GRO and tc.
pub const XDP: &str = "xdp";
/// The hook XDP in generic mode, which runs after GRO, right before tc.
pub const XDP_GENERIC: &str = "xdp-generic";

impl Hello {
    /// Whether the packets come from captures. Nobody counts the packets that a capture misses.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.points.iter().any(|point| point.hook == CAPTURE)
    }
}

fn is_xdp(hook: &str) -> bool {
    [XDP, XDP_GENERIC].contains(&hook)
}

/// Short name of a point's direction or hook: `in`, `out` or `xdp`.
pub(crate) fn way(hook: &str, direction: Direction) -> &'static str {
    match direction {
        _ if is_xdp(hook) => "xdp",
        Direction::Ingress => "in",
        Direction::Egress => "out",
    }
}

impl Point {
    /// Whether the point is at XDP, where packets have no sk_buff yet.
    #[must_use]
    pub fn is_xdp(&self) -> bool {
        is_xdp(&self.hook)
    }

    /// Whether an agent that was asked for XDP reported on it: a point at XDP, or a note that
    /// says why there is none. Agents of older versions ignore the request.
    #[must_use]
    pub fn tell_of_xdp(points: &[Self], notes: &[String]) -> bool {
        points.iter().any(Self::is_xdp) || notes.iter().any(|note| note.starts_with("XDP"))
    }

    /// The point's place at its interface: `ingress`, `egress` or `xdp`.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self.direction {
            _ if self.is_xdp() => "xdp",
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    /// Short name of the point's direction or hook: `in`, `out` or `xdp`.
    #[must_use]
    pub fn way(&self) -> &'static str {
        way(&self.hook, self.direction)
    }

    /// A warning that foreign programs may hide packets from this point; `None` without such
    /// programs.
    pub fn warning(&self) -> Option<String> {
        Foreign::warning(&self.foreign, &self.interface, self.direction)
    }
}

/// A program that another tool attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "RecordedForeign")]
pub struct Foreign {
    /// The kernel's program identifier; 0 for a tc filter that is no program.
    pub id: u32,
    /// Name of the program, at most 15 bytes; empty if it has no name or is gone. For a filter,
    /// its name there, or its kind.
    pub name: String,
}

impl Foreign {
    fn list(programs: &[Self]) -> String {
        let programs: Vec<String> = programs.iter().map(ToString::to_string).collect();
        programs.join(", ")
    }

    /// A warning of what foreign programs at a point may do; `None` without such programs.
    pub fn warning(programs: &[Self], interface: &str, direction: Direction) -> Option<String> {
        (!programs.is_empty()).then(|| {
            format!(
                "tc at {interface} {direction}: {} may redirect or drop packets",
                Self::list(programs)
            )
        })
    }
}

/// Older recordings have the identifier only.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum RecordedForeign {
    Id(u32),
    Named { id: u32, name: String },
}

impl From<RecordedForeign> for Foreign {
    fn from(recorded: RecordedForeign) -> Self {
        match recorded {
            RecordedForeign::Id(id) => Self {
                id,
                name: String::new(),
            },
            RecordedForeign::Named { id, name } => Self { id, name },
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name } = self;
        if *id == 0 {
            write!(f, "a filter of the kind {name}")
        } else if name.is_empty() {
            write!(f, "program {id}")
        } else {
            write!(f, "{name} (program {id})")
        }
    }
}

impl Point {
    /// Whether the point is at an opaque tunnel device ([`is_opaque`]): packets are visible
    /// here, but not on their way from or to this device.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.role == Role::Overlay && is_opaque(&self.kind)
    }
}

/// Whether packets from a tunnel device of this kind, by the kernel's name, cannot be read on
/// their way. The device encrypts them, hands them to a program, or adds headers that tracer
/// does not decode.
#[must_use]
pub fn is_opaque(kind: &str) -> bool {
    const KINDS: [&str; 8] = [
        "wireguard",
        "xfrm",
        "vti",
        "vti6",
        "tun",
        "bareudp",
        "erspan",
        "ip6erspan",
    ];
    KINDS.contains(&kind)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(time: &u64) -> bool {
    *time == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_none(bound: &i64) -> bool {
    *bound == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_nothing(bytes: &u32) -> bool {
    *bytes == 0
}

/// Direction of a packet, as the interface's network namespace sees it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The packet comes in from the interface.
    Ingress,
    /// The packet goes out by the interface.
    Egress,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

/// Place of an interface on the path between two pods.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The pod's own interface, inside its namespace.
    Pod,
    /// The host-side end of the pod's veth pair.
    Veth,
    /// The bridge to which the veth is attached.
    Bridge,
    /// The overlay's tunnel device.
    Overlay,
    /// The interface that leads to the other nodes.
    Uplink,
}

impl Role {
    /// The role's name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Veth => "veth",
            Self::Bridge => "bridge",
            Self::Overlay => "overlay",
            Self::Uplink => "uplink",
        }
    }
}
