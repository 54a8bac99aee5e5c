//! The ways in which a packet between two pods can fail to arrive, each made on purpose in a
//! [`Lab`]. A diagnosis can only be tested against a known truth, and here the test itself has made
//! the fault.
//!
//! A [`Fault`] says how it is made and which packets show it. The expected effects are separate, in
//! a table per kernel that was written from the kernel's source ([`expected`]). The faults are
//! sorted by their place.
//!
//! On a [`Stage`], pod *a* on the near node sends to pod *b* on the far node. A second pod on each
//! node carries traffic that no fault may affect.

mod devices;
mod endpoints;
pub mod expected;
mod filters;
mod foreign;
mod middle;
mod neighbours;
mod routes;
mod services;
mod sockets;
mod stage;
mod traffic;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};

pub use crate::bpf::NAME as FOREIGN;
use crate::{Lab, Pod, Tunnel, Wiring};
pub use expected::{Expected, Table};
pub use services::OF_POD;
pub use stage::Stage;
pub use traffic::{Sender, Sent, Traffic};

/// The environment variable that selects faults by a word in their names.
pub const NAMED_VARIABLE: &str = "TRACER_FAULTS";
/// The environment variable with the number of labs in which each fault is made.
pub const SEEDS_VARIABLE: &str = "TRACER_FAULT_SEEDS";
/// The environment variable with the wirings in which faults are made: `all`, the names of some
/// with commas between, or `turns`. With `turns`, each fault is made with one wiring besides the
/// usual one.
pub const WIRINGS_VARIABLE: &str = "TRACER_FAULT_WIRINGS";
/// The environment variable with a number that decides which half of the faults is made with one
/// more wiring, and with which. `cargo xtask` takes the number from the commit, so in time each
/// fault meets each wiring. The default is 0.
pub const TURN_VARIABLE: &str = "TRACER_FAULT_TURN";

/// A MAC address that no device has.
const NOBODY: &str = "02:00:5e:00:00:01";

/// Whether a fault makes sense with a wiring.
type Fits = fn(Wiring) -> bool;

/// Wirings in which pods' interfaces have a peer on the node.
fn with_pairs(wiring: Wiring) -> bool {
    !wiring.shares_uplink()
}

/// Wirings in which packets between nodes are in a tunnel that can be parsed.
fn in_a_tunnel(wiring: Wiring) -> bool {
    wiring.tunnel().is_some() && in_the_open(wiring)
}

/// Wirings in which packets can be parsed on the wire.
fn in_the_open(wiring: Wiring) -> bool {
    !wiring.tunnel().is_some_and(Tunnel::encrypts)
}

/// Wirings in which a tunnel carries Ethernet frames.
fn in_frames(wiring: Wiring) -> bool {
    in_udp(wiring) || wiring.tunnel() == Some(Tunnel::GreFrames)
}

/// Wirings in which a tunnel carries Ethernet frames in UDP.
fn in_udp(wiring: Wiring) -> bool {
    matches!(wiring.tunnel(), Some(Tunnel::Vxlan | Tunnel::Geneve))
}

type Act = Box<dyn Fn(&Stage) -> Result<()> + Send + Sync>;
type Alter = fn(&mut Stage) -> Result<()>;

/// The traffic that must stay complete during a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// From the near node's second pod to the far node's second pod.
    Across,
    /// From pod *a* to the second pod of its node: the fault cuts all ways between the nodes.
    OnOneNode,
    /// From pod *a* to pod *b*, as the affected packets: the fault cuts only some sizes.
    Along,
    /// From pod *b* to pod *a*: the fault cuts one direction.
    Back,
    /// From pod *a2* to another port of the Service that the fault is about.
    Service,
}

impl Beside {
    /// The ends of the traffic.
    #[must_use]
    pub fn ends(self, stage: &Stage) -> [&Pod; 2] {
        match self {
            Self::Across => [stage.a2(), stage.b2()],
            Self::OnOneNode => [stage.a(), stage.a2()],
            Self::Along => [stage.a(), stage.b()],
            Self::Back => [stage.b(), stage.a()],
            Self::Service => [stage.a2(), stage.target()],
        }
    }

    /// The sockets of the traffic.
    ///
    /// # Errors
    /// As [`Sender::new`].
    pub fn sender(self, stage: &Stage) -> Result<Sender> {
        let [from, to] = self.ends(stage);
        match self {
            Self::Service => Sender::to_service(stage, from, services::CLEAN, Traffic::datagrams()),
            _ => Sender::between(stage, from, to, Traffic::datagrams()),
        }
    }
}

/// The destination that a user who looks for the fault names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The pod that gets the packets.
    Pod,
    /// The Service to which the packets are sent.
    Service,
}

impl Named {
    /// The arguments of `tracer` for the destination.
    ///
    /// # Errors
    /// If there is no Service to name.
    pub fn destination(self, stage: &Stage, to: &Pod) -> Result<[String; 2]> {
        Ok(match self {
            Self::Pod => ["--dst-pod".into(), format!("{}/{}", to.namespace, to.name)],
            Self::Service => {
                let service = stage.service.as_ref().context("the stage has a Service")?;
                ["--dst-service".into(), service.full_name()]
            }
        })
    }
}

