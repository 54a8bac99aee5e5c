//! The evidence of verdicts, in sentences.

use tracer_core::{
    journey::{Impostor, Journey, Refusal, Scene, StandIn},
    model::{Ends, Foreign, Tunnel, Way},
    verdict::{Evidence, Leg, LegKind, Pattern, Rise, Sort, Verdict},
};

use super::{
    HOST, facts,
    outcome::is_captured,
    places::{
        all_interfaces, clock, drop_place, holder, interfaces, owner, party, place, point, station,
    },
    translation::{self, End},
    words::count,
};

/// The evidence of a verdict, one sentence each.
pub(crate) fn sentences(scene: &Scene, journey: &Journey, verdict: &Verdict) -> Vec<String> {
    let evidence = verdict.evidence.iter();
    evidence
        .map(|evidence| sentence(scene, journey, evidence))
        .collect()
}

/// One piece of evidence, in a sentence.
pub(super) fn sentence(scene: &Scene, journey: &Journey, evidence: &Evidence) -> String {
    let at = |step: usize| place(scene, &journey.steps[step]);
    let name = |node: usize| &scene.nodes[node].node;
    match evidence {
        Evidence::Fact(fact) => facts::sentence(fact),
        Evidence::Drop(index) => {
            let drop = &journey.drops[*index];
            let place = drop_place(scene, drop);
            format!("{} in {} {place}", drop.reason, drop.function)
        }
        Evidence::CopyDropped(index) => {
            let drop = &journey.drops[*index];
            let place = drop_place(scene, drop);
            format!(
                "a copy of the packet was dropped {place}: {}",
                drop.judgement.why
            )
        }
        Evidence::StrayFrame(index) => {
            let drop = &journey.drops[*index];
            format!(
                "a copy of the packet in a frame for another MAC address ended {} ({} in {})",
                drop_place(scene, drop),
                drop.reason,
                drop.function
            )
        }
        Evidence::Unclear(index) => {
            let drop = &journey.drops[*index];
            format!(
                "the kernel freed the packet {} ({} in {}): {}",
                drop_place(scene, drop),
                drop.reason,
                drop.function,
                drop.judgement.why
            )
        }
        Evidence::NoDrop => "no watched kernel reported a drop of the packet".to_owned(),
        Evidence::DropsUnwatched(nodes) => {
            let nodes: Vec<&str> = nodes.iter().map(|node| name(*node).as_str()).collect();
            format!("drops are not watched on {}", nodes.join(", "))
        }
        Evidence::Seen(step) => format!("seen {}", at(*step)),
        Evidence::LastSeen(step) => format!("last seen {}", at(*step)),
        Evidence::NotSeen => "not seen at any observation point".to_owned(),
        Evidence::FirstSeen(step) => {
            format!("first seen {}; earlier hops were not observed", at(*step))
        }
        Evidence::PartArrived(_) if journey.packet.stream_data().is_none() => {
            "the packet was seen to arrive".to_owned()
        }
        Evidence::PartArrived(bytes) => {
            format!("{bytes} of {} bytes were seen to arrive", journey.size())
        }
        Evidence::NodeUnobserved => {
            "tracer does not see what the node itself does with the packet".to_owned()
        }
        Evidence::PodUnobserved => {
            "--pod-interfaces would show whether the packet reached the pod".to_owned()
        }
        Evidence::ReceiverUnobserved => format!(
            "tracer does not see drops inside {}: the packet may be lost there",
            owner(scene, journey)
        ),
        Evidence::Bypassed { node, point: at } => {
            format!("the packet bypassed {}", point(scene, *node, *at))
        }
        Evidence::InterfaceGone { node, point: at } => {
            let point = point(scene, *node, *at);
            format!("{point} is gone: packets that pass there are not seen")
        }
        Evidence::Foreign {
            node,
            point: at,
            doubt,
        } => foreign(scene, *node, *at, *doubt),
        Evidence::Acknowledged => "the receiver has acknowledged the packet".to_owned(),
        Evidence::Answered {
            by,
            perhaps_another: false,
        } => format!("answered by #{by}"),
        Evidence::Answered {
            by,
            perhaps_another: true,
        } => format!("#{by} answers this packet, or another one that asks the same"),
        Evidence::NotAnsweredYet => "no answer had come when the follow ended".to_owned(),
        Evidence::NoAnswerCame => "no answer was seen at that point".to_owned(),
        Evidence::RefusedBy(by) => format!("refused by #{by}"),
        Evidence::PerhapsAnotherRefused => {
            "the error may be about another packet that looks identical".to_owned()
        }
        Evidence::AlikeRefused(refusal) => alike_refused(refusal),
        Evidence::Twins(points) => {
            let points = points.iter().map(|(node, at)| point(scene, *node, *at));
            let points: Vec<String> = points.collect();
            format!(
                "the destination address is behind {}: two pods have this address, or a pod has \
                 moved",
                points.join(" and ")
            )
        }
        Evidence::Impostor(who) => impostor(scene, journey, who),
        Evidence::OtherMac => "the frame was for another MAC address: a machine that has this \
                               MAC may have got the packet"
            .to_owned(),
        Evidence::Identical => {
            "an identical packet was on its way; tracer paired their hops in order".to_owned()
        }
        Evidence::AgentGone(node) => format!(
            "the agent of {} was gone, or out of reach, while the packet was on its way",
            name(*node)
        ),
        Evidence::DropsLost => "drop events were lost while the packet was on its way".to_owned(),
        Evidence::HopsLost if is_captured(scene) => {
            "captures do not say what they missed: the packet may have passed points unseen"
                .to_owned()
        }
        Evidence::HopsLost => {
            "hop events were lost while the packet was on its way: it may have passed points \
             unseen"
                .to_owned()
        }
        Evidence::Uneven => {
            "not all points sampled the same packets while this one was on its way".to_owned()
        }
        Evidence::NoEndpoints { service, has_some } => {
            if *has_some {
                format!("no endpoint of Service {service} is ready")
            } else {
                format!(
                    "Service {service} has no endpoints: compare its selector with the labels of \
                     the pods"
                )
            }
        }
        Evidence::NotTranslated { node, service, to } => format!(
            "{0} did not translate the address {to} of Service {service}: {0} has no kube-proxy \
             rules for that address",
            name(*node)
        ),
        Evidence::TargetPort { service, port, to } => format!(
            "Service {service} sends port {port} to port {} of {}: compare its targetPort with \
             the port that the pod listens on",
            to.1,
            party(scene, to.0, journey.start())
        ),
        Evidence::NobodysEndpoint { service, port, to } => format!(
            "Service {service} sends port {port} to {}, an address in its EndpointSlice that no \
             known pod or node has",
            End::from(*to)
        ),
        Evidence::NotTranslatedBack {
            node,
            same_node,
            service,
            expected,
            is,
        } => format!(
            "{} did not translate the source {} back to {} of Service {service}{}",
            name(*node),
            End::from(*is),
            End::from(*expected),
            match same_node {
                true => ": a bridge skips the rules if net.bridge.bridge-nf-call-iptables is 0",
                false => "",
            }
        ),
        Evidence::StandIn(StandIn { node, point: at }) => format!(
            "answers with the address of {} start at {}: a proxy or a rule there makes them",
            owner(scene, journey),
            point(scene, *node, *at)
        ),
        Evidence::Redirected { node, port } => format!(
            "conntrack on {} redirects the packet to port {port} of {}, usually a proxy",
            name(*node),
            owner(scene, journey)
        ),
        Evidence::Conntrack { node, from, to } => conntrack(scene, journey, *node, (from, to)),
        Evidence::Reassembled { node } => format!(
            "{} reassembled the datagram, and may send it on as other fragments",
            name(*node)
        ),
        Evidence::NoAgent(node) => format!("no agent of this follow watches {node}"),
        Evidence::Route { node, way } => route(name(*node), way),
        Evidence::Home(home) => format!("{} is on {}", home.name, home.node),
        Evidence::NotThere { home, from, to } => format!(
            "{} is on {}: {}'s route or fdb entry is stale, or the pod's address is out of {to}'s \
             subnet",
            home.name,
            home.node,
            name(*from)
        ),
        Evidence::Missing { leg, packets } => missing(scene, leg, *packets),
        Evidence::Between(leg) => between(scene, journey, leg),
        Evidence::Merged(leg) => format!(
            "tc of {} on {} did not see the packet by itself: GRO may have merged the packet with \
             others",
            interfaces(scene, leg.node, &leg.points),
            name(leg.node)
        ),
        Evidence::DeviceCounters { node, rise } => {
            format!("{} on {}: {}", rise.place, name(*node), counters(rise))
        }
        Evidence::SocketCounters { node, rise } if *rise.place == *HOST => {
            format!(
                "{} on {}{}",
                counters(rise),
                name(*node),
                of_conntrack(rise)
            )
        }
        Evidence::SocketCounters { rise, .. } => {
            format!("{} in {}{}", counters(rise), rise.place, of_conntrack(rise))
        }
        Evidence::Pattern {
            pattern: Pattern::TooLarge(largest),
            len,
            ..
        } => format!(
            "the packet exceeds the path MTU: it had {len} bytes, and the largest that arrives on this \
             leg has {largest}"
        ),
        Evidence::Pattern {
            pattern:
                Pattern::AllOfSort {
                    lost,
                    since,
                    others,
                },
            sort,
            port,
            ..
        } => format!(
            "all {lost} {} that were sent since {} are lost, while others arrive on this leg: {}",
            packets(sort, *port),
            clock(*since),
            others.join(", ")
        ),
        Evidence::Silent { leg, since } => {
            let (has, counters) = if leg.points.len() > 1 {
                ("have", "their receive counters")
            } else {
                ("has", "its receive counter")
            };
            format!(
                "{} on {} {has} received no packet since {}, according to {counters}",
                all_interfaces(scene, leg.node, &leg.points),
                name(leg.node),
                clock(*since)
            )
        }
        Evidence::Idle(leg) => {
            let points = all_interfaces(scene, leg.node, &leg.points);
            let one = if leg.points.len() > 1 {
                "at least one of "
            } else {
                ""
            };
            format!("{one}{points} has seen no packet")
        }
        Evidence::NotItsMac { mac, node } => {
            format!("the frame was for {mac}, and no interface of {node} has that MAC address")
        }
        Evidence::NothingCame { mac, node } => {
            format!("no frame that was sent to {mac} has come in at {node}")
        }
        Evidence::SentToUnobserved { interface, node } => {
            format!("the frame was sent to {interface} on {node}, which is not observed")
        }
        Evidence::SentToUnknown { mac, node } => {
            format!(
                "the frame was sent to {mac}, and tracer does not know whether that MAC leads to \
                 {node}"
            )
        }
        Evidence::SentElsewhere {
            station: who,
            step,
            node,
        } => {
            let who = station(scene, *who, journey.steps[*step].time);
            format!("the frame was sent to {who}, not to {node}")
        }
        Evidence::Mismatch {
            kind,
            vni,
            port,
            node,
            devices,
        } => {
            let has = |(device, tunnel): &(String, Tunnel)| {
                format!("{device} has {}", ends(tunnel.vni, Some(tunnel.port)))
            };
            let mut devices: Vec<String> = devices.iter().map(has).collect();
            if devices.is_empty() {
                devices.push(format!("{} has no {kind} device", name(*node)));
            }
            format!(
                "the packet was encapsulated in {kind} with {}, which no device on {} accepts: {}",
                ends(*vni, *port),
                name(*node),
                devices.join(", ")
            )
        }
    }
}

