//! Anonymizes a recording. Addresses, names and MAC addresses are replaced, each by the same
//! value everywhere. Times, sizes and everything else stay.
//!
//! Replacements are numbered in the order in which originals appear, so they contain nothing of
//! an original. Their meaning stays: an address of the client's side stays on that side, and a
//! group's address stays a group's. Addresses that belong to nobody in particular stay
//! unchanged: `0.0.0.0`, the prefix of `fe80::`, broadcasts, loopback. Free text is left out,
//! because it may quote anything, and so are checksums, which depend on addresses. Hashes are
//! hashed again with a key that nobody has, so nobody can test a guess.

mod copy;
mod events;
mod numbers;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use tracer_common::hash::{HASHED_BYTES, Key, payload_hash};
use tracer_core::model::{
    Device, Foreign, Hello, Kernel, Mac, Network, Owned, Owner, OwnerKind, Pair, Point, Way,
};

pub(crate) use self::copy::CopyError;
use self::numbers::{Addresses, Numbers};
use super::Head;

/// The kernel without what a builder adds to its release: that may name the builder.
fn numbered(kernel: Kernel) -> Kernel {
    let Kernel {
        mut release,
        architecture,
    } = kernel;
    let is_number = |letter: char| letter.is_ascii_digit() || letter == '.';
    let end = release.find(|letter| !is_number(letter));
    release.truncate(end.unwrap_or(release.len()));
    Kernel {
        release,
        architecture,
    }
}

/// Replaces the values of one recording.
#[derive(Debug)]
pub struct Anonymizer {
    /// Key for hashes, which nobody knows and which ends with this value.
    key: Key,
    addresses: Addresses,
    macs: Numbers<Mac>,
    nodes: Numbers<String>,
    pods: Numbers<String>,
    services: Numbers<String>,
    interfaces: Numbers<String>,
    boots: Numbers<String>,
}

impl Anonymizer {
    pub(crate) fn new() -> Self {
        Self {
            key: Key([crate::random(), crate::random()]),
            addresses: Addresses::default(),
            macs: Numbers::default(),
            nodes: Numbers::default(),
            pods: Numbers::default(),
            services: Numbers::default(),
            interfaces: Numbers::default(),
            boots: Numbers::default(),
        }
    }

    /// The head with replaced values. It comes first, because it names the client's side.
    pub(crate) fn head(&mut self, head: Head) -> Head {
        let Head {
            version,
            recording,
            piece,
            armed,
            last,
            anonymized: _,
            key: _,
            time,
            follow: _,
            warnings: _,
            pairs,
            sources,
            asked,
            hold,
            open,
            skew,
            count,
            nodes,
            owners,
        } = head;
        self.addresses.sources.clone_from(&sources);
        let owners = owners
            .iter()
            .map(|(address, owned)| (self.address(address), self.owned(owned.clone())))
            .collect();
        let nodes = nodes.into_iter().map(|hello| self.hello(hello)).collect();
        let pairs: Vec<Pair> = pairs
            .into_iter()
            .map(|pair| Pair {
                a: self.addresses.network(pair.a),
                b: self.addresses.network(pair.b),
                ..pair
            })
            .collect();
        let mut replaced: Vec<IpNet> = sources.iter().map(numbers::source_network).collect();
        replaced.sort_unstable();
        replaced.dedup();
        let ends = pairs.first().map(|pair| (pair.a, pair.b));
        Head {
            version,
            recording,
            piece,
            armed,
            last,
            anonymized: true,
            // Hashes are replaced, so they do not compare with those of other recordings.
            key: 0,
            time,
            follow: ends.map_or_else(String::new, |(a, b)| format!("{a} → {b} (anonymized)")),
            warnings: Vec::new(),
            pairs,
            sources: replaced,
            asked: asked
                .into_iter()
                .map(|net| self.addresses.network(net))
                .collect(),
            hold,
            open,
            skew,
            count,
            nodes,
            owners,
        }
    }

    fn address(&mut self, address: IpAddr) -> IpAddr {
        self.addresses.of(address)
    }

    /// Replaces a hash: equal hashes get equal values. 0, which means no hash, stays.
    fn hash(&self, hash: u64) -> u64 {
        if hash == 0 {
            return 0;
        }
        let mut bytes = [0; HASHED_BYTES];
        let hash = hash.to_le_bytes();
        bytes[..hash.len()].copy_from_slice(&hash);
        payload_hash(self.key, &bytes, hash.len()).max(1)
    }

    fn mac(&mut self, mac: Mac) -> Mac {
        // Groups and broadcasts belong to nobody.
        let [first, ..] = mac.0;
        if first & 1 == 1 || mac == Mac::default() {
            return if mac.0 == [0xff; 6] || mac == Mac::default() {
                mac
            } else {
                let [_, _, a, b, c, d] = self.number_of(mac);
                Mac([0x03, 0, a, b, c, d])
            };
        }
        Mac(self.number_of(mac))
    }

