//! What happened to a packet, in a sentence.

use tracer_core::{
    journey::{Drop, Journey, Refusal, Scene},
    model::{Cause, Hello},
    verdict::{Evidence, Kind, LegKind, Outcome, Parts, Verdict, Waits},
};

use super::{
    HOST,
    places::{drop_place, interfaces, owner, party, spot, station},
    translation::End,
    words::count,
};

/// A verdict in a sentence, its kind first.
pub(crate) fn text(scene: &Scene, journey: &Journey, verdict: &Verdict, parts: &Parts) -> String {
    let mut text = outcome(scene, journey, verdict);
    if verdict.kind == Kind::Partial {
        text = format!(
            "partial ({}: {}): {text}",
            count(parts.sent, "byte"),
            shares(parts)
        );
    }
    let port = verdict.evidence.iter().find_map(|one| match one {
        Evidence::Redirected { port, .. } => Some(port),
        _ => None,
    });
    if let Some(port) = port {
        text += &format!("; rules in the pod redirect the packet to port {port}");
    }
    let to = || owner(scene, journey);
    match verdict.waits {
        Some(Waits::ForAnswer(question)) => {
            text += &format!("; {} never got the answer to #{question}", to());
        }
        Some(Waits::ForQuestion) => text += &format!("; {} never got it", to()),
        None => {}
    }
    text
}

fn shares(parts: &Parts) -> String {
    let shares = [
        (parts.delivered, "delivered"),
        (parts.dropped, "dropped"),
        (parts.lost, "lost"),
        (parts.unknown, "unknown"),
    ];
    let shares = shares.iter().filter(|(share, _)| *share > 0);
    let shares: Vec<String> = shares
        .map(|(share, fate)| format!("{share} {fate}"))
        .collect();
    shares.join(", ")
}

fn outcome(scene: &Scene, journey: &Journey, verdict: &Verdict) -> String {
    let to = || owner(scene, journey);
    let name = |node: usize| &scene.nodes[node].node;
    let interface = |step: usize| &scene.point(&journey.steps[step]).interface;
    match &verdict.outcome {
        Outcome::Reached => format!("delivered: reached {}", to()),
        Outcome::HandedOver { step, observed } => {
            let unseen = if *observed {
                ""
            } else {
                "; tracer does not see drops inside the pod"
            };
            let interface = interface(*step);
            format!("delivered: handed to {} by {interface}{unseen}", to())
        }
        Outcome::Proxied { node, to } => format!(
            "delivered: redirected to {} itself ({}), not to {}",
            name(*node),
            End::from(*to),
            party(scene, journey.packet.dst, journey.start())
        ),
        Outcome::Dropped => match verdict.drop.map(|index| &journey.drops[index]) {
            Some(drop) => {
                let place = drop_place(scene, drop);
                let astray = astray(scene, journey, drop).unwrap_or_default();
                format!("dropped {place}: {}{astray}", drop.judgement.why)
            }
            None => "dropped".to_owned(),
        },
        Outcome::Refused => match &journey.refusal {
            Some(told) => format!("refused: {}", refusal(scene, journey, verdict, told)),
            None => "refused".to_owned(),
        },
        Outcome::LeftFor { step, node } => {
            let interface = interface(*step);
            format!("left: went out of {interface} towards {node}, which has no agent")
        }
        Outcome::LeftBy {
            step,
            gateway,
            mac,
            node,
        } => {
            let interface = interface(*step);
            let mac = mac.map_or_else(String::new, |mac| format!(" ({mac})"));
            format!("left: went out of {interface} to {gateway}{mac}; {node} has no agent")
        }
        Outcome::LeftOutside { step, to } => format!(
            "left: went out of {} on {} towards {to}, which no known pod or node has",
            interface(*step),
            name(journey.steps[*step].node)
        ),
        Outcome::Untranslated { step, to } => {
            let node = name(journey.steps[*step].node);
            let service = party(scene, *to, journey.steps[*step].time);
            format!(
                "left: went out of {} on {node} still addressed to {service}, which {node} did \
                 not translate",
                interface(*step)
            )
        }
        Outcome::WrongNode { node, home } => format!(
            "left: the tunnel took the packet to {node}, but {} is on {}",
            home.name, home.node
        ),
        Outcome::Astray {
            step,
            station: who,
            node,
        } => {
            let who = station(scene, *who, journey.steps[*step].time);
            let interface = interface(*step);
            format!(
                "left: went out of {interface} to {who}, not to {node}, which has {}",
                to()
            )
        }
        Outcome::NoNode { remote } => {
            format!(
                "left: the tunnel took the packet to {remote}, which is no known node's address"
            )
        }
        Outcome::Lost(leg) => {
            let from = journey.steps[leg.step].node;
            let (out, into) = (
                interface(leg.step),
                interfaces(scene, leg.node, &leg.points),
            );
            if leg.kind == LegKind::Receive {
                format!("lost: between XDP and tc of {into} on {}", name(from))
            } else if from == leg.node {
                format!("lost: between {out} and {into} on {}", name(from))
            } else {
                let (from, to) = (name(from), name(leg.node));
                format!("lost: between {out} on {from} and {into} on {to}")
            }
        }
        Outcome::Unanswered { taken: true, hold } => {
            format!(
                "unanswered: {} got the packet and did not answer within {hold:?}",
                to()
            )
        }
        Outcome::Unanswered { taken: false, hold } => {
            format!(
                "unanswered: the packet reached {}, and no answer came within {hold:?}",
                to()
            )
        }
        Outcome::Unknown if verdict.cause == Some(Cause::EventsLost) && is_captured(scene) => {
            "unknown: a capture may have missed the packet".to_owned()
        }
        Outcome::Unknown => format!("unknown: {}", unknown(scene, journey, verdict)),
        Outcome::NotTaken { node } => format!(
            "unknown: no tunnel device on {} accepts the packet",
            name(*node)
        ),
    }
}