/// When a fault is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// During the follow.
    During,
    /// Before the follow, because the fault replaces a device.
    Before,
}

/// A fault that keeps packets from pod *a* to pod *b* from arriving.
pub struct Fault {
    /// The fault's name in the table.
    pub name: String,
    /// The traffic that shows the fault.
    pub traffic: Traffic,
    /// Whether the fault is made with IPv4, IPv6 or each of them (`false`, `true`).
    pub v6: &'static [bool],
    /// The traffic that the fault does not affect.
    pub beside: Beside,
    /// How the user names the fault's destination.
    pub named: Named,
    /// When the fault is made.
    pub when: When,
    /// The hold time of the follow, which is longer than the kernel itself waits.
    pub hold: Duration,
    /// Whether one timer of the kernel drops all packets at once.
    pub by_timer: bool,
    /// The number of the lab's nodes.
    pub nodes: usize,
    fits: Fits,
    /// A change of the lab before the follow.
    alter: Option<Alter>,
    make: Act,
    undo: Option<Act>,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Fault {
    /// A fault with ten datagrams, of IPv4 and of IPv6, while other traffic crosses the nodes.
    fn new(
        name: impl Into<String>,
        make: impl Fn(&Stage) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            traffic: Traffic::datagrams(),
            v6: &[false, true],
            beside: Beside::Across,
            named: Named::Pod,
            when: When::During,
            hold: Duration::from_secs(1),
            by_timer: false,
            nodes: 2,
            fits: with_pairs,
            alter: None,
            make: Box::new(make),
            undo: None,
        }
    }

    fn traffic(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    fn v4_only(self) -> Self {
        Self {
            v6: &[false],
            ..self
        }
    }

    fn on(self, fits: Fits) -> Self {
        Self { fits, ..self }
    }

    fn beside(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    /// The fault shows after the kernel has asked a neighbour three times, once a second.
    fn of_neighbours(self) -> Self {
        Self {
            hold: Duration::from_secs(5),
            by_timer: true,
            ..self
        }
    }

    fn before(self) -> Self {
        Self {
            when: When::Before,
            ..self
        }
    }

    fn undo(self, undo: impl Fn(&Stage) -> Result<()> + Send + Sync + 'static) -> Self {
        Self {
            undo: Some(Box::new(undo)),
            ..self
        }
    }

    /// Whether the fault makes sense with a wiring and a family.
    #[must_use]
    pub fn fits(&self, wiring: Wiring, v6: bool) -> bool {
        (self.fits)(wiring) && self.v6.contains(&v6) && (!v6 || wiring.carries_v6())
    }

    /// Makes a lab for the fault.
    ///
    /// # Errors
    /// If the lab cannot be made.
    pub fn stage(&self, wiring: Wiring, v6: bool) -> Result<Stage> {
        let mut stage = Stage::new(wiring, self.nodes, v6)?;
        if let Some(alter) = self.alter {
            alter(&mut stage)?;
        }
        Ok(stage)
    }

    /// Makes the fault.
    ///
    /// # Errors
    /// If a program fails, or the kernel lacks a feature.
    pub fn make(&self, stage: &Stage) -> Result<()> {
        (self.make)(stage)
    }

    /// Undoes the fault. Returns whether the fault can be undone.
    ///
    /// # Errors
    /// As [`Fault::make`].
    pub fn mend(&self, stage: &Stage) -> Result<bool> {
        match &self.undo {
            Some(undo) => undo(stage).map(|()| true),
            None => Ok(false),
        }
    }
}

type Group = (&'static str, fn() -> Vec<Fault>);

/// Faults by their place.
const GROUPS: [Group; 8] = [
    ("routes", routes::all),
    ("neighbours", neighbours::all),
    ("filters", filters::all),
    ("sockets", sockets::all),
    ("devices", devices::all),
    ("middle", middle::all),
    ("foreign", foreign::all),
    ("services", services::all),
];

/// The faults of a group.
///
/// # Panics
/// If there is no such group.
#[must_use]
pub fn group(name: &str) -> Vec<Fault> {
    let found = GROUPS.iter().find(|(group, _)| *group == name);
    let (_, all) = found.unwrap_or_else(|| panic!("there is no group of faults {name}"));
    all()
}

/// All faults.
#[must_use]
pub fn all() -> Vec<Fault> {
    GROUPS.iter().flat_map(|(_, all)| all()).collect()
}

/// The role of an interface in the table; `None` if the interface has no role.
#[must_use]
pub fn role(lab: &Lab, node: usize, interface: &str) -> Option<&'static str> {
    let host = &lab.nodes[node];
    let is_veth = || lab.pods_on(host).any(|pod| pod.veth == interface);
    [
        ("uplink", host.uplink == interface),
        ("overlay", host.overlay == interface),
        ("overlay", host.overlay_of_v6 == interface),
        ("bridge", host.bridge == interface),
        ("veth", is_veth()),
    ]
    .into_iter()
    .find_map(|(role, is)| is.then_some(role))
}
