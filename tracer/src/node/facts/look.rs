//! Reading what there is to read about one drop, in its namespace.

use std::{fs, net::IpAddr};

use aya::programs::{ProgramInfo, loaded_programs};
use tracer_core::model::{Direction, Mac};

use super::{
    Ends, Subject,
    chains::{self, Hook, Way},
    kernel::{Entry, Kernel, Link, Route},
    sockets,
    topic::Topic,
};
use crate::node::hook;

/// Neighbour states (`NUD_*`), as iproute2 names them.
const STATES: [(u16, &str); 8] = [
    (libc::NUD_INCOMPLETE, "INCOMPLETE"),
    (libc::NUD_REACHABLE, "REACHABLE"),
    (libc::NUD_STALE, "STALE"),
    (libc::NUD_DELAY, "DELAY"),
    (libc::NUD_PROBE, "PROBE"),
    (libc::NUD_FAILED, "FAILED"),
    (libc::NUD_NOARP, "NOARP"),
    (libc::NUD_PERMANENT, "PERMANENT"),
];

/// States of a bridge port (`BR_STATE_*`).
const PORT_STATES: [&str; 5] = [
    "disabled",
    "listening",
    "learning",
    "forwarding",
    "blocking",
];

/// A look at a drop. It belongs to the namespace that it was made in.
pub(super) struct Look<'a> {
    subject: &'a Subject,
    kernel: Option<Kernel>,
    /// The interface that the packet was at.
    device: Option<Link>,
}

impl<'a> Look<'a> {
    pub(super) fn at(subject: &'a Subject) -> Self {
        let mut kernel = Kernel::open().ok();
        let device = subject.device.as_deref();
        Self {
            device: device.and_then(|name| kernel.as_mut()?.link(name)),
            subject,
            kernel,
        }
    }

    pub(super) fn read(mut self) -> Vec<String> {
        let topics = self.subject.topics.iter();
        topics.flat_map(|topic| self.about(*topic)).collect()
    }

    fn about(&mut self, topic: Topic) -> Vec<String> {
        let fact = match topic {
            Topic::Chains => return self.chains().unwrap_or_default(),
            Topic::ReversePath => return self.reverse_path().unwrap_or_default(),
            Topic::Forwarding => return self.forwarding().unwrap_or_default(),
            Topic::Owners => return self.owners().unwrap_or_default(),
            Topic::Programs => return self.programs().unwrap_or_default(),
            Topic::Device => self.device.as_ref().map(device),
            Topic::Mac => self.mac(),
            Topic::Route => self.route(),
            Topic::Neighbour => self.neighbour(),
            Topic::Mtu => self.mtu(),
            Topic::MayForward => self.may_forward(),
            Topic::Qdisc => self.qdisc(),
            Topic::Backlog => sysctl("core/netdev_max_backlog")
                .map(|most| format!("net.core.netdev_max_backlog is {most}")),
            Topic::Listener => self.listener(),
            Topic::Checksum => self.checksum(),
        };
        fact.into_iter().collect()
    }

