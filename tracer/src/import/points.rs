//! Observation points and nodes that captures stand for.
//!
//! A capture at one place is a stream of the place's node. Only names distinguish nodes, and
//! all places on one node have one clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracer_core::model::{CAPTURE, Direction, Hello, Mac, Network, Point, Role};

use super::{
    ImportError,
    capture::Input,
    survey::{Spot, Survey},
};
use crate::{
    cli::at::{At, HOST, Place, Way},
    inventory::{Inventory, list},
};

/// Packets of one place in one file: index of the file, interface, and the packets' own
/// interface index if an interface has packets of several.
pub(super) type Key = (usize, (usize, Option<u32>));

/// Nodes and points of captures, and the packets of each.
pub(super) struct Layout {
    /// Nodes, each with its points and streams.
    pub(super) nodes: Vec<Hello>,
    /// Stream and points of packets; packets without an entry are left out.
    pub(super) routes: BTreeMap<Key, Route>,
    /// Number of packets that no `--at` names, in files with named ones.
    pub(super) unnamed: u64,
    /// Number of packets that an export marks as dropped.
    pub(super) dropped: u64,
}

/// Stream and points of some packets.
pub(super) struct Route {
    /// Index of the node.
    pub(super) node: usize,
    /// Index of the stream among the node's.
    pub(super) stream: usize,
    /// Index of the point for incoming packets, and for outgoing ones.
    pub(super) points: [usize; 2],
    /// How the direction of a packet is known.
    pub(super) ways: Ways,
    /// Time span in which the capture missed nothing, Unix time, ns.
    pub(super) vouched: Option<(u64, u64)>,
    /// Number of packets that the capture missed, as far as it is known.
    pub(super) missed: u64,
}

/// How the direction of a packet is known.
pub(super) enum Ways {
    /// All packets have this direction.
    One(Direction),
    /// Packets from this MAC address go out.
    Mac(Mac),
    /// The capture has the direction of each packet.
    Told,
    /// Packets from these addresses have this direction, and all others the opposite one.
    From(Vec<IpAddr>, Direction),
}

impl Layout {
    /// Finds the places of the packets in all files.
    pub(super) fn of(
        inputs: &[Input],
        surveys: &[Survey],
        ats: &[At],
        inventory: Option<&Inventory>,
    ) -> Result<Self, ImportError> {
        let (places, unnamed) = places(inputs, surveys, ats)?;
        let mut layout = Self {
            nodes: Vec::new(),
            routes: BTreeMap::new(),
            unnamed,
            dropped: 0,
        };
        for (file, survey) in surveys.iter().enumerate() {
            for (key, spot) in &survey.spots {
                if let Some(place) = places.get(&(file, *key)) {
                    let interface = &survey.interfaces[key.0];
                    let ways = ways(survey, spot, interface.mac, place, inventory)?;
                    layout.add((file, *key), (survey, spot), (place, ways), inventory)?;
                } else if survey.is_of_drops(*key) {
                    layout.dropped += spot.packets;
                }
            }
        }
        Ok(layout)
    }

    fn add(
        &mut self,
        key: Key,
        (survey, spot): (&Survey, &Spot),
        (place, ways): (&Place, Ways),
        inventory: Option<&Inventory>,
    ) -> Result<(), ImportError> {
        let mut nodes = self.nodes.iter();
        let node = match nodes.position(|hello| hello.node == place.node) {
            Some(node) => node,
            None => {
                self.nodes.push(hello(&place.node, inventory));
                self.nodes.len() - 1
            }
        };
        let addresses = addresses(place, inventory)?;
        let hello = &mut self.nodes[node];
        let directions = match ways {
            Ways::One(direction) => [direction; 2],
            _ => [Direction::Ingress, Direction::Egress],
        };
        let points =
            directions.map(|direction| point(hello, place, &survey.name, direction, &addresses));
        let interface = &survey.interfaces[key.1.0];
        let said = spot.statistics.and_then(|said| said.missed);
        let route = Route {
            node,
            stream: hello.streams,
            points,
            ways,
            vouched: spot.vouched(interface, survey.cut),
            missed: said.unwrap_or(0),
        };
        hello.streams += 1;
        self.routes.insert(key, route);
        Ok(())
    }
}

