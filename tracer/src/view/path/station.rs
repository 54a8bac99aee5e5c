//! A station: an interface on the path of the packets.

use tracer_core::{
    journey::Scene,
    model::{Direction, Point, Role},
};

use super::tally::{Problem, Seconds, Spans};
use crate::view::HOST;

/// A station, by names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Index of the agent.
    pub(crate) node: usize,
    /// `host`, or the pod whose network namespace it is.
    pub(crate) netns: String,
    pub(crate) interface: String,
    /// The direction in which requests pass the station.
    pub(crate) direction: Direction,
    /// Whether the station is at XDP, which packets pass in one direction only.
    pub(crate) xdp: bool,
}

/// A station, and the packets that passed it.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) name: Name,
    pub(crate) role: Role,
    pub(crate) kind: String,
    /// The pod whose packets come from here or end here, if there is one.
    pub(crate) pod: Option<String>,
    /// Requests and replies.
    pub(crate) ways: [Passed; 2],
    /// Time when the interface was gone: Unix time, ns.
    pub(crate) gone: Option<i64>,
    /// The station that packets come from, if it is not the one above.
    pub(crate) after: Option<String>,
    /// Problems after this station.
    pub(crate) problems: Vec<Problem>,
}

/// Packets that passed a station in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) packets: u64,
    pub(crate) seconds: Seconds,
    /// Times from the point before.
    pub(crate) spans: Spans,
    /// Whether the point before is on a node with another clock.
    pub(crate) two_clocks: bool,
}

impl Station {
    pub(super) fn of(scene: &Scene, node: usize, point: &Point, direction: Direction) -> Self {
        let time = scene.until(node, point).saturating_sub(1);
        let mut addresses = point.addresses.iter();
        let pod = matches!(point.role, Role::Veth | Role::Pod)
            .then(|| addresses.find_map(|address| scene.pod(*address, time)))
            .flatten();
        // The place may have got another number, where no packet has passed yet.
        let place = |one: &Point| (one.ifindex, one.direction, one.is_xdp());
        let mut others = scene.nodes[node].points.iter();
        let is_observed = others.any(|other| {
            other.until.is_none() && other.netns == point.netns && place(other) == place(point)
        });
        let gone = point.until.filter(|_| !is_observed);
        Self {
            name: Name {
                node,
                netns: point.netns.clone(),
                interface: point.interface.clone(),
                direction,
                xdp: point.is_xdp(),
            },
            role: point.role,
            kind: point.kind.clone(),
            pod: pod.map(str::to_owned),
            ways: [Passed::default(), Passed::default()],
            gone: gone.map(|_| scene.until(node, point)),
            after: None,
            problems: Vec::new(),
        }
    }

    /// The interface's name, and whether it is a pod's own interface or at XDP.
    pub(crate) fn interface(&self) -> String {
        let Name {
            interface,
            netns,
            xdp,
            ..
        } = &self.name;
        if *xdp {
            format!("{interface} (xdp)")
        } else if netns == HOST {
            interface.clone()
        } else {
            format!("{interface} (pod)")
        }
    }

    /// The interface's role on the path. For an overlay, its kind says more.
    pub(crate) fn role(&self) -> &str {
        match self.role {
            Role::Pod => "pod's own",
            Role::Veth => "pod's veth",
            Role::Bridge => "bridge",
            Role::Overlay if self.kind.is_empty() => "overlay",
            Role::Overlay => &self.kind,
            Role::Uplink => "uplink",
        }
    }

    /// Whether requests come out of a pod here.
    pub(crate) fn begins(&self) -> bool {
        match self.role {
            Role::Pod => self.name.direction == Direction::Egress,
            _ => self.name.direction == Direction::Ingress,
        }
    }

    pub(super) fn is(&self, node: usize, point: &Point) -> bool {
        let Name {
            node: own,
            netns,
            interface,
            xdp,
            ..
        } = &self.name;
        (*own, netns, interface, *xdp) == (node, &point.netns, &point.interface, point.is_xdp())
    }
}

/// The station of a point, for one of the two directions.
pub(crate) fn name(scene: &Scene, (node, point): (usize, usize), course: usize) -> Name {
    let point = &scene.nodes[node].points[point];
    let direction = match (course, point.direction) {
        (0, direction) => direction,
        (_, Direction::Ingress) => Direction::Egress,
        (_, Direction::Egress) => Direction::Ingress,
    };
    Name {
        node,
        netns: point.netns.clone(),
        interface: point.interface.clone(),
        direction,
        xdp: point.is_xdp(),
    }
}
