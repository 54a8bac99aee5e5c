//! DNS servers as an end.

use ipnet::{Ipv4Net, Ipv6Net};
use tracer_common::event::DNS_PORT;

use super::{End, EndKind, Led, Names, Narrow, Port, Side, named_end};
use crate::inventory::ServicePort;

/// IANA numbers of the protocols of DNS.
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Names<'_> {
    /// DNS servers: any address at DNS's port, and the endpoints of the Services that have this
    /// port. The endpoints may have another port.
    pub(super) fn dns(&self, narrow: Narrow) -> Side {
        let own = [UDP, TCP].map(|proto| Port {
            proto,
            number: DNS_PORT,
        });
        let is_meant = |port: &Port| narrow.proto.is_none_or(|proto| proto == port.proto);
        let own: Vec<Port> = own.into_iter().filter(is_meant).collect();
        let anybody = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        let mut side = Side {
            ends: anybody
                .map(|network| End {
                    kind: EndKind::Asked,
                    ports: own.clone(),
                    ..named_end(network, None, None)
                })
                .into(),
            service: Some("DNS".to_owned()),
            ..Side::default()
        };
        let known = self.inventory.into_iter();
        for ((namespace, name), service) in known.flat_map(|known| known.services_with(DNS_PORT)) {
            let led = Led::new(self.known(), (namespace, name), service);
            let is_meant = |port: &&ServicePort| port.port == DNS_PORT && narrow.takes(port);
            let ports: Vec<&ServicePort> = service.ports.iter().filter(is_meant).collect();
            if !ports.is_empty() {
                side.by.push((namespace.clone(), name.clone()));
                side.ends.extend(led.endpoints(&ports));
            }
        }
        side
    }
}