impl Route {
    /// Index of the point for a direction.
    pub(super) const fn point(&self, direction: Direction) -> usize {
        match direction {
            Direction::Ingress => self.points[0],
            Direction::Egress => self.points[1],
        }
    }
}

/// The description of a node, of whose kernel nothing is known.
fn hello(node: &str, inventory: Option<&Inventory>) -> Hello {
    let addresses = inventory.and_then(|known| known.addresses_of_node(node).ok());
    Hello {
        node: node.to_owned(),
        boot_id: String::new(),
        kernel: None,
        realtime_offset: 0,
        clock_bound: 0,
        snaplen: 0,
        points: Vec::new(),
        streams: 0,
        next_hops: Vec::new(),
        local: addresses.unwrap_or_default().to_vec(),
        drops: None,
        drops_later: Vec::new(),
        network: Network::default(),
        notes: Vec::new(),
    }
}

/// Index of a point, which is added if it is new.
fn point(
    hello: &mut Hello,
    place: &Place,
    file: &str,
    direction: Direction,
    addresses: &[IpAddr],
) -> usize {
    let is_here =
        |point: &&Point| (&point.netns, &point.interface) == (&place.netns, &place.interface);
    let known = hello
        .points
        .iter()
        .filter(is_here)
        .map(|point| point.ifindex);
    let highest = hello.points.iter().map(|point| point.ifindex).max();
    let ifindex = known.clone().next().unwrap_or(highest.unwrap_or(0) + 1);
    let mut points = hello.points.iter();
    let found = points.position(|point| is_here(&point) && point.direction == direction);
    found.unwrap_or_else(|| {
        hello.points.push(Point {
            netns: place.netns.clone(),
            interface: place.interface.clone(),
            ifindex,
            direction,
            hook: CAPTURE.into(),
            role: place.role(),
            kind: String::new(),
            addresses: addresses.to_vec(),
            why: format!("captured in {file}"),
            foreign: Vec::new(),
            since: 0,
            until: None,
        });
        hello.points.len() - 1
    })
}

/// Addresses behind an interface.
fn addresses(place: &Place, inventory: Option<&Inventory>) -> Result<Vec<IpAddr>, ImportError> {
    let own = Some(&place.netns).filter(|netns| *netns != HOST && place.pods.is_empty());
    let mut addresses = Vec::new();
    for pod in place.pods.iter().chain(own) {
        if let Ok(address) = pod.parse() {
            addresses.push(address);
            continue;
        }
        let Some(inventory) = inventory else {
            return Err(ImportError::Place(format!(
                "the address of pod {pod} is not known: name the cluster's objects with \
                 --inventory FILE, or give the address itself, as in pod=10.244.1.5"
            )));
        };
        let (namespace, name) = match pod.split_once('/') {
            Some((namespace, name)) => (namespace, name),
            None => (inventory.namespace(), &**pod),
        };
        addresses.extend(&inventory.pod(namespace, name)?.addresses);
    }
    Ok(addresses)
}

/// How the direction of a place's packets is known.
fn ways(
    survey: &Survey,
    spot: &Spot,
    mac: Option<Mac>,
    place: &Place,
    inventory: Option<&Inventory>,
) -> Result<Ways, ImportError> {
    match place.way {
        Some(Way::One(direction)) => return Ok(Ways::One(direction)),
        Some(Way::Mac(mac)) => return Ok(Ways::Mac(mac)),
        None if spot.directed => return Ok(Ways::Told),
        None => {}
    }
    let addresses = addresses(place, inventory)?;
    if !addresses.is_empty() {
        // A pod's packets go out of its own interface, and come in at the host-side end.
        let from = match place.role() {
            Role::Pod => Direction::Egress,
            Role::Veth | Role::Bridge | Role::Overlay | Role::Uplink => Direction::Ingress,
        };
        return Ok(Ways::From(addresses, from));
    }
    mac.map(Ways::Mac).ok_or_else(|| {
        let Place {
            node, interface, ..
        } = place;
        ImportError::Place(format!(
            "{} does not say which way its packets went: add a direction, as in \
             --at {node}/{interface}/in, or the MAC address of {interface} if it has both \
             directions, as in --at {node}/{interface}/02:00:00:00:00:01",
            survey.name
        ))
    })
}