    fn ends(&self) -> Option<&'a Ends> {
        self.subject.packet.as_ref()
    }

    fn mac(&self) -> Option<String> {
        let device = self.device.as_ref()?;
        let (own, frame) = (device.mac?, self.subject.mac?);
        let name = &device.name;
        Some(format!(
            "{name} has {own}, the frame was for {frame}: a neighbour or fdb entry of its sender \
             is stale"
        ))
    }

    /// As the packet is routed: from its source, by the interface it came in.
    fn route(&mut self) -> Option<String> {
        let Ends { src, dst, .. } = *self.ends()?;
        let kernel = self.kernel.as_mut()?;
        let is_own = kernel.addresses().contains(&src);
        let by = self.device.as_ref().filter(|_| !is_own);
        let route = if is_own {
            kernel.route(dst, Some(src), None)
        } else if let Some(by) = by {
            kernel.route(dst, Some(src), Some(by.index))
        } else {
            kernel.route(dst, None, None)
        };
        // With an interface, other checks fail in the same way.
        let unclear = !matches!(
            route,
            Some(Route::Out { .. } | Route::Local | Route::None(libc::ENETUNREACH))
        );
        let route = if unclear {
            kernel.route(dst, None, None)
        } else {
            route
        };
        Some(self.describe("route to", dst, &route?))
    }

    fn describe(&mut self, what: &str, to: IpAddr, route: &Route) -> String {
        match route {
            Route::Local => format!("{what} {to}: local"),
            Route::Out {
                device, gateway, ..
            } => {
                let via = gateway.map_or_else(String::new, |gateway| format!("via {gateway} "));
                format!("{what} {to}: {via}dev {}", self.name(*device))
            }
            Route::None(libc::EINVAL) => format!("{what} {to}: blackhole"),
            Route::None(libc::EACCES) => format!("{what} {to}: prohibit"),
            Route::None(libc::EHOSTUNREACH) => format!("{what} {to}: unreachable"),
            Route::None(_) => format!("no {what} {to}"),
        }
    }

    fn name(&mut self, device: u32) -> String {
        let link = self
            .kernel
            .as_mut()
            .and_then(|kernel| kernel.link_of(device));
        link.map_or_else(|| format!("interface {device}"), |link| link.name)
    }

    /// Who is to have the packet next on its interface.
    fn next_hop(&mut self) -> Option<IpAddr> {
        let dst = self.ends()?.dst;
        let own = self.device.as_ref()?.index;
        match self.kernel.as_mut()?.route(dst, None, None)? {
            Route::Out {
                device,
                gateway: Some(gateway),
                ..
            } if device == own => Some(gateway),
            _ => Some(dst),
        }
    }

    fn neighbour(&mut self) -> Option<String> {
        let next = self.next_hop()?;
        let device = self.device.as_ref()?;
        let entry = self.kernel.as_mut()?.neighbour(device.index, next)?;
        let name = &device.name;
        Some(match entry {
            None => format!("no neighbour entry for {next} on {name}"),
            Some(Entry { state, mac, .. }) => {
                let state = STATES.iter().find(|(bit, _)| state & bit != 0);
                let state = state.map_or("NONE", |(_, state)| state);
                let mac = mac.map_or_else(String::new, |mac| format!(" {mac}"));
                format!("neighbour {next} on {name}: {state}{mac}")
            }
        })
    }

    fn forwarding(&mut self) -> Option<Vec<String>> {
        let device = self.device.as_ref()?;
        let mac = self.subject.mac?;
        let kernel = self.kernel.as_mut()?;
        let mut entry = |mac: Mac| kernel.forwarding(device.index, mac);
        let fact = |what: String, entry: Option<Entry>| match entry {
            None => format!("no fdb entry for {what} on {}", device.name),
            Some(entry) => {
                let to = entry
                    .far_end
                    .map_or_else(String::new, |end| format!(" to {end}"));
                format!("fdb entry for {what} on {}:{to}", device.name)
            }
        };
        let mut facts = vec![fact(mac.to_string(), entry(mac)?)];
        if let Some(default) = entry(Mac::default()) {
            facts.push(fact("all others".to_owned(), default));
        }
        Some(facts)
    }

    fn mtu(&mut self) -> Option<String> {
        let Ends { dst, len, .. } = *self.ends()?;
        let route = self.kernel.as_mut()?.route(dst, None, None)?;
        let Route::Out { device, mtu, .. } = route else {
            return Some(self.describe("route to", dst, &route));
        };
        let link = self.kernel.as_mut()?.link_of(device)?;
        let (name, own) = (link.name, link.mtu);
        let learned = mtu.map_or_else(String::new, |mtu| format!(" (route to {dst}: {mtu})"));
        let bytes = len.map_or_else(String::new, |len| format!(", packet has {len} bytes"));
        Some(format!("{name}: MTU {own}{learned}{bytes}"))
    }

    /// The greater of the two values counts
    /// (Documentation/networking/ip-sysctl.rst).
    fn reverse_path(&mut self) -> Option<Vec<String>> {
        let Ends { src, .. } = *self.ends()?;
        let device = self.device.as_ref()?.name.clone();
        let value = |whose: &str| sysctl(&format!("ipv4/conf/{whose}/rp_filter"));
        let mut facts = Vec::new();
        if let (Some(all), Some(own)) = (value("all"), value(&device)) {
            let most = all.max(own);
            facts.push(format!(
                "rp_filter is {most} on {device} (all {all}, {device} {own})"
            ));
        }
        if let Some(route) = self.kernel.as_mut()?.route(src, None, None) {
            facts.push(self.describe("route back to", src, &route));
        }
        Some(facts)
    }

    /// IPv4 asks the interface that a packet came in by, IPv6 all of them together
    /// (net/ipv4/route.c `ip_route_input_slow`, net/ipv6/ip6_output.c `ip6_forward`).
    fn may_forward(&self) -> Option<String> {
        if self.ends()?.dst.is_ipv6() {
            let all = sysctl("ipv6/conf/all/forwarding")?;
            return Some(format!("net.ipv6.conf.all.forwarding is {all}"));
        }
        let device = &self.device.as_ref()?.name;
        let own = sysctl(&format!("ipv4/conf/{device}/forwarding"))?;
        let all = sysctl("ipv4/ip_forward")?;
        // As sysctl(8) wants it: a dot separates.
        let device = device.replace('.', "/");
        Some(format!(
            "net.ipv4.conf.{device}.forwarding is {own}, net.ipv4.ip_forward is {all}"
        ))
    }

    /// A tunnel's is made by the node that sends, the packet's by the pod's.
    fn checksum(&self) -> Option<String> {
        let Ends {
            src,
            dst,
            is_tunnel,
            ..
        } = *self.ends()?;
        let whose = if is_tunnel {
            "the tunnel's own header"
        } else {
            "the packet"
        };
        Some(format!(
            "the wrong checksum is that of {whose} from {src} to {dst}: look at the tx checksum \
             offload of {src}"
        ))
    }

    /// Addresses that should be somewhere else.
    fn owners(&mut self) -> Option<Vec<String>> {
        let Ends { src, dst, .. } = *self.ends()?;
        let own = self.kernel.as_mut()?.addresses();
        let here = [src, dst]
            .into_iter()
            .filter(|address| own.contains(address));
        Some(
            here.map(|address| format!("{address} is an address of this namespace"))
                .collect(),
        )
    }

    fn chains(&mut self) -> Option<Vec<String>> {
        let Ends { src, dst, .. } = *self.ends()?;
        let own = self.kernel.as_mut()?.addresses();
        let hooks = Hook::passed(own.contains(&src), own.contains(&dst));
        Some(chains::on(&Way {
            hooks,
            device: self.subject.device.as_deref(),
            v6: dst.is_ipv6(),
            in_nftables: self.subject.in_nftables,
        }))
    }

    fn qdisc(&mut self) -> Option<String> {
        let device = self.device.as_ref()?;
        let qdisc = self.kernel.as_mut()?.qdisc(device.index)?;
        Some(format!(
            "qdisc {} on {}: {} packets queued, {} dropped so far",
            qdisc.kind, device.name, qdisc.queued, qdisc.drops
        ))
    }

    /// Those of others: tracer's drop nothing.
    fn programs(&self) -> Option<Vec<String>> {
        let device = self.device.as_ref()?;
        let name = &device.name;
        let mut facts = Vec::new();
        for direction in [Direction::Ingress, Direction::Egress] {
            let at = hook::Device {
                name,
                index: device.index,
            };
            let Ok(others) = hook::foreign(at, direction) else {
                continue;
            };
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            if !others.is_empty() {
                facts.push(format!(
                    "tc at {direction} of {name}: {}",
                    others.join(", ")
                ));
            }
        }
        if let Some(id) = device.xdp {
            let mut loaded = loaded_programs().flatten();
            let program = loaded.find(|info| info.id() == id);
            let program = program.as_ref().and_then(foreign);
            let program = program.unwrap_or_else(|| format!("program {id}"));
            facts.push(format!("XDP on {name}: {program}"));
        }
        Some(facts)
    }

    fn listener(&self) -> Option<String> {
        let Ends { dst, listener, .. } = *self.ends()?;
        let (tcp, port) = listener?;
        sockets::on_port(tcp, dst, port)
    }
}

/// A program by its name and identifier, unless it is tracer's.
fn foreign(info: &ProgramInfo) -> Option<String> {
    let name = String::from_utf8_lossy(info.name());
    (!name.starts_with("tracer_")).then(|| format!("{name} (program {})", info.id()))
}

fn device(link: &Link) -> String {
    let Link { name, mtu, .. } = link;
    let mut text = match (link.up, link.carrier) {
        (false, _) => format!("{name} is down"),
        (true, false) => format!("{name} is up, without a carrier"),
        (true, true) => format!("{name} is up, MTU {mtu}"),
    };
    let state = link.port_state.map(usize::from);
    if let Some(state) = state.and_then(|state| PORT_STATES.get(state)) {
        text += &format!(", a bridge port in state {state}");
    }
    text
}

/// A setting below `/proc/sys/net`, in the calling thread's namespace.
fn sysctl(name: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
    text.trim().parse().ok()
}
