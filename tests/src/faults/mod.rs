//! The ways in which a packet between two pods can fail to arrive, each made
//! on purpose in a [`Lab`]. A diagnosis can only be tested where the truth is
//! known beforehand; here it is, because we broke it ourselves.
//!
//! A [`Fault`] says how it is made and which packets show it. What the kernel
//! must do then stands apart, in a table per kernel that was written from the
//! kernel's source ([`expected`]). The faults are sorted by where they strike.
//!
//! On a [`Stage`] pod *a* on the near node sends to pod *b* on the far one.
//! Beside them a second pod on each node carries traffic that no fault may
//! touch.

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

/// The environment variable that leaves only faults with a word in their names.
pub const NAMED_VARIABLE: &str = "TRACER_FAULTS";
/// The environment variable that repeats each fault in as many labs.
pub const SEEDS_VARIABLE: &str = "TRACER_FAULT_SEEDS";
/// The environment variable that says with which wirings faults are made: `all`,
/// some of them by their names, with commas between, or `turns`: each fault with one
/// besides the usual one.
pub const WIRINGS_VARIABLE: &str = "TRACER_FAULT_WIRINGS";
/// The environment variable with a number that says which half of the faults is made
/// with one more wiring, and which wiring that is: `cargo xtask` gives that of the
/// commit, so that in time each fault meets each wiring. Without it, 0.
pub const TURN_VARIABLE: &str = "TRACER_FAULT_TURN";

/// Nobody's MAC address.
const NOBODY: &str = "02:00:5e:00:00:01";

/// Whether a fault makes sense with a wiring.
type Fits = fn(Wiring) -> bool;

/// Where pods' interfaces have another end on the node.
fn with_pairs(wiring: Wiring) -> bool {
    !wiring.shares_uplink()
}

/// Where packets between nodes are in others that can be read.
fn in_a_tunnel(wiring: Wiring) -> bool {
    wiring.tunnel().is_some() && in_the_open(wiring)
}

/// Where packets can be read on the wire.
fn in_the_open(wiring: Wiring) -> bool {
    !wiring.tunnel().is_some_and(Tunnel::encrypts)
}

/// Where a tunnel carries Ethernet frames.
fn in_frames(wiring: Wiring) -> bool {
    in_udp(wiring) || wiring.tunnel() == Some(Tunnel::GreFrames)
}

/// Where it carries them in UDP.
fn in_udp(wiring: Wiring) -> bool {
    matches!(wiring.tunnel(), Some(Tunnel::Vxlan | Tunnel::Geneve))
}

type Act = Box<dyn Fn(&Stage) -> Result<()> + Send + Sync>;
type Alter = fn(&mut Stage) -> Result<()>;

/// Which traffic stays whole while the fault is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// From the near node's second pod to the far node's second pod.
    Across,
    /// From pod *a* to the second pod of its node: the fault cuts all ways
    /// between the nodes.
    OnOneNode,
    /// From pod *b* to pod *a*: the fault cuts one direction.
    Back,
    /// From pod *a2* to another port of the Service that the fault is about.
    Service,
}

impl Beside {
    /// The ends of that traffic.
    #[must_use]
    pub fn ends(self, stage: &Stage) -> [&Pod; 2] {
        match self {
            Self::Across => [stage.a2(), stage.b2()],
            Self::OnOneNode => [stage.a(), stage.a2()],
            Self::Back => [stage.b(), stage.a()],
            Self::Service => [stage.a2(), stage.target()],
        }
    }

    /// That traffic's sockets.
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

/// What somebody who looks for the fault names as the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The pod that is sent to.
    Pod,
    /// The Service that is sent to.
    Service,
}

impl Named {
    /// What tells `tracer` so.
    ///
    /// # Errors
    /// If a Service is named where there is none.
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
    /// While packets are being followed.
    During,
    /// Before anybody follows: it replaces a device.
    Before,
}

/// Something that keeps packets from pod *a* to pod *b* from arriving.
pub struct Fault {
    /// Its name in the table.
    pub name: String,
    /// The traffic that shows it.
    pub traffic: Traffic,
    /// Whether it is made with IPv4, IPv6 or each of them (`false`, `true`).
    pub v6: &'static [bool],
    /// What goes on undisturbed.
    pub beside: Beside,
    /// How its destination is named.
    pub named: Named,
    /// When it is made.
    pub when: When,
    /// How long to wait for a packet's next sign of life: longer than the
    /// kernel itself waits.
    pub hold: Duration,
    /// How many nodes the lab has.
    pub nodes: usize,
    fits: Fits,
    /// What a lab is changed to before anybody hears of it.
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
    /// Ten datagrams, of IPv4 and of IPv6, beside others between the nodes.
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

    /// It shows when the kernel has asked a neighbour three times, once a second.
    fn of_neighbours(self) -> Self {
        Self {
            hold: Duration::from_secs(5),
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

    /// Whether it makes sense with a wiring, in one of the families.
    #[must_use]
    pub fn fits(&self, wiring: Wiring, v6: bool) -> bool {
        (self.fits)(wiring) && self.v6.contains(&v6) && (!v6 || wiring.carries_v6())
    }

    /// A lab to make it in.
    ///
    /// # Errors
    /// If there is none to be had.
    pub fn stage(&self, wiring: Wiring, v6: bool) -> Result<Stage> {
        let mut stage = Stage::new(wiring, self.nodes, v6)?;
        if let Some(alter) = self.alter {
            alter(&mut stage)?;
        }
        Ok(stage)
    }

    /// Breaks it.
    ///
    /// # Errors
    /// If a program fails, or the kernel lacks what it takes.
    pub fn make(&self, stage: &Stage) -> Result<()> {
        (self.make)(stage)
    }

    /// Mends it, and says whether it can be mended.
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

/// Faults by where they strike.
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

/// The role that an interface plays, as the table calls it; `None` for one
/// that has none.
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
