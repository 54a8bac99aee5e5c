//! Sidecars: rules of a pod redirect packets to a proxy in the pod (`redirect`). A packet that a
//! sidecar takes has reached its pod, and the proxy's own connection is a separate one.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Netns, Proxy, Service, ServicePort, Wiring,
    program::{Finished, LIMIT, Tracer},
    traffic::{tcp_by_proxy, tcp_to},
};

use crate::{
    expected::{check_balance, is_before_start, is_neighbour, pod},
    recordings,
    services::ends,
};

/// The ports of proxies: Istio's ports for packets out of a pod, and into one.
const OUT: u16 = 15001;
const IN: u16 = 15006;

/// Pods *web* and *cart* on two nodes, and a Service that leads to *cart*.
fn lab() -> Result<(Lab, Service)> {
    let mut lab = Lab::new(&LabSpec::default())?;
    let ports = vec![ServicePort::tcp(80, 8080)];
    let service = lab.add_service(Proxy::Iptables, ports, &[1])?;
    Ok((lab, service))
}

/// Redirects TCP packets for some ports at a hook to a port of the receiving host.
fn redirect(netns: &Netns, hook: &str, ports: &str, to: u16) -> Result<()> {
    let rules = format!(
        "table inet proxy {{ chain proxy {{ type nat hook {hook} priority -110; \
         tcp dport {{ {ports} }} redirect to :{to}; }}; }}"
    );
    netns.batch("nft -f -", &rules).map(drop)
}

/// The port of a node's proxy.
const NODE: u16 = 15008;

/// Any IPv4 address at a port.
fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

/// The journeys between the first pod and a destination.
fn follow(
    lab: &Lab,
    to: &[&str],
    name: &str,
    traffic: impl FnOnce() -> Result<()>,
) -> Result<Finished> {
    let recording = recordings::fault(name);
    let source = pod(&lab.pods[0]);
    let args = ["--src-pod", &source, "--hold", "1s"];
    let args = args.iter().chain(to).copied();
    let mut tracer = Tracer::follow(lab, args.chain(recording.arguments()))?;
    tracer.wait_started(LIMIT)?;
    traffic()?;
    let mut finished = tracer.stop()?;
    check_balance(&finished.summary);
    let is_shown = |journey: &mut Value| !is_neighbour(journey) && !is_before_start(journey);
    finished.journeys = finished.journeys.extract_if(.., is_shown).collect();
    assert!(!finished.journeys.is_empty(), "{}", finished.stderr);
    Ok(finished)
}

/// The journeys that are requests, and those that are answers.
fn both(journeys: &[Value]) -> [Vec<&Value>; 2] {
    ["request", "reply"].map(|direction| {
        let of = |journey: &&Value| journey["direction"] == direction;
        journeys.iter().filter(of).collect()
    })
}

fn text(journey: &Value) -> &str {
    journey["verdict"]["text"].as_str().unwrap_or_default()
}

/// A sidecar takes packets that come into its pod, so they have reached the pod.
#[test]
fn a_sidecar_takes_what_comes_in() -> Result<()> {
    let (lab, service) = lab()?;
    let [web, cart] = [&lab.pods[0], &lab.pods[1]];
    redirect(&cart.netns, "prerouting", "8080", IN)?;
    let servers = [(&cart.netns, any(IN))];
    let name = service.full_name();
    for inside in [false, true] {
        let mut to = vec!["--dst-service", &name];
        to.extend(inside.then_some("--pod-interfaces"));
        let recording = if inside {
            "sidecar-in-pod"
        } else {
            "sidecar-in"
        };
        let finished = follow(&lab, &to, recording, || {
            let served = tcp_to(&web.netns, service.at(false, 0), &servers, 3)?;
            assert!(served.is_complete(), "{served:?}");
            Ok(())
        })?;
        for journey in &finished.journeys {
            assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        }
        let [requests, _] = both(&finished.journeys);
        for request in requests {
            assert!(text(request).contains(&pod(cart)), "{request:#}");
            // Only conntrack in the pod knows this, and the agent may read it too late.
            let is_told = text(request).contains("; rules in the pod redirect the packet to port");
            assert!(inside || !is_told, "{request:#}");
        }
    }
    Ok(())
}

