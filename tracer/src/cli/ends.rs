//! What the two sides of a follow stand for: addresses, and the ports that belong to them.
//!
//! A packet to a Service has two destinations on its way: the Service's virtual address, and
//! the endpoint's that it is translated to. Both are ends. One that is meant for a pod may have
//! come by any Service that leads there, so the virtual addresses of these are ends, too, and
//! their other endpoints are watched besides: what goes to those was sent to a followed
//! address, and shows where it went.

mod dns;
mod led;
mod local;

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use tracer_core::model::OwnerKind;

use self::{
    led::{Led, lead},
    local::Local,
};
use super::{
    error::SettingsError,
    values::{EndName, PodName, PortName, ServiceName},
};
use crate::inventory::{Group, Inventory, Pod, ServicePort};

/// One address, or network of addresses, of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The addresses.
    pub network: IpNet,
    /// The pod's `namespace/name`, where it is one; `service namespace/name` of a virtual
    /// address.
    pub name: Option<String>,
    /// The node that it is on, where that is known.
    pub node: Option<String>,
    /// What it is to the follow.
    pub kind: EndKind,
    /// The ports at which packets of the follow come there by a Service.
    pub ports: Vec<Port>,
}

/// What an end is to the follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndKind {
    /// It was named, so all its ports belong to the follow.
    #[default]
    Named,
    /// An endpoint of a Service that was named: its ports are those that the Service leads to,
    /// or all if it has none.
    Endpoint,
    /// A virtual address of a Service: no interface has it.
    Virtual,
    /// An address of a node, at which a Service has node ports.
    NodePort,
    /// Whoever is asked for names, by any address.
    Asked,
}

/// A port, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// IANA protocol number.
    pub proto: u8,
    /// The number.
    pub number: u16,
}

impl End {
    /// The address, where it is one and not a network.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        (self.network.prefix_len() == self.network.max_prefix_len()).then(|| self.network.addr())
    }

    /// Whether packets end at it: not where they are translated.
    #[must_use]
    pub const fn is_real(&self) -> bool {
        matches!(self.kind, EndKind::Named | EndKind::Endpoint)
    }

    pub(super) const fn family(&self) -> &'static str {
        match self.network {
            IpNet::V4(_) => "IPv4",
            IpNet::V6(_) => "IPv6",
        }
    }
}

/// The pod's or Service's name, else the address or network.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.address()) {
            (Some(name), _) => f.pad(name),
            (None, Some(address)) => f.pad(&address.to_string()),
            (None, None) => f.pad(&self.network.to_string()),
        }
    }
}

/// A side of a follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// Its addresses; never none.
    pub(super) ends: Vec<End>,
    /// Other addresses to which packets to these ends' virtual addresses may go.
    pub(super) besides: Vec<End>,
    /// The Service, if it was named by one: `service namespace/name`, with the port.
    pub(super) service: Option<String>,
    /// The Services by which one comes to it, by namespace and name.
    pub(super) by: Vec<(String, String)>,
    /// Whether packets of pods may get a node's address on the way there.
    pub(super) is_masqueraded: bool,
    /// The Service, if some of its packets stay on the node where they are.
    pub(super) local: Option<Local>,
    /// What the user should know, one sentence each.
    pub(super) warnings: Vec<String>,
}

/// What narrows a side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    /// The port that was given, as the client names it or as the endpoint has it.
    pub(super) port: Option<u16>,
    /// IANA protocol number; `None` for any.
    pub(super) proto: Option<u8>,
}

impl Narrow {
    /// IANA number of ICMP, which has no ports.
    const ICMP: u8 = 1;

    /// Whether what is followed has no ports.
    pub(super) fn is_without_ports(self) -> bool {
        self.proto == Some(Self::ICMP)
    }

    fn takes(self, port: &ServicePort) -> bool {
        let number = port.protocol.number();
        self.proto
            .is_none_or(|proto| proto == Self::ICMP || proto == number)
    }
}

/// Looks names up.
pub(super) struct Names<'a> {
    /// The namespace of what is named without one.
    pub(super) namespace: Option<&'a str>,
    pub(super) inventory: Option<&'a Inventory>,
}