/// Whether any packets come from captures of another tool.
pub(super) fn is_captured(scene: &Scene) -> bool {
    scene.nodes.iter().any(Hello::is_captured)
}

/// What to look for, if the frame went to another pod than the receiver, which does not forward.
fn astray(scene: &Scene, journey: &Journey, drop: &Drop) -> Option<String> {
    if drop.judgement.cause != Some(Cause::NotForwarding) || *drop.netns == *HOST {
        return None;
    }
    let receiver = scene.pod(journey.destination()?, journey.start())?;
    (*receiver != *drop.netns).then(|| {
        format!(
            "; the frame went to {}, not to {receiver}: look for a stale neighbour entry or route",
            drop.netns
        )
    })
}

/// The reason of an `unknown` verdict.
fn unknown(scene: &Scene, journey: &Journey, verdict: &Verdict) -> String {
    let why = match verdict.cause {
        Some(Cause::AgentGone) => "an agent was gone while the packet was on its way",
        Some(Cause::EventsLost) => "events were lost while the packet was on its way",
        Some(Cause::NotSeenInPod) => "handed to the pod, but not seen on its own interface",
        Some(Cause::BeforeStart) => "sent before all points were observed",
        Some(Cause::ForeignProgram) => {
            "not seen again after a tc program of another tool, which may have sent the packet \
             past the observed points"
        }
        Some(Cause::InterfaceGone) => "the interface that leads to the receiver is gone",
        Some(Cause::WrongMac) => {
            "the frame was for another MAC address, whose owner may have got the packet"
        }
        Some(Cause::Ambiguous) => "not seen to arrive, but an identical packet was on its way",
        Some(Cause::StillOpen) => "still on its way when the follow ended",
        Some(Cause::Evicted) => "given up: too many packets were on their way at once",
        Some(Cause::UnclearDrop) => {
            "a kernel freed the packet or a copy of it, and the reason does not say which"
        }
        Some(Cause::StandIn) => {
            "not seen to arrive, and a proxy on the way answers in the receiver's place"
        }
        Some(Cause::Opaque) => {
            "sent into a tunnel that tracer cannot decode, and not seen to come out"
        }
        _ => return not_seen(scene, journey, verdict),
    };
    why.to_owned()
}