/// A sidecar takes packets that leave its pod. They are not seen, and the proxy's own connection is
/// like any other.
#[test]
fn a_sidecar_takes_what_goes_out() -> Result<()> {
    let (lab, service) = lab()?;
    let [web, cart] = [&lab.pods[0], &lab.pods[1]];
    redirect(&web.netns, "output", "80", OUT)?;
    let endpoint = SocketAddr::new(cart.address(false), 8080);
    let name = service.full_name();
    let to = ["--dst-service", &name, "--pod-interfaces"];
    let finished = follow(&lab, &to, "sidecar-out", || {
        let servers = [(&web.netns, any(OUT))];
        let served = tcp_to(&web.netns, service.at(false, 0), &servers, 3)?;
        assert!(served.is_complete(), "{served:?}");
        let own = tcp_to(&web.netns, endpoint, &[(&cart.netns, endpoint)], 2)?;
        assert!(own.is_complete(), "{own:?}");
        Ok(())
    })?;
    let [requests, _] = both(&finished.journeys);
    let syns = requests
        .iter()
        .filter(|journey| journey["packet"]["tcp"]["flags"] == "SYN");
    assert_eq!(syns.count(), 2);
    for journey in &finished.journeys {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
        assert!(ends(journey)?.contains(&endpoint), "{journey:#}");
    }
    Ok(())
}

/// A node redirects a pod's packets to its own proxy, whether the other pod is on that node or on
/// another. No packet reaches the other pod.
#[test]
fn a_node_redirects_to_its_own_proxy() -> Result<()> {
    for (pods_per_node, to, recording) in [(1, 1, "redirect-node"), (2, 1, "redirect-same-node")] {
        let lab = Lab::new(&LabSpec {
            pods_per_node,
            ..LabSpec::default()
        })?;
        let [web, cart] = [&lab.pods[0], &lab.pods[to]];
        let node = lab.node_of(web);
        redirect(&node.netns, "prerouting", "8080", NODE)?;
        let endpoint = SocketAddr::new(cart.address(false), 8080);
        let name = pod(cart);
        let finished = follow(&lab, &["--dst-pod", &name], recording, || {
            let servers = [(&node.netns, any(NODE))];
            let served = tcp_to(&web.netns, endpoint, &servers, 3)?;
            assert!(served.is_complete(), "{served:?}");
            Ok(())
        })?;
        let [requests, _] = both(&finished.journeys);
        let is_proxied =
            |journey: &&&Value| text(journey).contains(&format!("redirected to {}", node.name));
        assert!(requests.iter().filter(is_proxied).count() >= 9);
        for request in requests.iter().filter(|journey| !is_proxied(journey)) {
            // No packet acknowledges a pure acknowledgement, which is seen only before the rules.
            assert_eq!(request["packet"]["tcp"]["flags"], "ACK", "{request:#}");
            assert_eq!(request["packet"]["tcp"]["payload_len"], 0, "{request:#}");
            assert_eq!(request["verdict"]["kind"], "unknown", "{request:#}");
        }
    }
    Ok(())
}

/// A node gives connections to a proxy without changing their addresses (`TPROXY`), as service
/// meshes and policies on HTTP do. The proxy answers with the other pod's address, and no packet
/// reaches that pod. On a bridge, br_netfilter would remove the socket that the rule has found.
#[test]
fn a_node_gives_connections_to_a_transparent_proxy() -> Result<()> {
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::CalicoVxlan,
        ..LabSpec::default()
    })?;
    let [web, cart] = [&lab.pods[0], &lab.pods[1]];
    let node = lab.node_of(web);
    let rules = format!(
        "table ip transparent {{ chain proxy {{ type filter hook prerouting priority mangle;
         ip saddr {} tcp dport 8080 tproxy to :{NODE} meta mark set 1
         }}; }}",
        web.v4
    );
    node.netns.batch("nft -f -", &rules)?;
    node.netns.run("ip rule add fwmark 1 lookup 100")?;
    node.netns
        .run("ip route add local default dev lo table 100")?;
    let endpoint = SocketAddr::new(cart.address(false), 8080);
    let name = pod(cart);
    let finished = follow(&lab, &["--dst-pod", &name], "tproxy-node", || {
        let served = tcp_by_proxy(&web.netns, endpoint, &(&node.netns, any(NODE)), 3)?;
        assert!(served.is_complete(), "{served:?}");
        Ok(())
    })?;
    let [requests, answers] = both(&finished.journeys);
    assert!(requests.len() >= 12 && answers.len() >= 9);
    for request in requests {
        assert_eq!(request["verdict"]["kind"], "unknown", "{request:#}");
        assert_eq!(request["verdict"]["cause"], "stand-in", "{request:#}");
    }
    for answer in answers {
        assert_eq!(answer["verdict"]["kind"], "delivered", "{answer:#}");
    }
    Ok(())
}
