//! What happened to a packet, in a sentence.

use tracer_core::{
    journey::{Journey, Refusal, Scene},
    model::{Cause, Hello},
    verdict::{Evidence, Kind, LegKind, Outcome, Parts, Verdict, Waits},
};

use super::{
    places::{drop_place, interfaces, owner, party, station},
    translation::End,
};

/// A verdict in a sentence, its kind first.
pub(crate) fn text(scene: &Scene, journey: &Journey, verdict: &Verdict, parts: &Parts) -> String {
    let mut text = outcome(scene, journey, verdict);
    if verdict.kind == Kind::Partial {
        text = format!("partial: of {} bytes {}; {text}", parts.sent, shares(parts));
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
        Outcome::Proxied {
            node,
            to: (to, port),
        } => format!(
            "delivered: redirected to {} itself ({}), not to {}",
            name(*node),
            End {
                address: *to,
                port: *port
            },
            party(scene, journey.packet.dst, journey.start())
        ),
        Outcome::Dropped => match verdict.drop.map(|index| &journey.drops[index]) {
            Some(drop) => {
                let place = drop_place(scene, drop);
                format!("dropped {place}: {}", drop.judgement.why)
            }
            None => "dropped".to_owned(),
        },
        Outcome::Refused => match &journey.refusal {
            Some(told) => format!("refused: {}", refusal(scene, journey, told)),
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
        Outcome::Unknown => format!("unknown: {}", unknown(verdict.cause)),
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

/// The reason of an `unknown` verdict.
const fn unknown(cause: Option<Cause>) -> &'static str {
    match cause {
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
        _ => "not seen to arrive",
    }
}

/// The text of a refusal: RFC 792 and 1812, RFC 4443.
fn refusal(scene: &Scene, journey: &Journey, refusal: &Refusal) -> String {
    let from = party(scene, refusal.from, journey.start());
    let from = match (journey.stand_in, &journey.translated) {
        (Some(stand_in), _) => {
            format!(
                "{}, with the address of {from},",
                scene.nodes[stand_in.node].node
            )
        }
        // NAT gave the answer the address that the packet was sent to.
        (None, Some(way))
            if refusal.from == way.first.dst
                && way.first.dst != way.last.dst
                && scene.service(refusal.from, journey.start()).is_none() =>
        {
            let by = party(scene, way.last.dst, journey.start());
            format!("{by}, with the address of {from},")
        }
        _ => from,
    };
    let Some((kind, code)) = refusal.icmp else {
        return format!("{from} answered with a reset");
    };
    let says = match (refusal.from.is_ipv6(), kind, code) {
        (false, 3, 0) | (true, 1, 0) => "there is no route to the destination",
        (false, 3, 1) | (true, 1, 3) => "the host cannot be reached",
        (false, 3, 2) | (true, 4, 1) => "nobody there takes this protocol",
        (false, 3, 3) | (true, 1, 4) => "nobody listens on that port",
        (false, 3, 4) | (true, 2, _) => "the packet exceeds the path MTU",
        (false, 3, 9 | 10 | 13) | (true, 1, 1 | 5 | 6) => "the packet is prohibited",
        (false, 11, 0) | (true, 3, 0) => "the packet's TTL has expired",
        (false, 11, 1) | (true, 3, 1) => "fragments of the packet are missing",
        (false, 12, _) | (true, 4, _) => "the packet's headers are wrong",
        _ => "the packet could not be delivered",
    };
    // NAT gave the error the Service's address, whoever sent it.
    let from = match scene.service(refusal.from, journey.start()) {
        Some(_) => format!("an error with the address of {from}"),
        None => from,
    };
    format!("{from} says that {says} (ICMP type {kind} code {code})")
}