/// Places of packets, and the number of packets without a place in files with named ones.
fn places(
    inputs: &[Input],
    surveys: &[Survey],
    ats: &[At],
) -> Result<(BTreeMap<Key, Place>, u64), ImportError> {
    let mut places = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut unnamed = 0;
    let mut by_position = ats.iter().enumerate().filter(|(_, at)| at.which.is_none());
    let mut missing = Vec::new();
    for (file, (input, survey)) in inputs.iter().zip(surveys).enumerate() {
        let path = input.path.display().to_string();
        let untold: Vec<_> = survey.untold().collect();
        let mut without = Vec::new();
        for key in survey.spots.keys().copied() {
            let keys = survey.keys(key);
            let is_alone = untold == [key];
            let is_meant = |which: &str| {
                let of_file = keys.iter().any(|key| which == format!("{path}:{key}"));
                of_file || keys.iter().any(|key| key == which) || (is_alone && which == path)
            };
            let mut named = ats.iter().enumerate();
            let named = named.find(|(_, at)| at.which.as_deref().is_some_and(is_meant));
            if let Some((number, at)) = named {
                used.insert(number);
                places.insert((file, key), at.place.clone());
            } else if let Some(place) = survey.own_place(key) {
                places.insert((file, key), place);
            } else if !survey.is_of_drops(key) {
                without.push(key);
            }
        }
        match *without {
            [] => {}
            [key] if untold == [key] => match by_position.next() {
                Some((number, at)) => {
                    used.insert(number);
                    places.insert((file, key), at.place.clone());
                }
                None => missing.push(survey.name.clone()),
            },
            // In a capture with `-i any`, not all interfaces matter.
            _ if without.len() < untold.len() => {
                let packets = without.iter().map(|key| survey.spots[key].packets);
                unnamed += packets.sum::<u64>();
            }
            _ => return Err(ImportError::Place(of_which(survey, &without))),
        }
    }
    if !missing.is_empty() {
        return Err(ImportError::Place(format!(
            "it is not said where {} {} captured: give a place for each file, in the order of the \
             files, as in --at NODE/INTERFACE/in",
            list(&missing, "and"),
            if missing.len() == 1 { "was" } else { "were" },
        )));
    }
    let unused = ats
        .iter()
        .enumerate()
        .find(|(number, _)| !used.contains(number));
    if let Some((_, at)) = unused {
        let there = surveys.iter().flat_map(|survey| {
            let keys = survey.spots.keys();
            keys.map(move |key| format!("{}:{}", survey.name, survey.keys(*key)[0]))
        });
        let there: Vec<String> = there.collect();
        return Err(ImportError::Place(format!(
            "no packets are those of --at {}: leave it out, or name one of {}",
            at.text,
            list(&there, "and"),
        )));
    }
    Ok((places, unnamed))
}

/// The error that asks for places in a file with packets of several interfaces.
fn of_which(survey: &Survey, without: &[(usize, Option<u32>)]) -> String {
    let all = without.iter().map(|key| {
        let name = &survey.keys(*key)[0];
        format!("{name} ({} packets)", survey.spots[key].packets)
    });
    let all: Vec<String> = all.collect();
    format!(
        "{} has packets of several interfaces: give a place to each that matters, as in \
         --at {}=NODE/INTERFACE; there are {}",
        survey.name,
        survey.keys(without[0])[0],
        list(&all, "and"),
    )
}
