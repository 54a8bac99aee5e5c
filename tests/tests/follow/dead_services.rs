//! Services that lead nowhere: to a port without a listener, to pods that are not ready, or to an
//! address that no pod has. Or the node has none of kube-proxy's rules. The verdict names the
//! Service, and the wrong object.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Netns, Proxy, Service, ServicePort,
    program::{Finished, LIMIT, Tracer},
};

use crate::{
    expected::{check_balance, is_before_start, is_neighbour, pod},
    recordings,
};

/// The time for which a client waits, which is longer than the kernel waits for a neighbour.
const PATIENCE: Duration = Duration::from_secs(4);

fn ports() -> Vec<ServicePort> {
    vec![ServicePort::tcp(80, 8080), ServicePort::udp(80, 8080)]
}

/// Two nodes with a pod each, and a Service that leads to the second pod.
fn lab() -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec::default())?;
    let service = lab.add_service(Proxy::Iptables, ports(), &[1])?;
    Ok((lab, service))
}

/// The journeys of a client that uses a Service, followed by the Service's name or by `to`.
fn follow(
    lab: &Lab,
    to: &[&str],
    name: &str,
    traffic: impl FnOnce() -> Result<()>,
) -> Result<(Value, Finished)> {
    let recording = recordings::fault(name);
    let source = pod(&lab.pods[0]);
    let args = ["--src-pod", &source, "--hold", "1s"];
    let args = args.iter().chain(to).copied();
    let mut tracer = Tracer::follow(lab, args.chain(recording.arguments()))?;
    let started = tracer.wait_started(LIMIT)?;
    traffic()?;
    let is_told = |line: &Value| line["packet"]["tcp"]["flags"] == "SYN" || is_question(line);
    tracer.wait_for(is_told, LIMIT)?;
    let mut finished = tracer.stop()?;
    check_balance(&finished.summary);
    let is_shown = |journey: &mut Value| !is_neighbour(journey) && !is_before_start(journey);
    finished.journeys = finished.journeys.extract_if(.., is_shown).collect();
    Ok((started, finished))
}

fn is_question(line: &Value) -> bool {
    line["packet"]["proto"] == "udp" && line["direction"] == "request"
}

/// Opens a connection that nobody accepts.
fn connect(from: &Netns, to: SocketAddr) {
    let connected = from.enter(|| TcpStream::connect_timeout(&to, PATIENCE));
    assert!(connected.is_err(), "{to} must not answer");
}

/// Sends a datagram that nobody gets.
fn send(from: &Netns, to: SocketAddr) -> Result<()> {
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = from.enter(|| UdpSocket::bind(any))?;
    socket.send_to(&[7; 64], to)?;
    Ok(())
}

/// The evidence of a verdict.
fn evidence(journey: &Value) -> Vec<&str> {
    let evidence = journey["verdict"]["evidence"].as_array();
    let evidence = evidence.into_iter().flatten();
    evidence.filter_map(|one| one["text"].as_str()).collect()
}

/// The journeys of SYNs and datagrams.
fn asked(journeys: &[Value]) -> impl Iterator<Item = &Value> {
    journeys
        .iter()
        .filter(|journey| journey["packet"]["tcp"]["flags"] == "SYN" || is_question(journey))
}

/// Nobody listens on the Service's target port.
#[test]
fn a_wrong_target_port() -> Result<()> {
    let (lab, service) = lab()?;
    let [web, cart] = [&lab.pods[0], &lab.pods[1]];
    let (service_name, cart_name) = (service.full_name(), pod(cart));
    let said = format!(
        "Service {service_name} sends port 80 to port 8080 of {cart_name}: compare its targetPort \
         with the port that the pod listens on"
    );
    let by = [["--dst-service", &service_name], ["--dst-pod", &cart_name]];
    for (v6, to) in [false, true].into_iter().zip(by) {
        let name = format!("service-target-port-{}", if v6 { 6 } else { 4 });
        let (_, finished) = follow(&lab, &to, &name, || {
            connect(&web.netns, service.at(v6, 0));
            send(&web.netns, service.at(v6, 1))
        })?;
        let mut count = 0;
        for journey in asked(&finished.journeys) {
            assert_eq!(journey["verdict"]["kind"], "refused", "{journey:#}");
            assert!(evidence(journey).contains(&said.as_str()), "{journey:#}");
            count += 1;
        }
        assert!(count >= 2, "{:#?}", finished.journeys);
    }
    Ok(())
}

/// The Service has a pod that is not ready, and later none at all.
#[test]
fn endpoints_that_are_not_ready_and_none() -> Result<()> {
    let (mut lab, service) = lab()?;
    let name = service.full_name();
    let cart = pod(&lab.pods[1]);
    for proxy in [Proxy::Iptables, Proxy::Nftables] {
        let unready = (
            vec![1],
            format!("({cart} is not ready)"),
            format!("no endpoint of Service {name} is ready"),
        );
        let none = (
            Vec::new(),
            "(it has none at all)".to_owned(),
            format!(
                "Service {name} has no endpoints: compare its selector with the labels of the pods"
            ),
        );
        for (unready, why, said) in [unready, none] {
            let what = if unready.is_empty() {
                "empty"
            } else {
                "unready"
            };
            let recording = format!("service-{what}-{proxy:?}").to_lowercase();
            lab.alter_service(proxy, 0, |service| {
                service.endpoints = Vec::new();
                service.unready = unready;
            })?;
            let web = &lab.pods[0];
            let (started, finished) = follow(&lab, &["--dst-service", &name], &recording, || {
                connect(&web.netns, service.at(false, 0));
                send(&web.netns, service.at(false, 1))
            })?;
            assert!(
                started["warnings"].to_string().contains(&why),
                "{started:#}"
            );
            for journey in asked(&finished.journeys) {
                assert_eq!(journey["verdict"]["kind"], "refused", "{journey:#}");
                assert_eq!(journey["verdict"]["cause"], "no-endpoints", "{journey:#}");
                assert_eq!(
                    evidence(journey).first(),
                    Some(&said.as_str()),
                    "{journey:#}"
                );
            }
        }
        // The rules of the other mode must not answer.
        lab.unprogram(&lab.nodes[0])?;
        lab.unprogram(&lab.nodes[1])?;
    }
    Ok(())
}

