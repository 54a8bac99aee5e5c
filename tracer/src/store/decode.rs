//! Decodes rows into what agents sent.

use std::net::IpAddr;
use std::sync::Arc;

use arrow_array::ListArray;
use serde::Deserialize;
use tracer_common::drop::Scope;
use tracer_core::{
    input::{Change, MAX_POINTS, OwnersChange, Report},
    model::{
        Arp, Encap, Fact, Flags, Freed, Hello, Hop, Icmp, Mac, Neighbour, Packet, Place, Proto,
        Quote, Tcp, Transport,
    },
};

use super::{
    column::{flag, number, text, texts},
    encode::scope_name,
    head::{MAX_STREAMS, fits},
    table::{Record, Table},
};

/// The end of a batch of an agent's stream.
pub(super) struct Border {
    pub(super) stream: usize,
    pub(super) watermark: u64,
    pub(super) report: Option<Report>,
}

/// The column in which an unreadable row has no value, or an invalid one.
#[derive(Debug)]
pub(super) struct Unreadable(pub(super) &'static str);

impl Table {
    /// Indexes of nodes by the key of their names in the dictionary; `None` for unknown names.
    pub(super) fn agents(&self, nodes: &[Hello]) -> Vec<Option<usize>> {
        let names = self.node.words().iter();
        names
            .map(|name| nodes.iter().position(|hello| *hello.node == **name))
            .collect()
    }

    /// Kind and time of a row, Unix time, ns.
    pub(super) fn record(&self, row: usize) -> Result<(Record, i64), Unreadable> {
        let time = number(&self.time, row).ok_or(Unreadable("time"))?;
        let record = self.record.get(row).ok_or(Unreadable("record"))?;
        Ok((*record, time))
    }

    /// Index of the agent that sent a row.
    pub(super) fn agent(&self, agents: &[Option<usize>], row: usize) -> Result<usize, Unreadable> {
        let agent = self.node.key(row).and_then(|key| *agents.get(key)?);
        agent.ok_or(Unreadable("node"))
    }

    /// The content of a `batch` or `state` row.
    pub(super) fn border(&self, hello: &Hello, row: usize) -> Result<Border, Unreadable> {
        let stream = number(&self.stream, row).map(usize::from);
        Ok(Border {
            stream: stream
                .filter(|stream| *stream < hello.streams)
                .ok_or(Unreadable("stream"))?,
            watermark: number(&self.watermark, row).ok_or(Unreadable("watermark"))?,
            report: self.report(hello, row)?,
        })
    }

    /// Number of the question that a `clock` row answers, and the agent's monotonic clock, ns.
    pub(super) fn clock(&self, row: usize) -> Result<(u16, u64), Unreadable> {
        let question = number(&self.stream, row).ok_or(Unreadable("stream"))?;
        let time = number(&self.watermark, row).ok_or(Unreadable("watermark"))?;
        Ok((question, time))
    }

    /// Whether a `batch` row says that the collector no longer waited for its stream.
    pub(super) fn is_overdue(&self, row: usize) -> bool {
        flag(&self.overdue, row)
    }

    /// The change in a `batch` row. The caller has to apply it before the rest of the row.
    pub(super) fn change(&self, hello: &Hello, row: usize) -> Result<Option<Change>, Unreadable> {
        let Some(json) = text(&self.change, row) else {
            return Ok(None);
        };
        let change: Change = serde_json::from_str(json).map_err(|_| Unreadable("change"))?;
        let points = hello.points.len() + change.points.len();
        let are_known = change.gone.iter().all(|point| *point < points);
        let streams = hello.streams.saturating_add(change.streams);
        if !are_known || points > MAX_POINTS || streams > MAX_STREAMS {
            return Err(Unreadable("change"));
        }
        Ok(Some(change))
    }

    /// The change in an `owners` row, at `time`, Unix time, ns.
    pub(super) fn owners(&self, row: usize, time: i64) -> Result<OwnersChange, Unreadable> {
        let json = text(&self.owners, row).ok_or(Unreadable("owners"))?;
        let change: OwnersChange = serde_json::from_str(json).map_err(|_| Unreadable("owners"))?;
        Ok(OwnersChange { time, ..change })
    }

    /// The new agent in a `joined` row, after those of `known`.
    pub(super) fn hello(&self, known: &[Hello], row: usize) -> Result<Hello, Unreadable> {
        let json = text(&self.agent, row).ok_or(Unreadable("agent"))?;
        let hello: Hello = serde_json::from_str(json).map_err(|_| Unreadable("agent"))?;
        let is_new = known.iter().all(|other| other.node != hello.node);
        if is_new && fits(&hello) {
            Ok(hello)
        } else {
            Err(Unreadable("agent"))
        }
    }

    fn report(&self, hello: &Hello, row: usize) -> Result<Option<Report>, Unreadable> {
        let Some(json) = text(&self.report, row) else {
            return Ok(None);
        };
        let report: Report = serde_json::from_str(json).map_err(|_| Unreadable("report"))?;
        let mut points = report.counters.iter().map(|(point, _)| *point);
        if points.any(|point| point >= hello.points.len()) {
            return Err(Unreadable("report"));
        }
        Ok(Some(report))
    }

    /// The hop in a `hop` row.
    #[inline]
    pub(super) fn hop(&self, hello: &Hello, row: usize, time: i64) -> Result<Hop, Unreadable> {
        let point = number(&self.point, row).map(usize::from);
        let point = point.ok_or(Unreadable("point"))?;
        let place = hello.points.get(point).ok_or(Unreadable("point"))?;
        if self.direction.get(row) != Some(&place.direction) {
            return Err(Unreadable("direction"));
        }
        Ok(Hop {
            point,
            time: monotonic(time, hello),
            skb: number(&self.skb, row).ok_or(Unreadable("skb"))?,
            generation: number(&self.generation, row).ok_or(Unreadable("generation"))?,
            len: number(&self.len, row).ok_or(Unreadable("len"))?,
            segments: number(&self.segments, row).ok_or(Unreadable("segments"))?,
            src_mac: self.src_mac.get(row).copied(),
            dst_mac: self.dst_mac.get(row).copied(),
            vlan: number(&self.vlan, row),
            encap: self.encap(row)?,
            packet: self.packet(row)?.ok_or(Unreadable("src"))?,
            frame: self.frame.get(row),
        })
    }

    /// The freed packet in a `drop` row.
    pub(super) fn freed(&self, hello: &Hello, row: usize, time: i64) -> Result<Freed, Unreadable> {
        let scope = |name: &Arc<str>| {
            let all = [Scope::Receiver, Scope::Device, Scope::Socket];
            let found = all.into_iter().find(|scope| scope_name(*scope) == &**name);
            found.ok_or(Unreadable("scope"))
        };
        Ok(Freed {
            time: monotonic(time, hello),
            skb: number(&self.skb, row).ok_or(Unreadable("skb"))?,
            reason: Arc::clone(self.reason.get(row).ok_or(Unreadable("reason"))?),
            place: Place {
                function: Arc::clone(self.function.get(row).ok_or(Unreadable("function"))?),
                offset: number(&self.function_offset, row).ok_or(Unreadable("function_offset"))?,
            },
            netns: self.netns.get(row).cloned(),
            scope: self.scope.get(row).map(scope).transpose()?,
            device: self.interface.get(row).cloned(),
            dst_mac: self.dst_mac.get(row).copied(),
            protocol: number(&self.ethertype, row).ok_or(Unreadable("ethertype"))?,
            encap: self.encap(row)?,
            packet: self.packet(row)?,
            facts: facts(&self.facts, row)?,
        })
    }

    fn encap(&self, row: usize) -> Result<Option<Encap>, Unreadable> {
        let Some(kind) = self.encap.get(row) else {
            return Ok(None);
        };
        Ok(Some(Encap {
            kind: *kind,
            vni: number(&self.vni, row),
            outer_src: address(self.outer_src.get(row), "outer_src")?,
            outer_dst: address(self.outer_dst.get(row), "outer_dst")?,
            levels: number(&self.encap_levels, row).ok_or(Unreadable("encap_levels"))?,
        }))
    }

    /// The innermost packet; `None` if its headers could not be read.
    fn packet(&self, row: usize) -> Result<Option<Packet>, Unreadable> {
        let Some(src) = self.src.get(row) else {
            return Ok(None);
        };
        let offset = number(&self.fragment_offset, row);
        Ok(Some(Packet {
            src: *src,
            dst: address(self.dst.get(row), "dst")?,
            ttl: number(&self.ttl, row).ok_or(Unreadable("ttl"))?,
            ip_id: number(&self.ip_id, row),
            fragment: offset.map(|offset| (offset, flag(&self.more_fragments, row))),
            len: number(&self.ip_len, row).ok_or(Unreadable("ip_len"))?,
            transport: self.transport(row)?,
            payload_hash: if flag(&self.payload_unread, row) {
                None
            } else {
                Some(number(&self.payload_hash, row).ok_or(Unreadable("payload_hash"))?)
            },
        }))
    }

    fn transport(&self, row: usize) -> Result<Transport, Unreadable> {
        let proto = *self.proto.get(row).ok_or(Unreadable("proto"))?;
        let src_port = || number(&self.src_port, row).ok_or(Unreadable("src_port"));
        let dst_port = || number(&self.dst_port, row).ok_or(Unreadable("dst_port"));
        let number_of = match proto {
            Proto::Arp => {
                return Ok(Transport::Arp(Arp {
                    operation: number(&self.arp_operation, row)
                        .ok_or(Unreadable("arp_operation"))?,
                    sender: mac(self.arp_sender.get(row), "arp_sender")?,
                    target: mac(self.arp_target.get(row), "arp_target")?,
                }));
            }
            Proto::Ip(number) => number,
        };
        // Later fragments have a protocol, but no header of it.
        if let Some(seq) = number(&self.tcp_seq, row) {
            return Ok(Transport::Tcp(Tcp {
                src_port: src_port()?,
                dst_port: dst_port()?,
                seq,
                ack: number(&self.tcp_ack, row).ok_or(Unreadable("tcp_ack"))?,
                flags: Flags(number(&self.tcp_flags, row).ok_or(Unreadable("tcp_flags"))?),
                window: number(&self.tcp_window, row).ok_or(Unreadable("tcp_window"))?,
                payload_len: number(&self.tcp_len, row).ok_or(Unreadable("tcp_len"))?,
                timestamps: number(&self.tcp_tsval, row).zip(number(&self.tcp_tsecr, row)),
                options_hash: number(&self.tcp_options, row).ok_or(Unreadable("tcp_options"))?,
            }));
        }
        if let Some(len) = number(&self.udp_len, row) {
            return Ok(Transport::Udp {
                src_port: src_port()?,
                dst_port: dst_port()?,
                len,
                dns: self.dns.get(row),
            });
        }
        if let Some(tag) = number(&self.sctp_tag, row) {
            return Ok(Transport::Sctp {
                src_port: src_port()?,
                dst_port: dst_port()?,
                tag,
            });
        }
        if let Some(kind) = number(&self.icmp_type, row) {
            return Ok(Transport::Icmp(self.icmp(row, kind, proto == ICMP6)?));
        }
        // A truncated header has ports only.
        if let Some(src_port) = number(&self.src_port, row) {
            return Ok(Transport::Cut {
                proto: number_of,
                src_port,
                dst_port: dst_port()?,
            });
        }
        Ok(Transport::Other(number_of))
    }

    fn icmp(&self, row: usize, kind: u8, v6: bool) -> Result<Icmp, Unreadable> {
        let neighbour = self.nd_target.get(row).map(|target| Neighbour {
            target: *target,
            advertisement: flag(&self.nd_advertisement, row),
        });
        let quote = |src: &IpAddr| {
            let ports = number(&self.quote_src_port, row).zip(number(&self.quote_dst_port, row));
            Ok(Quote {
                src: *src,
                dst: address(self.quote_dst.get(row), "quote_dst")?,
                proto: number(&self.quote_proto, row).ok_or(Unreadable("quote_proto"))?,
                ports,
                ip_id: number(&self.quote_ip_id, row),
                header: self.quote_header.get(row),
            })
        };
        Ok(Icmp {
            v6,
            kind,
            code: number(&self.icmp_code, row).ok_or(Unreadable("icmp_code"))?,
            echo: number(&self.icmp_id, row).zip(number(&self.icmp_seq, row)),
            neighbour,
            quote: self
                .quote_src
                .get(row)
                .map(quote)
                .transpose()?
                .map(Box::new),
        })
    }
}

/// A fact, or one of a kind that only later versions know.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    Known(Fact),
    Later {
        #[serde(rename = "fact")]
        _kind: String,
    },
}

/// The facts of a drop, as far as this version knows their kinds.
fn facts(array: &ListArray, row: usize) -> Result<Arc<[Fact]>, Unreadable> {
    let mut facts = Vec::new();
    for json in &*texts(array, row) {
        match serde_json::from_str(json) {
            Ok(Told::Known(fact)) => facts.push(fact),
            Ok(Told::Later { .. }) => {}
            Err(_) => return Err(Unreadable("facts")),
        }
    }
    Ok(facts.into())
}

/// ICMPv6, by its IANA number.
const ICMP6: Proto = Proto::Ip(58);

/// Unix time as time of the node's monotonic clock, ns. Times before the node's boot become 0.
fn monotonic(time: i64, hello: &Hello) -> u64 {
    let time = time.saturating_sub(hello.realtime_offset);
    u64::try_from(time).unwrap_or(0)
}

fn address(found: Option<&IpAddr>, column: &'static str) -> Result<IpAddr, Unreadable> {
    found.copied().ok_or(Unreadable(column))
}

fn mac(found: Option<&Mac>, column: &'static str) -> Result<Mac, Unreadable> {
    found.copied().ok_or(Unreadable(column))
}
