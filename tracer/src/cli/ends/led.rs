//! The endpoints that Services lead to, and the Services that lead to an end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map::Entry},
    net::IpAddr,
};

use ipnet::IpNet;
use tracer_core::model::OwnerKind;

use super::{End, EndKind, Narrow, Port, Side, named_end};
use crate::inventory::{Endpoint, Inventory, Service, ServicePort, Slice};

/// Adds the Services that lead to a side's ends.
pub(super) fn lead(inventory: &Inventory, side: &mut Side, narrow: Narrow) {
    // Only single addresses are looked up. A network that the user named stays as it is.
    let addresses: HashSet<IpAddr> = side.ends.iter().filter_map(End::address).collect();
    let own: HashMap<IpNet, usize> = side.ends.iter().map(|end| end.network).zip(0..).collect();
    let mut besides: BTreeMap<IpAddr, End> = BTreeMap::new();
    let mut entrances = Vec::new();
    for ((namespace, name), service) in inventory.services_to(&addresses) {
        let led = Led::new(inventory, (namespace, name), service);
        let leads = |port: &&ServicePort| {
            let taken = narrow.takes(port) && led.has(port, narrow.port);
            taken && led.leads_to(port, &addresses)
        };
        let ports: Vec<&ServicePort> = service.ports.iter().filter(leads).collect();
        if ports.is_empty() {
            continue;
        }
        side.by.push((namespace.clone(), name.clone()));
        entrances.extend(led.entrances(&format!("service {namespace}/{name}"), &ports));
        side.is_masqueraded |= !service.external.is_empty();
        for end in led.endpoints(&ports) {
            match own.get(&end.network) {
                Some(index) => add_ports(&mut side.ends[*index], &end.ports),
                None => match besides.entry(end.network.addr()) {
                    Entry::Occupied(mut known) => add_ports(known.get_mut(), &end.ports),
                    Entry::Vacant(new) => drop(new.insert(end)),
                },
            }
        }
    }
    let is_v4 = |end: &End| matches!(end.network, IpNet::V4(_));
    let families: HashSet<bool> = side.ends.iter().map(is_v4).collect();
    let may_lead = |end: &End| families.contains(&is_v4(end));
    side.ends.extend(entrances.into_iter().filter(may_lead));
    side.besides.extend(besides.into_values().filter(may_lead));
}

fn add_ports(end: &mut End, ports: &[Port]) {
    end.ports.extend(ports);
    end.ports.sort_unstable();
    end.ports.dedup();
}

/// A Service and its EndpointSlices.
pub(super) struct Led<'a> {
    inventory: &'a Inventory,
    service: &'a Service,
    slices: &'a [Slice],
}

impl<'a> Led<'a> {
    pub(super) fn new(inventory: &'a Inventory, name: (&str, &str), service: &'a Service) -> Self {
        Self {
            inventory,
            service,
            slices: inventory.slices(name.0, name.1),
        }
    }

    /// Whether the number is the port's own, its node port, or a port of an endpoint.
    pub(super) fn has(&self, port: &ServicePort, number: Option<u16>) -> bool {
        let Some(number) = number else {
            return true;
        };
        let mut targets = self.slices.iter().filter_map(|slice| slice.target(port));
        port.port == number
            || port.node_port == Some(number)
            || targets.any(|target| target == number)
    }

