//! Replaces values in what agents sent: reports, hops and freed packets.

use std::sync::Arc;

use tracer_core::{
    input::{Batch, Change, Gained, Health, Lost, OwnersChange, Report},
    model::{
        Arp, Encap, Ends, Freed, Hop, Icmp, Neighbour, Packet, Place, Quote, Tcp, Translation,
        Transport,
    },
};

use super::Anonymizer;

impl Anonymizer {
    /// The batch with replaced values.
    pub(crate) fn batch(&mut self, batch: &Batch) -> Batch {
        let Batch {
            stream,
            hops,
            freed,
            watermark,
            overdue,
            report,
            change,
        } = batch.clone();
        Batch {
            stream,
            hops: hops.into_iter().map(|hop| self.hop(hop)).collect(),
            freed: freed.into_iter().map(|freed| self.freed(freed)).collect(),
            watermark,
            overdue,
            report: report.map(|report| self.report(report)),
            change: change.map(|change| self.change(change)),
        }
    }

    /// The change of owners with replaced values.
    #[must_use]
    pub fn owners_changed(&mut self, change: &OwnersChange) -> OwnersChange {
        let OwnersChange {
            time,
            lost,
            gained,
            asked,
        } = change.clone();
        let lost = lost.into_iter().map(|lost| {
            let Lost {
                address,
                name,
                kind,
            } = lost;
            Lost {
                address: self.address(address),
                name: self.name(name, kind),
                kind,
            }
        });
        let lost = lost.collect();
        let gained = gained.into_iter().map(|Gained { address, owner }| Gained {
            address: self.address(address),
            owner: self.owner(owner),
        });
        let gained = gained.collect();
        let asked = asked.into_iter();
        OwnersChange {
            time,
            lost,
            gained,
            asked: asked.map(|one| self.addresses.network(one)).collect(),
        }
    }

    fn change(&mut self, change: Change) -> Change {
        let Change {
            time,
            points,
            streams,
            gone,
            local,
            next_hops,
            drops,
            network,
            leaves,
            notes: _,
        } = change;
        Change {
            time,
            points: points.into_iter().map(|point| self.point(point)).collect(),
            streams,
            gone,
            local: local.into_iter().map(|own| self.address(own)).collect(),
            next_hops: next_hops.into_iter().map(|hop| self.address(hop)).collect(),
            drops: drops.map(|pods| self.pods(&pods)),
            network: network.map(|network| Box::new(self.network(*network))),
            leaves,
            notes: Vec::new(),
        }
    }

    pub(super) fn report(&mut self, report: Report) -> Report {
        let Report {
            time,
            counters,
            gone,
            sample,
            malformed,
            elsewhere,
            drops,
            health,
            translations,
            names: _,
        } = report;
        let elsewhere = elsewhere.into_iter().map(|mut other| {
            other.src = self.address(other.src);
            other.dst = self.address(other.dst);
            other
        });
        Report {
            time,
            counters,
            gone,
            sample,
            malformed,
            elsewhere: elsewhere.collect(),
            drops,
            health: health.map(|health| self.health(health)),
            translations: translations
                .into_iter()
                .map(|it| self.translation(it))
                .collect(),
            names: Vec::new(),
        }
    }

    fn translation(&mut self, translation: Translation) -> Translation {
        let mut ends = |ends: Ends| Ends {
            src: self.address(ends.src),
            dst: self.address(ends.dst),
            ..ends
        };
        Translation {
            from: ends(translation.from),
            to: ends(translation.to),
            ..translation
        }
    }

    fn health(&mut self, health: Health) -> Health {
        let Health {
            time,
            mut devices,
            mut sockets,
        } = health;
        for device in &mut devices {
            device.interface = self.shared(&device.interface, Self::interface);
        }
        for socket in &mut sockets {
            socket.netns = self.shared(&socket.netns, Self::netns);
        }
        Health {
            time,
            devices,
            sockets,
        }
    }