    /// A locally administered MAC address with the number of the original.
    fn number_of(&mut self, mac: Mac) -> [u8; 6] {
        let [a, b, c, d] = self.macs.of(mac).to_be_bytes();
        [0x02, 0, a, b, c, d]
    }

    fn node(&mut self, name: String) -> String {
        if name.is_empty() {
            return name;
        }
        format!("node-{}", self.nodes.of(name))
    }

    fn pod(&mut self, name: String) -> String {
        format!("namespace/pod-{}", self.pods.of(name))
    }

    /// Replaces a namespace's name: `host`, or a pod's name.
    fn netns(&mut self, name: &str) -> String {
        if name == "host" {
            name.to_owned()
        } else {
            self.pod(name.to_owned())
        }
    }

    fn interface(&mut self, name: &str) -> String {
        if name == "lo" {
            return name.to_owned();
        }
        format!("if{}", self.interfaces.of(name.to_owned()))
    }

    fn name(&mut self, name: String, kind: OwnerKind) -> String {
        match kind {
            OwnerKind::Pod => self.pod(name),
            OwnerKind::Node => self.node(name),
            OwnerKind::Service | OwnerKind::Unserved | OwnerKind::Empty | OwnerKind::Endpoint => {
                self.service(name)
            }
        }
    }

    fn service(&mut self, name: String) -> String {
        format!("namespace/service-{}", self.services.of(name))
    }

    fn owned(&mut self, owned: Owned) -> Owned {
        let Owned { owner, from, until } = owned;
        Owned {
            owner: self.owner(owner),
            from,
            until,
        }
    }

    fn owner(&mut self, owner: Owner) -> Owner {
        let Owner { name, kind, node } = owner;
        Owner {
            name: self.name(name, kind),
            kind,
            node: self.node(node),
        }
    }

    pub(crate) fn hello(&mut self, hello: Hello) -> Hello {
        let Hello {
            node,
            boot_id,
            kernel,
            realtime_offset,
            clock_bound,
            points,
            streams,
            next_hops,
            local,
            drops,
            drops_later,
            network,
            snaplen: _,
            notes: _,
        } = hello;
        Hello {
            node: self.node(node),
            boot_id: if boot_id.is_empty() {
                boot_id
            } else {
                format!("boot-{}", self.boots.of(boot_id))
            },
            kernel: kernel.map(numbered),
            realtime_offset,
            clock_bound,
            points: points.into_iter().map(|point| self.point(point)).collect(),
            streams,
            next_hops: next_hops.into_iter().map(|hop| self.address(hop)).collect(),
            local: local.into_iter().map(|own| self.address(own)).collect(),
            drops: drops.map(|pods| self.pods(&pods)),
            drops_later: drops_later
                .into_iter()
                .map(|(since, pods)| (since, self.pods(&pods)))
                .collect(),
            network: self.network(network),
            // Captured bytes are left out.
            snaplen: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn network(&mut self, network: Network) -> Network {
        let Network { devices, routes } = network;
        let devices = devices.into_iter().map(|device| {
            let Device {
                interface,
                mac,
                tunnel,
                until,
            } = device;
            Device {
                interface: self.interface(&interface),
                mac: mac.map(|mac| self.mac(mac)),
                tunnel,
                until,
            }
        });
        let devices = devices.collect();
        let routes = routes.into_iter().map(|way| {
            let Way {
                to,
                interface,
                gateway,
                mac,
                default,
            } = way;
            Way {
                to: self.address(to),
                interface: self.interface(&interface),
                gateway: gateway.map(|gateway| self.address(gateway)),
                mac: mac.map(|mac| self.mac(mac)),
                default,
            }
        });
        Network {
            devices,
            routes: routes.collect(),
        }
    }

    fn point(&mut self, point: Point) -> Point {
        let Point {
            netns,
            interface,
            ifindex,
            direction,
            hook,
            role,
            kind,
            addresses,
            why: _,
            foreign,
            since,
            until,
        } = point;
        Point {
            netns: self.netns(&netns),
            interface: self.interface(&interface),
            ifindex,
            direction,
            hook,
            role,
            kind,
            addresses: addresses.into_iter().map(|own| self.address(own)).collect(),
            why: String::new(),
            foreign: foreign
                .into_iter()
                .map(|Foreign { id, name: _ }| Foreign {
                    id,
                    name: String::new(),
                })
                .collect(),
            since,
            until,
        }
    }

    fn pods(&mut self, pods: &[Arc<str>]) -> Vec<Arc<str>> {
        pods.iter()
            .map(|pod| self.shared(pod, Self::netns))
            .collect()
    }

    fn shared(&mut self, name: &str, replace: fn(&mut Self, &str) -> String) -> Arc<str> {
        Arc::from(replace(self, name))
    }
}