    /// Whether the port leads to one of these addresses.
    fn leads_to(&self, port: &ServicePort, addresses: &HashSet<IpAddr>) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| slice.target(port).is_some() && slice.holds(addresses))
    }

    fn all_endpoints(&self) -> impl Iterator<Item = &'a Endpoint> {
        self.slices.iter().flat_map(|slice| &slice.endpoints)
    }

    /// The nodes of endpoints that get new connections.
    pub(super) fn ready_nodes(&self) -> BTreeSet<String> {
        let ready = self.all_endpoints().filter(|endpoint| endpoint.is_ready);
        ready.filter_map(|endpoint| endpoint.node.clone()).collect()
    }

    /// How many endpoints of some ports of the Service get new connections, in words; empty if none
    /// does, or if the endpoints are not known. An endpoint with addresses of both IP versions counts
    /// once.
    pub(super) fn ready(&self, ports: &[&ServicePort]) -> String {
        let leads = |slice: &&Slice| {
            ports.is_empty() || ports.iter().any(|port| slice.target(port).is_some())
        };
        let endpoints = self.slices.iter().filter(leads);
        let endpoints = endpoints.flat_map(|slice| &slice.endpoints);
        let ready = endpoints.filter(|endpoint| endpoint.is_ready);
        let each = ready.filter_map(|endpoint| {
            let address = endpoint.addresses.first().map(ToString::to_string);
            endpoint.pod.clone().or(address)
        });
        match each.collect::<BTreeSet<String>>().len() {
            0 => String::new(),
            1 => " (1 ready endpoint)".to_owned(),
            more => format!(" ({more} ready endpoints)"),
        }
    }

    /// Notes on the endpoints of some ports of the Service.
    pub(super) fn warnings(&self, full_name: &str, ports: &[&ServicePort]) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut ready = self.all_endpoints().filter(|endpoint| endpoint.is_ready);
        if self.slices.is_empty() {
            warnings.push(format!(
                "no EndpointSlice of {full_name} was read, so its endpoints are not known: \
                 `kubectl get endpointslices` lists those that there are"
            ));
        } else if ready.next().is_none() {
            let unready = self.all_endpoints().filter_map(|endpoint| {
                let address = endpoint.addresses.first().map(ToString::to_string);
                endpoint.pod.clone().or(address)
            });
            let unready: BTreeSet<String> = unready.collect();
            let why = match unready.first() {
                None => "it has none at all".to_owned(),
                Some(first) if unready.len() == 1 => format!("{first} is not ready"),
                Some(first) => {
                    let others = unready.len() - 1;
                    format!("{first} and {others} more are not ready")
                }
            };
            warnings.push(format!(
                "{full_name} has no ready endpoints: nothing that is sent to it can arrive ({why})"
            ));
        } else {
            let leads = |port: &ServicePort| {
                let mut slices = self.slices.iter();
                slices.any(|slice| slice.target(port).is_some())
            };
            for port in ports.iter().filter(|port| !leads(port)) {
                warnings.push(format!(
                    "{full_name} has no endpoint for its port {port}: no EndpointSlice has that \
                     port. Compare the Service's targetPort with the names of the pods' ports"
                ));
            }
        }
        if self.service.keeps_clients {
            warnings.push(format!(
                "{full_name} has sessionAffinity ClientIP: all connections of a client go to the \
                 same endpoint"
            ));
        }
        warnings
    }

    /// The addresses to which clients send packets for some ports of the Service.
    pub(super) fn entrances(&self, full_name: &str, ports: &[&ServicePort]) -> Vec<End> {
        let own: Vec<Port> = ports.iter().map(|own| port(own, own.port)).collect();
        let service = self.service.cluster.iter().chain(&self.service.external);
        let virtual_ends = service.map(|address| End {
            kind: EndKind::Virtual,
            ports: own.clone(),
            ..named_end((*address).into(), Some(full_name), None)
        });
        let mut ends: Vec<End> = virtual_ends.collect();
        let of_nodes = ports
            .iter()
            .filter_map(|own| Some(port(own, own.node_port?)));
        let of_nodes: Vec<Port> = of_nodes.collect();
        if !of_nodes.is_empty() {
            for (node, address) in self.inventory.every_node_address() {
                ends.push(End {
                    kind: EndKind::NodePort,
                    ports: of_nodes.clone(),
                    ..named_end(address.into(), None, Some(node))
                });
            }
        }
        ends
    }

    /// The endpoints of some ports of the Service, ready or not: existing connections stay with
    /// their endpoint.
    pub(super) fn endpoints(&self, ports: &[&ServicePort]) -> impl Iterator<Item = End> + use<> {
        let mut ends: BTreeMap<IpAddr, End> = BTreeMap::new();
        for slice in self.slices {
            let targets = ports
                .iter()
                .filter_map(|own| Some(port(own, slice.target(own)?)));
            let targets: Vec<Port> = targets.collect();
            if targets.is_empty() && !ports.is_empty() {
                continue;
            }
            for endpoint in &slice.endpoints {
                for address in &endpoint.addresses {
                    let end = ends.entry(*address).or_insert_with(|| {
                        let (name, node) = (endpoint.pod.as_deref(), endpoint.node.as_deref());
                        // A pod on the host network has its node's address.
                        let owner = self.inventory.owner(*address);
                        let is_node = owner.is_some_and(|owner| owner.kind == OwnerKind::Node);
                        End {
                            kind: EndKind::Endpoint,
                            ..named_end((*address).into(), name.filter(|_| !is_node), node)
                        }
                    });
                    add_ports(end, &targets);
                }
            }
        }
        ends.into_values()
    }
}

fn port(of: &ServicePort, number: u16) -> Port {
    Port {
        proto: of.protocol.number(),
        number,
    }
}
