//! The translation of addresses (NAT) between two hops of a packet.

use std::{fmt, net::IpAddr};

use tracer_core::{
    journey::{Course, Journey, Scene, Step, sent_to},
    model::Ends,
};

use super::places::holder;

/// Which end of a packet was rewritten, and by which rule of conntrack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The destination of a connection.
    Dnat,
    /// The source of a connection.
    Snat,
    /// The source of a reply, which is the destination of the connection.
    ReverseDnat,
    /// The destination of a reply.
    ReverseSnat,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dnat => "DNAT",
            Self::Snat => "SNAT",
            Self::ReverseDnat => "reverse DNAT",
            Self::ReverseSnat => "reverse SNAT",
        })
    }
}

/// An address, and a port. The port is 0 if the packet has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub(crate) struct End {
    /// IP address.
    pub(crate) address: IpAddr,
    /// Port; 0 if the packet has none; for an echo, its identifier.
    pub(crate) port: u16,
}

impl From<(IpAddr, u16)> for End {
    fn from((address, port): (IpAddr, u16)) -> Self {
        Self { address, port }
    }
}

/// As `ss` displays addresses: `10.96.0.10:80`, `[fd00::1]:80`.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.port) {
            (address, 0) => write!(f, "{address}"),
            (IpAddr::V4(address), port) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), port) => write!(f, "[{address}]:{port}"),
        }
    }
}

/// One rewritten end of a packet.
#[derive(Clone, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize)]
pub(crate) struct Change {
    /// Which end was rewritten, and by which rule.
    pub(crate) kind: Kind,
    /// Address and port before the translation.
    pub(crate) from: End,
    /// Address and port after the translation.
    pub(crate) to: End,
    /// Name of the pod, Service or node that has the new address; null if unknown.
    pub(crate) name: Option<String>,
}

/// The ends that were rewritten between the previous step and this one, or before the first step.
/// Empty if both steps have the same ends.
pub(crate) fn of(
    scene: &Scene,
    journey: &Journey,
    previous: Option<&Step>,
    step: &Step,
) -> Vec<Change> {
    let before = match previous {
        Some(step) => journey.ends_at(step),
        None => sent_to(scene, journey),
    };
    let (Some(before), Some(here)) = (before, journey.ends_at(step)) else {
        return Vec::new();
    };
    if before == here {
        return Vec::new();
    }
    let time = step.time;
    let known = journey.translated.as_deref();
    let is_reply = known.and_then(|translated| translated.is_reply);
    let is_reply = is_reply.unwrap_or_else(|| {
        let is_service = |address| scene.service(address, time).is_some();
        !is_service(before.dst) && (is_service(here.src) || journey.direction == Course::Reply)
    });
    let change = |kind, from: End, to: End| {
        (from != to).then(|| Change {
            kind,
            from,
            to,
            name: holder(scene, to.address, time).map(str::to_owned),
        })
    };
    let (for_dst, for_src) = if is_reply {
        (Kind::ReverseSnat, Kind::ReverseDnat)
    } else {
        (Kind::Dnat, Kind::Snat)
    };
    let destinations = change(for_dst, dst(&before), dst(&here));
    let sources = change(for_src, src(&before), src(&here));
    destinations.into_iter().chain(sources).collect()
}

const fn src(ends: &Ends) -> End {
    End {
        address: ends.src,
        port: ends.src_port,
    }
}

pub(crate) const fn dst(ends: &Ends) -> End {
    End {
        address: ends.dst,
        port: ends.dst_port,
    }
}