/// Where the packet was last seen, and what nothing shows.
fn not_seen(scene: &Scene, journey: &Journey, verdict: &Verdict) -> String {
    let arrived = verdict.evidence.iter().find_map(|one| match one {
        Evidence::PartArrived(bytes) => Some(*bytes),
        _ => None,
    });
    match (arrived, journey.steps.last()) {
        (Some(bytes), _) if bytes < i64::from(journey.size()) => {
            "not all of the packet was seen to arrive".to_owned()
        }
        (Some(_), _) => {
            "seen to arrive; nothing shows whether the receiver dropped the packet".to_owned()
        }
        (None, Some(step)) => format!(
            "not seen again after {}; nothing shows whether the packet arrived",
            spot(scene, step)
        ),
        (None, None) => "not seen to arrive".to_owned(),
    }
}

/// The text of a refusal.
fn refusal(scene: &Scene, journey: &Journey, verdict: &Verdict, refusal: &Refusal) -> String {
    let v6 = refusal.from.is_ipv6();
    let answer = refusal
        .icmp
        .map_or_else(|| "a reset".to_owned(), |icmp| icmp_error(v6, icmp));
    // Netfilter may give its answer any source address, such as the receiver's.
    let drop = verdict.drop.map(|index| &journey.drops[index]);
    let by_netfilter = drop.filter(|drop| {
        drop.judgement.cause == Some(Cause::Netfilter)
            && refusal.icmp.is_none_or(|icmp| is_reject(v6, icmp))
    });
    if let Some(drop) = by_netfilter {
        // IPVS rejects packets to a Service without endpoints, and has no rules.
        let who = match &*drop.function {
            "nft_do_chain" => "an nftables rule",
            _ => "netfilter",
        };
        let place = drop_place(scene, drop);
        return format!("{who} {place} rejected the packet with {answer}");
    }
    let start = journey.start();
    let from = party(scene, refusal.from, start);
    if let Some(stand_in) = journey.stand_in {
        let node = &scene.nodes[stand_in.node].node;
        return format!("{node}, with the address of {from}, answered with {answer}");
    }
    let way = journey.translated.as_ref();
    let way = way.filter(|way| refusal.from == way.first.dst && way.first.dst != way.last.dst);
    // NAT gives an ICMP error of any machine the address that the packet was sent to. A rule may
    // give a reset the address of the receiver, without a drop that shows the rule.
    let is_nobodys = match refusal.icmp {
        Some(_) => way.is_some() || scene.service(refusal.from, start).is_some(),
        None => drop.is_none(),
    };
    if is_nobodys {
        return format!(
            "{answer} came back with {from} as source address; NAT or a rule may have set that address"
        );
    }
    match way {
        Some(way) => {
            let by = party(scene, way.last.dst, start);
            format!("{by}, with the address of {from}, answered with {answer}")
        }
        None => format!("{from} answered with {answer}"),
    }
}

/// Whether netfilter sends this ICMP error: "destination unreachable" with the codes of the
/// `REJECT` target and of the `reject` statement (`ipt_REJECT.c`, `ip6t_REJECT.c`, `nft_reject.c`).
const fn is_reject(v6: bool, (kind, code): (u8, u8)) -> bool {
    matches!(
        (v6, kind, code),
        (false, 3, 0..=3 | 9 | 10 | 13) | (true, 1, 0 | 1 | 3..=6)
    )
}

/// The name of an ICMP error, with its type and code: RFC 792, RFC 1812 and RFC 4443.
fn icmp_error(v6: bool, (kind, code): (u8, u8)) -> String {
    let name = match (v6, kind, code) {
        (false, 3, 0) => "net unreachable",
        (false, 3, 1) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 4) => "fragmentation needed",
        (false, 3, 5) => "source route failed",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (true, 1, 0) => "no route to destination",
        (true, 1, 2) => "beyond scope of source address",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address failed policy",
        (true, 1, 6) => "reject route to destination",
        (false, 3, _) | (true, 1, _) => "destination unreachable",
        (true, 2, _) => "packet too big",
        (false, 11, 0) => "time to live exceeded",
        (true, 3, 0) => "hop limit exceeded",
        (false, 11, 1) | (true, 3, 1) => "fragment reassembly time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        _ => "error",
    };
    let icmp = if v6 { "ICMPv6" } else { "ICMP" };
    format!("{icmp} {name} (type {kind} code {code})")
}