impl Names<'_> {
    fn known(&self) -> &Inventory {
        self.inventory
            .expect("objects that were named have been read")
    }

    fn namespace(&self, own: Option<String>) -> String {
        let given = own.or_else(|| self.namespace.map(str::to_owned));
        given.unwrap_or_else(|| self.known().namespace().to_owned())
    }

    /// Where packets come from. They are sent from a pod of a Service, if one is named; if a
    /// port of it is, they are what it answers.
    pub(super) fn source(&self, name: EndName, narrow: Narrow) -> Result<Side, SettingsError> {
        let EndName::Service(service) = name else {
            return self.named(name);
        };
        let is_answer = service.port.is_some() || narrow.port.is_some();
        let mut side = self.service(service, narrow)?;
        if !is_answer {
            for end in &mut side.ends {
                end.ports.clear();
            }
            side.ends.retain(End::is_real);
            if side.ends.is_empty() {
                let name = side.service.unwrap_or_default();
                return Err(SettingsError::NoEndpoints(name));
            }
        }
        Ok(side)
    }

    /// Where they go.
    pub(super) fn destination(&self, name: EndName, narrow: Narrow) -> Result<Side, SettingsError> {
        match name {
            EndName::Service(service) => return self.service(service, narrow),
            EndName::Dns => return Ok(self.dns(narrow)),
            _ => {}
        }
        let mut side = self.named(name)?;
        if let Some(inventory) = self.inventory {
            let at = |end: &End| inventory.service_at(end.address()?);
            if let [end] = &side.ends[..]
                && end.name.is_none()
                && let Some((namespace, name)) = at(end)
            {
                let service = ServiceName {
                    namespace: Some(namespace.to_owned()),
                    name: name.to_owned(),
                    port: None,
                };
                let same = end.network;
                let mut all = self.service(service, narrow)?;
                all.ends.retain(|end| end.is_real() || end.network == same);
                if narrow.port.is_none() {
                    // Whatever is sent to it was asked for.
                    let own = all.ends.iter_mut().filter(|end| !end.is_real());
                    own.for_each(|end| end.ports.clear());
                }
                return Ok(all);
            }
            lead(inventory, &mut side, narrow);
        }
        Ok(side)
    }

    /// All addresses of what was named, if that is no Service.
    fn named(&self, name: EndName) -> Result<Side, SettingsError> {
        let ends = match name {
            EndName::Service(_) | EndName::Dns => unreachable!("these have ports"),
            EndName::Pod(PodName { namespace, name }) => {
                let namespace = self.namespace(namespace);
                let pod = self.known().pod(&namespace, &name)?;
                pod_ends(&format!("{namespace}/{name}"), pod)
            }
            EndName::Group { namespace, pods } => {
                let namespace = self.namespace(namespace);
                let pods = self.known().group(&Group { namespace, pods })?;
                let ends = pods.iter().flat_map(|(name, pod)| pod_ends(name, pod));
                ends.collect()
            }
            EndName::Node(name) => {
                let addresses = self.known().addresses_of_node(&name)?;
                let end = |address: &IpAddr| named_end((*address).into(), None, Some(&name));
                addresses.iter().map(end).collect()
            }
            EndName::Network(network) => vec![self.network(network)],
        };
        Ok(Side {
            ends,
            ..Side::default()
        })
    }

    fn network(&self, network: IpNet) -> End {
        let mut end = named_end(network, None, None);
        if let Some(inventory) = self.inventory {
            let owner = end.address().and_then(|address| inventory.owner(address));
            let pod = owner.filter(|owner| owner.kind == OwnerKind::Pod);
            end.name = pod.map(|owner| owner.name.clone());
            let home = match end.address() {
                Some(address) => inventory.home(address),
                None => inventory.home_of_network(network),
            };
            end.node = home.map(str::to_owned);
        }
        end
    }

    /// A Service: its virtual addresses, its nodes' ports, its endpoints.
    fn service(&self, name: ServiceName, narrow: Narrow) -> Result<Side, SettingsError> {
        let ServiceName {
            namespace,
            name,
            port,
        } = name;
        let namespace = self.namespace(namespace);
        let inventory = self.known();
        let service = inventory.service(&namespace, &name)?;
        let given = port
            .as_ref()
            .map_or_else(String::new, |port| format!(":{port}"));
        let full_name = format!("service {namespace}/{name}");
        let is_meant = |own: &&ServicePort| match &port {
            None => true,
            Some(PortName::Number(number)) => own.port == *number,
            Some(PortName::Name(name)) => own.name == *name,
        };
        let led = Led::new(inventory, (&namespace, &name), service);
        let ports: Vec<&ServicePort> = service
            .ports
            .iter()
            .filter(is_meant)
            .filter(|port| narrow.takes(port) && led.has(port, narrow.port))
            .collect();
        if ports.is_empty() && !service.ports.is_empty() {
            let asked = port.map(|port| port.to_string());
            let asked = asked.or(narrow.port.map(|port| port.to_string()));
            let asked = asked.map(|port| format!("port {port}"));
            return Err(SettingsError::NoSuchPort {
                service: full_name,
                asked: asked.unwrap_or_else(|| "port of this --proto".to_owned()),
                ports: service.ports.iter().map(ToString::to_string).collect(),
            });
        }
        let warnings = led.warnings(&full_name, &ports);
        let mut ends = led.entrances(&full_name, &ports);
        ends.extend(led.endpoints(&ports));
        if ends.is_empty() {
            return Err(SettingsError::NoEndpoints(full_name));
        }
        Ok(Side {
            ends,
            besides: Vec::new(),
            service: Some(full_name + &given),
            local: (service.is_local_inside || service.is_local_outside).then(|| Local {
                service: format!("service {namespace}/{name}"),
                nodes: led.ready_nodes(),
                inside: service.is_local_inside,
                outside: service.is_local_outside,
            }),
            by: vec![(namespace, name)],
            is_masqueraded: !service.external.is_empty(),
            warnings,
        })
    }
}

fn named_end(network: IpNet, name: Option<&str>, node: Option<&str>) -> End {
    End {
        network,
        name: name.map(str::to_owned),
        node: node.filter(|node| !node.is_empty()).map(str::to_owned),
        kind: EndKind::Named,
        ports: Vec::new(),
    }
}

fn pod_ends(full_name: &str, pod: &Pod) -> Vec<End> {
    let end = |&address: &IpAddr| named_end(address.into(), Some(full_name), Some(&pod.node));
    pod.addresses.iter().map(end).collect()
}
