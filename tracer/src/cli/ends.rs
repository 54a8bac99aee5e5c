//! The two sides of a follow: their addresses, and the ports that belong to these.
//!
//! A packet to a Service has two destinations on its way: the Service's virtual address, and the
//! endpoint's address after the translation. Both are ends. A packet to a pod may have come by any
//! Service that leads to the pod, so these Services' virtual addresses are ends, too. The other
//! endpoints of these Services are watched besides: packets to them were sent to a followed
//! address.

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

/// An address of a side, or a network of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The addresses.
    pub network: IpNet,
    /// `namespace/name` of a pod, or `service namespace/name` of a Service's virtual address.
    pub name: Option<String>,
    /// The end's node, if it is known.
    pub node: Option<String>,
    /// The role of the end in the follow.
    pub kind: EndKind,
    /// The ports at which the follow's packets reach the end by a Service.
    pub ports: Vec<Port>,
}

/// The role of an end in the follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndKind {
    /// The user named the end, so all its ports belong to the follow.
    #[default]
    Named,
    /// An endpoint of a named Service. The endpoint's ports are those that the Service leads to, or
    /// all if the Service has no ports.
    Endpoint,
    /// A virtual address of a Service, which no interface has.
    Virtual,
    /// An address of a node, at which a Service has node ports.
    NodePort,
    /// Any DNS server, by any address.
    Asked,
}

/// A port with its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// IANA protocol number.
    pub proto: u8,
    /// The port's number.
    pub number: u16,
}

impl End {
    /// The address, if the end is a single address and not a network.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        (self.network.prefix_len() == self.network.max_prefix_len()).then(|| self.network.addr())
    }

    /// Whether packets end here, and are not translated here.
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

/// Shows the pod's or Service's name, otherwise the address or network.
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
    /// The side's addresses; never empty.
    pub(super) ends: Vec<End>,
    /// Other addresses to which packets to these ends' virtual addresses may go.
    pub(super) besides: Vec<End>,
    /// `service namespace/name` with the port and the number of ready endpoints, if the side was
    /// named as a Service.
    pub(super) service: Option<String>,
    /// The Services that lead to the side, by namespace and name.
    pub(super) by: Vec<(String, String)>,
    /// Whether packets of pods may get a node's address on the way there.
    pub(super) is_masqueraded: bool,
    /// The Service, if some of its packets go only to endpoints on their own node.
    pub(super) local: Option<Local>,
    /// Notes for the user, one sentence each.
    pub(super) warnings: Vec<String>,
}

/// Further conditions on a side's packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Narrow {
    /// The given port, by the client's number or the endpoint's.
    pub(super) port: Option<u16>,
    /// IANA protocol number; `None` for any.
    pub(super) proto: Option<u8>,
}

impl Narrow {
    /// IANA number of ICMP, which has no ports.
    const ICMP: u8 = 1;

    /// Whether the followed packets have no ports.
    pub(super) fn is_without_ports(self) -> bool {
        self.proto == Some(Self::ICMP)
    }

    fn takes(self, port: &ServicePort) -> bool {
        let number = port.protocol.number();
        self.proto
            .is_none_or(|proto| proto == Self::ICMP || proto == number)
    }
}

/// Looks up the names of ends.
pub(super) struct Names<'a> {
    /// The namespace of objects that are named without one.
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

    /// The source. The packets of a Service come from its pods. If a port of the Service is given,
    /// the packets are the Service's answers.
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

    /// The destination.
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
                    // The user asked for the address itself, so all its ports count.
                    let own = all.ends.iter_mut().filter(|end| !end.is_real());
                    own.for_each(|end| end.ports.clear());
                }
                return Ok(all);
            }
            lead(inventory, &mut side, narrow);
        }
        Ok(side)
    }

    /// All addresses of a named object that is no Service.
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

    /// The ends of a Service: its virtual addresses, its node ports, and its endpoints.
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
            service: Some(full_name + &given + &led.ready(&ports)),
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
