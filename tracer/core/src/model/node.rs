//! What an agent says of itself and of where it looks.

use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Network;

/// An agent's first message: who it is, where it looks, and its clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The node's name, as the cluster knows it.
    pub node: String,
    /// Identity of the node's boot: agents of equal ones share a kernel and
    /// therefore a monotonic clock.
    pub boot_id: String,
    /// What to add to [`super::Hop::time`] to get nanoseconds of Unix time.
    pub realtime_offset: i64,
    /// How far that may be off from the collector's clock, ns; 0 of agents in its own
    /// process.
    #[serde(default, skip_serializing_if = "is_none")]
    pub clock_bound: i64,
    /// The observation points; a [`super::Hop::point`] is an index into these.
    pub points: Vec<Point>,
    /// How many streams of batches will come: one for each namespace with
    /// points, and one for drops.
    pub streams: usize,
    /// Addresses whose ARP and neighbour discovery belongs to the follow:
    /// gateways, and both ends of the underlay.
    pub next_hops: Vec<IpAddr>,
    /// All addresses that the node's host namespace owns.
    pub local: Vec<IpAddr>,
    /// The pods whose own namespaces are watched for drops, besides the
    /// node's; `None` if drops are not watched.
    pub drops: Option<Vec<Arc<str>>>,
    /// The same from some time on, the agent's monotonic clock, ns, where that
    /// has changed; the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drops_later: Vec<(u64, Vec<Arc<str>>)>,
    /// What its kernel says of interfaces and routes; empty of agents that do
    /// not tell.
    #[serde(default, skip_serializing_if = "Network::is_empty")]
    pub network: Network,
    /// How many of a frame's first bytes go with its hop: such hops hold payload. 0: none do.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub snaplen: u32,
    /// What was not found or is odd, one sentence each.
    pub notes: Vec<String>,
}

/// Where an agent sees packets pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// `host`, or the pod's name for a pod's own namespace.
    pub netns: String,
    /// The interface's name.
    pub interface: String,
    /// Its index, unique within the namespace only.
    pub ifindex: u32,
    /// As the interface's namespace sees it.
    pub direction: Direction,
    /// How the program is attached: `tcx` or `clsact`, [`XDP`] or [`XDP_GENERIC`]; [`CAPTURE`]
    /// where there is none.
    pub hook: Cow<'static, str>,
    /// The interface's place on the way.
    pub role: Role,
    /// The interface's kind, as the kernel names it: `veth`, `vxlan`, …,
    /// empty for a physical one.
    pub kind: String,
    /// Addresses behind the point: the pod's for its interfaces, else the
    /// interface's own.
    pub addresses: Vec<IpAddr>,
    /// How the interface was found, one phrase.
    pub why: String,
    /// Foreign programs that run at this point before or after ours.
    pub foreign: Vec<Foreign>,
    /// Since when it is observed: the agent's monotonic clock, ns; 0 if since
    /// the beginning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub since: u64,
    /// When it was noticed that its program is not there any more, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// In place of a hook: packets are those of a capture.
pub const CAPTURE: &str = "capture";
/// A hook: XDP, in the driver. Packets are as a NIC hands them in, before GRO and tc.
pub const XDP: &str = "xdp";
/// A hook: XDP in generic mode. It runs after GRO, right before tc.
pub const XDP_GENERIC: &str = "xdp-generic";

impl Hello {
    /// Whether what it tells are packets of captures, of which nobody counts what they miss.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.points.iter().any(|point| point.hook == CAPTURE)
    }
}

fn is_xdp(hook: &str) -> bool {
    [XDP, XDP_GENERIC].contains(&hook)
}

/// Which way packets pass a point with this hook and direction, in three letters.
pub(crate) fn way(hook: &str, direction: Direction) -> &'static str {
    match direction {
        _ if is_xdp(hook) => "xdp",
        Direction::Ingress => "in",
        Direction::Egress => "out",
    }
}

impl Point {
    /// Whether it is at XDP: no sk_buff has been seen there.
    #[must_use]
    pub fn is_xdp(&self) -> bool {
        is_xdp(&self.hook)
    }

    /// Whether an agent that was asked for XDP has told of it: where it is observed, or why it
    /// is not. One of an older version takes no notice.
    #[must_use]
    pub fn tell_of_xdp(points: &[Self], notes: &[String]) -> bool {
        points.iter().any(Self::is_xdp) || notes.iter().any(|note| note.starts_with("XDP"))
    }

    /// Where at its interface it is: `ingress`, `egress` or `xdp`.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self.direction {
            _ if self.is_xdp() => "xdp",
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }

    /// Which way packets pass it, in three letters.
    #[must_use]
    pub fn way(&self) -> &'static str {
        way(&self.hook, self.direction)
    }

    /// That what it shows may not be all, if so.
    pub fn warning(&self) -> Option<String> {
        Foreign::warning(&self.foreign, &self.interface, self.direction)
    }
}

/// A program of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "RecordedForeign")]
pub struct Foreign {
    /// The kernel's identifier of it; 0 of a filter of tc that is no program.
    pub id: u32,
    /// Its name, up to 15 bytes; empty where it has none or is gone. Of a filter,
    /// what it was called there, or its kind.
    pub name: String,
}

impl Foreign {
    fn list(programs: &[Self]) -> String {
        let programs: Vec<String> = programs.iter().map(ToString::to_string).collect();
        programs.join(", ")
    }

    /// What programs at a point may do; `None` if there are none.
    pub fn warning(programs: &[Self], interface: &str, direction: Direction) -> Option<String> {
        (!programs.is_empty()).then(|| {
            format!(
                "tc at {interface} {direction}: {} may redirect or drop packets",
                Self::list(programs)
            )
        })
    }
}

/// Older recordings hold the identifier alone.
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
    /// Whether packets are seen here and not on their way from or to here: a
    /// tunnel's device of an opaque kind ([`is_opaque`]).
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.role == Role::Overlay && is_opaque(&self.kind)
    }
}

/// Whether what a tunnel's device of this kind, as the kernel names it, has
/// sent cannot be read on its way: it encrypts it, gives it to a program, or
/// puts it behind headers that are not decoded.
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

/// Which way a packet goes, as the interface's namespace sees it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// In from the interface.
    Ingress,
    /// Out through it.
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

/// An interface's place on the way between two pods.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The pod's own interface, inside its namespace.
    Pod,
    /// The host-side end of the pod's veth pair.
    Veth,
    /// The bridge that the veth is a port of.
    Bridge,
    /// The overlay device.
    Overlay,
    /// The device towards the other nodes.
    Uplink,
}

impl Role {
    /// In one word, as in JSON.
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