    fn hop(&mut self, hop: Hop) -> Hop {
        let Hop {
            point,
            time,
            skb,
            generation,
            len,
            segments,
            src_mac,
            dst_mac,
            vlan,
            encap,
            packet,
            frame: _,
        } = hop;
        Hop {
            point,
            time,
            skb,
            generation,
            len,
            segments,
            src_mac: src_mac.map(|mac| self.mac(mac)),
            dst_mac: dst_mac.map(|mac| self.mac(mac)),
            vlan,
            encap: encap.map(|encap| self.encap(encap)),
            packet: self.packet(packet),
            // A frame has addresses and payload anywhere.
            frame: None,
        }
    }

    fn freed(&mut self, freed: Freed) -> Freed {
        let Freed {
            time,
            skb,
            reason,
            place,
            netns,
            scope,
            device,
            dst_mac,
            protocol,
            encap,
            packet,
            facts: _,
        } = freed;
        Freed {
            time,
            skb,
            reason,
            place: if place.known_function().is_none() {
                Place {
                    function: Arc::from(Place::NAMELESS),
                    ..place
                }
            } else {
                place
            },
            netns: netns.map(|netns| self.shared(&netns, Self::netns)),
            scope,
            device: device.map(|device| self.shared(&device, Self::interface)),
            dst_mac: dst_mac.map(|mac| self.mac(mac)),
            protocol,
            encap: encap.map(|encap| self.encap(encap)),
            packet: packet.map(|packet| self.packet(packet)),
            facts: Arc::new([]),
        }
    }

    fn encap(&mut self, encap: Encap) -> Encap {
        Encap {
            outer_src: self.address(encap.outer_src),
            outer_dst: self.address(encap.outer_dst),
            ..encap
        }
    }

    fn packet(&mut self, packet: Packet) -> Packet {
        let transport = match packet.transport {
            Transport::Icmp(icmp) => Transport::Icmp(self.icmp(icmp)),
            Transport::Arp(arp) => Transport::Arp(Arp {
                sender: self.mac(arp.sender),
                target: self.mac(arp.target),
                ..arp
            }),
            // Options may contain addresses.
            Transport::Tcp(tcp) => Transport::Tcp(Tcp {
                options_hash: self.hash(tcp.options_hash),
                ..tcp
            }),
            other @ (Transport::Udp { .. }
            | Transport::Sctp { .. }
            | Transport::Cut { .. }
            | Transport::Other(_)) => other,
        };
        Packet {
            src: self.address(packet.src),
            dst: self.address(packet.dst),
            transport,
            payload_hash: packet.payload_hash.map(|hash| self.hash(hash)),
            ..packet
        }
    }

    fn icmp(&mut self, icmp: Icmp) -> Icmp {
        Icmp {
            neighbour: icmp.neighbour.map(|neighbour| Neighbour {
                target: self.address(neighbour.target),
                ..neighbour
            }),
            quote: icmp.quote.map(|quote| {
                Box::new(Quote {
                    src: self.address(quote.src),
                    dst: self.address(quote.dst),
                    header: quote
                        .header
                        .and_then(|header| without_checksum(quote.proto, header)),
                    ..*quote
                })
            }),
            ..icmp
        }
    }
}

/// The first bytes of a header of this protocol, without fields that depend on addresses or may
/// contain one. `None` if the layout is not known.
fn without_checksum(proto: u8, mut header: [u8; 8]) -> Option<[u8; 8]> {
    /// IANA protocol numbers.
    const ICMP: u8 = 1;
    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const ICMP6: u8 = 58;
    const SCTP: u8 = 132;
    match (proto, header[0]) {
        (TCP | SCTP, _) => {}
        (UDP, _) => header[6..8].fill(0),
        // Identifier and sequence number of an echo.
        (ICMP, 0 | 8) | (ICMP6, 128 | 129) => header[2..4].fill(0),
        (ICMP | ICMP6, _) => header[2..].fill(0),
        _ => return None,
    }
    Some(header)
}