fn foreign(scene: &Scene, node: usize, point: usize, doubt: bool) -> String {
    let point = &scene.nodes[node].points[point];
    let programs: Vec<String> = point.foreign.iter().map(Foreign::to_string).collect();
    let programs = programs.join(", ");
    if doubt {
        format!(
            "{programs}, attached to tc at the last point after tracer's program, may have dropped \
             or redirected the packet"
        )
    } else {
        format!(
            "tc at {} {}, after tracer's program: {programs}",
            point.interface, point.direction
        )
    }
}

fn alike_refused(told: &Refusal) -> String {
    let what = told.icmp.map_or("a reset of", |_| "an ICMP error about");
    format!("#{} is {what} an identical-looking packet", told.by)
}

fn impostor(scene: &Scene, journey: &Journey, impostor: &Impostor) -> String {
    let (node, at) = impostor.at;
    let at = point(scene, node, at);
    let address = journey
        .destination()
        .map_or_else(|| "the address".to_owned(), |address| address.to_string());
    let macs = impostor
        .macs
        .map_or_else(String::new, |(from, to)| format!(" ({from}, not {to})"));
    format!(
        "#{} answers from {at}{macs}: two interfaces have the address {address}, and the packet \
         may have reached the wrong one",
        impostor.by
    )
}