/// The client and the endpoint are on one bridge, which passes the answers by without netfilter. So
/// the client gets an answer from an address that it does not know.
#[test]
fn an_answer_that_the_bridge_does_not_translate_back() -> Result<()> {
    let mut lab = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let service = lab.add_service(Proxy::Iptables, ports(), &[1])?;
    let name = service.full_name();
    let (client, server) = (&lab.pods[0], &lab.pods[1]);
    lab.node_of(client).netns.bridge_without_netfilter()?;
    let at = service.at(false, 0);
    let own = SocketAddr::new(server.address(false), 8080);
    let listener = server.netns.enter(|| TcpListener::bind(own))?;
    let (_, finished) = follow(&lab, &["--dst-service", &name], "service-bridge", || {
        connect(&client.netns, at);
        Ok(())
    })?;
    drop(listener);
    let said = format!(
        "{} did not translate the source {own} back to {at} of Service {name}: a bridge skips the \
         rules if net.bridge.bridge-nf-call-iptables is 0",
        lab.node_of(client).name
    );
    let answers = finished.journeys.iter();
    let answers = answers.filter(|journey| journey["packet"]["tcp"]["flags"] == "SYN|ACK");
    let mut told = 0;
    for answer in answers {
        assert!(evidence(answer).contains(&said.as_str()), "{answer:#}");
        told += 1;
    }
    assert!(told > 0, "{:#?}", finished.journeys);
    Ok(())
}

/// The EndpointSlice, and with it each node's rules, have an address that no pod has.
#[test]
fn an_endpoint_that_no_pod_has_any_more() -> Result<()> {
    let (mut lab, service) = lab()?;
    let [a, b, c, _] = lab.pods[1].v4.octets();
    let gone: IpAddr = [a, b, c, 251].into();
    lab.alter_service(Proxy::Iptables, 0, |service| {
        service.endpoints = Vec::new();
        service.gone = Some(gone);
    })?;
    let name = service.full_name();
    let web = &lab.pods[0];
    let (_, finished) = follow(
        &lab,
        &["--dst-service", &name],
        "service-gone-endpoint",
        || {
            connect(&web.netns, service.at(false, 0));
            Ok(())
        },
    )?;
    let said = format!(
        "Service {name} sends port 80 to {}, an address in its EndpointSlice that no known pod or \
         node has",
        SocketAddr::new(gone, 8080)
    );
    let mut told = 0;
    for journey in asked(&finished.journeys) {
        let (kind, cause) = (&journey["verdict"]["kind"], &journey["verdict"]["cause"]);
        // One that still waits for the neighbour is unknown.
        let may_be = ["dropped", "refused", "unknown"].map(|kind_of| kind == kind_of);
        assert!(may_be.contains(&true), "{journey:#}");
        assert_ne!(cause, "stale-dnat", "{journey:#}");
        assert!(evidence(journey).contains(&said.as_str()), "{journey:#}");
        told += 1;
    }
    assert!(told > 0);
    Ok(())
}

/// One node has no rules: what is sent to the Service leaves it for the gateway, masqueraded
/// or not, or is dropped where there is none.
#[test]
fn a_node_without_rules() -> Result<()> {
    for is_anybody_outside in [true, false] {
        let (lab, service) = lab()?;
        let web = &lab.pods[0];
        let node = lab.node_of(web);
        if is_anybody_outside {
            let outside = lab.add_outside()?;
            // It throws away what it has no route for, as gateways of providers do.
            let rules = "table inet fault { chain fault { type filter hook prerouting priority 0; \
                         meta l4proto { tcp, udp } drop; }; }";
            outside.netns.batch("nft -f -", rules)?;
        }
        lab.unprogram(node)?;
        let name = service.full_name();
        for v6 in [false, true] {
            let family = if v6 { 6 } else { 4 };
            let place = if is_anybody_outside { "left" } else { "stays" };
            let recording = format!("service-no-rules-{place}-{family}");
            let (_, finished) = follow(&lab, &["--dst-service", &name], &recording, || {
                connect(&web.netns, service.at(v6, 0));
                Ok(())
            })?;
            let said = format!(
                "{0} did not translate the address {1} of Service {name}: {0} has no kube-proxy \
                 rules for that address",
                node.name,
                service.address(v6)
            );
            let mut told = 0;
            let to = service.address(v6).to_string();
            for journey in asked(&finished.journeys) {
                let verdict = &journey["verdict"];
                let kind = &verdict["kind"];
                // A packet of the last follow may have waited for the neighbour until now.
                if journey["packet"]["dst"] != *to {
                    continue;
                }
                // One that waited for the neighbour may be freed as another one.
                if kind == "unknown" {
                    continue;
                }
                assert_eq!(kind == "left", is_anybody_outside, "{journey:#}");
                assert_eq!(verdict["cause"], "not-translated", "{journey:#}");
                assert!(evidence(journey).contains(&said.as_str()), "{journey:#}");
                told += 1;
            }
            assert!(told > 0, "{:#?}", finished.journeys);
        }
    }
    Ok(())
}
