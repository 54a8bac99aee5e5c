//! Reads the facts about one drop, in its network namespace.

use std::{fs, net::IpAddr};

use tracer_core::model::{Direction, Fact, FdbEntry, Mac, NeighbourEntry, RouteKind};

use super::{
    Ends, Subject,
    chains::{self, Way},
    hooks, sockets,
    topic::Topic,
};
use crate::node::{
    hook,
    rtnetlink::{Kernel, Link, Route},
};

/// The reader of facts about one drop. It belongs to the namespace in which it was created.
pub(super) struct Look<'a> {
    subject: &'a Subject,
    kernel: Option<Kernel>,
    /// Interface at which the packet was.
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

    pub(super) fn read(mut self) -> Vec<Fact> {
        let topics = self.subject.topics.iter();
        topics.flat_map(|topic| self.about(*topic)).collect()
    }

    fn about(&mut self, topic: Topic) -> Vec<Fact> {
        let fact = match topic {
            Topic::Chains => return self.chains().unwrap_or_default(),
            Topic::ReversePath => return self.reverse_path().unwrap_or_default(),
            Topic::Forwarding => return self.forwarding().unwrap_or_default(),
            Topic::Owners => return self.owners().unwrap_or_default(),
            Topic::Programs => return self.programs().unwrap_or_default(),
            Topic::MayForward => return self.may_forward().unwrap_or_default(),
            Topic::Device => self.device.as_ref().map(device),
            Topic::Mac => self.mac(),
            Topic::Route => self.route(),
            Topic::Neighbour => self.neighbour(),
            Topic::Mtu => self.mtu(),
            Topic::Qdisc => self.qdisc(),
            Topic::Backlog => sysctl("core/netdev_max_backlog"),
            Topic::Listener => self.listener(),
            Topic::Checksum => self.checksum(),
        };
        fact.into_iter().collect()
    }

    fn ends(&self) -> Option<&'a Ends> {
        self.subject.packet.as_ref()
    }

    fn mac(&self) -> Option<Fact> {
        let device = self.device.as_ref()?;
        Some(Fact::OtherMac {
            device: device.name.clone(),
            own: device.mac?,
            frame: self.subject.mac?,
        })
    }

    /// The packet's own route: from its source, by the interface that it came in by.
    fn route(&mut self) -> Option<Fact> {
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
        // With an interface, other checks fail with the same errors.
        let unclear = !matches!(
            route,
            Some(Route::Out { .. } | Route::Local | Route::None(libc::ENETUNREACH))
        );
        let route = if unclear {
            kernel.route(dst, None, None)
        } else {
            route
        };
        self.told(dst, false, &route?)
    }

    /// The fact about a route; `None` if the route's device is gone.
    fn told(&mut self, to: IpAddr, back: bool, route: &Route) -> Option<Fact> {
        let (mut via, mut device) = (None, None);
        let kind = match route {
            Route::Local => RouteKind::Local,
            Route::Out {
                device: index,
                gateway,
                ..
            } => {
                via = *gateway;
                device = Some(self.kernel.as_mut()?.link_of(*index)?.name);
                RouteKind::Unicast
            }
            Route::None(libc::EINVAL) => RouteKind::Blackhole,
            Route::None(libc::EACCES) => RouteKind::Prohibit,
            Route::None(libc::EHOSTUNREACH) => RouteKind::Unreachable,
            Route::None(_) => RouteKind::None,
        };
        Some(Fact::Route {
            to,
            back,
            kind,
            via,
            device,
        })
    }

    /// Next hop of the packet on its interface.
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

    fn neighbour(&mut self) -> Option<Fact> {
        let next = self.next_hop()?;
        let device = self.device.as_ref()?;
        let entry = self.kernel.as_mut()?.neighbour(device.index, next)?;
        Some(Fact::Neighbour {
            address: next,
            device: device.name.clone(),
            entry: entry.map(|entry| NeighbourEntry {
                state: entry.state,
                mac: entry.mac,
            }),
        })
    }

    fn forwarding(&mut self) -> Option<Vec<Fact>> {
        let device = self.device.as_ref()?;
        let kernel = self.kernel.as_mut()?;
        let mut fact = |mac: Mac| {
            let entry = kernel.forwarding(device.index, mac)?;
            Some(Fact::Fdb {
                mac,
                device: device.name.clone(),
                entry: entry.map(|entry| FdbEntry {
                    remote: entry.remote,
                }),
            })
        };
        // The second entry is the default entry.
        let mut facts = vec![fact(self.subject.mac?)?];
        facts.extend(fact(Mac::default()));
        Some(facts)
    }

    fn mtu(&mut self) -> Option<Fact> {
        let Ends { dst, len, .. } = *self.ends()?;
        let route = self.kernel.as_mut()?.route(dst, None, None)?;
        let Route::Out { device, mtu, .. } = route else {
            return self.told(dst, false, &route);
        };
        let link = self.kernel.as_mut()?.link_of(device)?;
        Some(Fact::Mtu {
            device: link.name,
            mtu: link.mtu,
            to: dst,
            route_mtu: mtu,
            packet: len,
        })
    }

    fn reverse_path(&mut self) -> Option<Vec<Fact>> {
        let Ends { src, .. } = *self.ends()?;
        let device = self.device.as_ref()?.name.clone();
        let value = |whose: &str| setting(&format!("ipv4/conf/{whose}/rp_filter"));
        let mut facts = Vec::new();
        if let (Some(all), Some(own)) = (value("all"), value(&device)) {
            facts.push(Fact::RpFilter { device, all, own });
        }
        if let Some(route) = self.kernel.as_mut()?.route(src, None, None) {
            facts.extend(self.told(src, true, &route));
        }
        Some(facts)
    }

    /// Settings of forwarding. IPv4 checks the interface that a packet came in by, IPv6 the
    /// setting for all interfaces (net/ipv4/route.c `ip_route_input_slow`,
    /// net/ipv6/ip6_output.c `ip6_forward`).
    fn may_forward(&self) -> Option<Vec<Fact>> {
        let names = if self.ends()?.dst.is_ipv6() {
            vec!["ipv6/conf/all/forwarding".to_owned()]
        } else {
            let device = &self.device.as_ref()?.name;
            let own = format!("ipv4/conf/{device}/forwarding");
            vec![own, "ipv4/ip_forward".to_owned()]
        };
        Some(names.iter().filter_map(|name| sysctl(name)).collect())
    }

    /// The fact about a wrong checksum. The sending node computes a tunnel's checksum, and the
    /// pod the packet's.
    fn checksum(&self) -> Option<Fact> {
        let Ends {
            src,
            dst,
            is_tunnel: tunnel,
            ..
        } = *self.ends()?;
        Some(Fact::Checksum { src, dst, tunnel })
    }

    /// Addresses of this namespace that should be elsewhere.
    fn owners(&mut self) -> Option<Vec<Fact>> {
        let Ends { src, dst, .. } = *self.ends()?;
        let own = self.kernel.as_mut()?.addresses();
        let here = [src, dst]
            .into_iter()
            .filter(|address| own.contains(address));
        Some(here.map(|address| Fact::OwnAddress { address }).collect())
    }

    fn chains(&mut self) -> Option<Vec<Fact>> {
        let Ends { src, dst, .. } = *self.ends()?;
        let own = self.kernel.as_mut()?.addresses();
        Some(chains::on(&Way {
            hooks: hooks::passed(own.contains(&src), own.contains(&dst)),
            device: self.subject.device.as_deref(),
            v6: dst.is_ipv6(),
            in_nftables: self.subject.in_nftables,
        }))
    }

    fn qdisc(&mut self) -> Option<Fact> {
        let device = self.device.as_ref()?;
        let qdisc = self.kernel.as_mut()?.qdisc(device.index)?;
        Some(Fact::Qdisc {
            device: device.name.clone(),
            kind: qdisc.kind,
            queued: qdisc.queued,
            drops: qdisc.drops,
        })
    }

    /// Foreign programs; tracer's own drop nothing.
    fn programs(&self) -> Option<Vec<Fact>> {
        let device = self.device.as_ref()?;
        let name = &device.name;
        let mut facts = Vec::new();
        for direction in [Direction::Ingress, Direction::Egress] {
            let at = hook::Device {
                name,
                index: device.index,
            };
            let Ok(programs) = hook::foreign(at, direction) else {
                continue;
            };
            if !programs.is_empty() {
                facts.push(Fact::TcPrograms {
                    device: name.clone(),
                    direction,
                    programs,
                });
            }
        }
        if let Some(id) = device.xdp {
            let program = hook::program(id);
            if !hook::is_ours(&program) {
                facts.push(Fact::XdpProgram {
                    device: name.clone(),
                    program,
                });
            }
        }
        Some(facts)
    }

    fn listener(&self) -> Option<Fact> {
        let Ends { dst, listener, .. } = *self.ends()?;
        let (proto, port) = listener?;
        sockets::on_port(proto, dst, port)
    }
}

fn device(link: &Link) -> Fact {
    Fact::Device {
        device: link.name.clone(),
        up: link.up,
        carrier: link.carrier,
        mtu: link.mtu,
        bridge_port: link.port_state,
    }
}

/// A setting below `/proc/sys/net`, in the calling thread's namespace.
fn setting(name: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
    text.trim().parse().ok()
}

/// A setting as a fact. sysctl(8) separates by dots, and has a slash for a dot in a device's
/// name.
fn sysctl(path: &str) -> Option<Fact> {
    let swapped = path.chars().map(|c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    });
    Some(Fact::Sysctl {
        name: format!("net.{}", swapped.collect::<String>()),
        value: setting(path)?,
    })
}