fn route(node: &str, way: &Way) -> String {
    let Way {
        to,
        interface,
        gateway,
        default,
        ..
    } = way;
    let route = if *default { "default route" } else { "route" };
    let via = gateway.map_or_else(String::new, |gateway| format!(" via {gateway}"));
    format!("{node}'s {route} for {to} leads out of {interface}{via}")
}

fn missing(scene: &Scene, leg: &Leg, packets: Option<u64>) -> String {
    let node = &scene.nodes[leg.node].node;
    let into = interfaces(scene, leg.node, &leg.points);
    let never = match leg.kind {
        LegKind::Wire if is_up_to_xdp(scene, leg) => "the packet never reached XDP of",
        LegKind::Wire | LegKind::Tunnel => "the packet never arrived at",
        LegKind::Bridge => "the packet never went out of",
        LegKind::Receive => "the packet never reached tc of",
    };
    let (is, has) = if leg.points.len() > 1 {
        ("are", "have")
    } else {
        ("is", "has")
    };
    let seen = packets.map_or_else(String::new, |packets| {
        format!(" and {has} seen {}", count(packets, "packet"))
    });
    format!("{never} {into} on {node}, which {is} watched{seen}")
}

fn between(scene: &Scene, journey: &Journey, leg: &Leg) -> String {
    let step = &journey.steps[leg.step];
    let (out, from) = (&scene.point(step).interface, &scene.nodes[step.node].node);
    let into = interfaces(scene, leg.node, &leg.points);
    let to = &scene.nodes[leg.node].node;
    match leg.kind {
        LegKind::Wire if is_up_to_xdp(scene, leg) => format!(
            "in between: the queue and driver of {out} on {from}, the wire, the driver of {into} \
             on {to} up to XDP"
        ),
        LegKind::Wire => format!(
            "in between: the queue and driver of {out} on {from}, the wire, the driver and XDP \
             programs of {into} on {to}"
        ),
        LegKind::Receive => {
            format!(
                "in between: the driver of {into} on {to} behind XDP, GRO, and programs at tc \
                 ahead of tracer's"
            )
        }
        LegKind::Tunnel => format!(
            "in between: {out} on {from}, the uplinks and the wire, {into} on {to}; tracer \
             cannot decode the tunnel between the two"
        ),
        LegKind::Bridge => format!(
            "in between: the bridge {out}, which sends the frame to other ports if {into} is \
             down, or if it learned the MAC address elsewhere"
        ),
    }
}

/// Whether all points at a leg's end are at XDP.
fn is_up_to_xdp(scene: &Scene, leg: &Leg) -> bool {
    let points = &scene.nodes[leg.node].points;
    leg.points.iter().all(|point| points[*point].is_xdp())
}

/// The counters that rose: `tx_dropped +3, qdisc_drops +3`.
fn counters(rise: &Rise) -> String {
    let counters = rise.counters.iter();
    let counters: Vec<String> = counters.map(|(name, by)| format!("{name} +{by}")).collect();
    counters.join(", ")
}

/// What it means that counters of conntrack rose.
fn of_conntrack(rise: &Rise) -> &'static str {
    let rose = |counter: &str| rise.counters.iter().any(|(name, _)| **name == *counter);
    if rose("ConntrackInsertFailed") {
        ": conntrack could not add connections (`conntrack -S`)"
    } else if rose("ConntrackDrop") {
        ": conntrack dropped packets (`conntrack -S`)"
    } else {
        ""
    }
}

/// Packets of a sort on the wire: `packets inside vxlan (VNI 1, UDP port 8472)`.
fn packets(sort: &Sort, port: Option<u16>) -> String {
    match sort {
        Sort::Inside(kind, vni, _) => {
            let vni = vni.map(|vni| format!("VNI {vni}"));
            let port = port.map(|port| format!("UDP port {port}"));
            let more: Vec<_> = vni.into_iter().chain(port).collect();
            if more.is_empty() {
                format!("packets inside {kind}")
            } else {
                format!("packets inside {kind} ({})", more.join(", "))
            }
        }
        Sort::Plain(proto, Some((from, to))) => format!("{proto} packets from port {from} to {to}"),
        Sort::Plain(proto, None) => format!("{proto} packets"),
    }
}

/// The VNI and port of a tunnel: `VNI 1, UDP port 8472`.
fn ends(vni: Option<u32>, port: Option<u16>) -> String {
    let vni = vni.map_or_else(|| "any VNI".to_owned(), |vni| format!("VNI {vni}"));
    port.map_or_else(|| vni.clone(), |port| format!("{vni}, UDP port {port}"))
}

/// How a node's conntrack table translates a packet's destination.
fn conntrack(scene: &Scene, journey: &Journey, node: usize, (from, to): (&Ends, &Ends)) -> String {
    let node = &scene.nodes[node].node;
    let (from, to) = (translation::dst(from), translation::dst(to));
    let holder = match holder(scene, to.address, journey.start()) {
        Some(holder) => format!("the address of {holder}"),
        None => "an address that no known pod has".to_owned(),
    };
    format!("conntrack on {node} sends packets for {from} to {to}, {holder}")
}
