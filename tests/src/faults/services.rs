//! Faults of packets that a node translates on their way to a Service.
//!
//! The Service has one endpoint, and its ports are the same before and after the translation. Each
//! fault is made for a user who names the Service, and for a user who names the pod behind it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};

use super::{Beside, Fault, Named, Stage, Traffic};
use crate::{Proxy, ServicePort, Wiring};

/// The end of a fault's name if the user names the pod.
pub const OF_POD: &str = "-of-pod";
/// The TCP and UDP ports of the Service that the faults strike.
const TCP: u16 = 8080;
const UDP: u16 = 5353;
/// The UDP port that no fault affects.
pub(super) const CLEAN: u16 = 5454;
/// The source port of the client whose translation is out of date.
const CLIENT: u16 = 40_000;
/// The only source port for masqueraded connections.
const SOURCE: u16 = 50_000;

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    let named = |name: &str, named: Named| match named {
        Named::Service => name.to_owned(),
        Named::Pod => format!("{name}{OF_POD}"),
    };
    let both = [Named::Service, Named::Pod];
    both.into_iter()
        .flat_map(|by| {
            let to_service = |name: &str, make: fn(&Stage) -> Result<()>| Fault {
                named: by,
                alter: Some(|stage| serve(stage, &[B])),
                ..Fault::new(named(name, by), make)
                    .beside(Beside::Service)
                    .on(Wiring::has_bridge)
            };
            [
                Fault {
                    alter: Some(|stage| serve(stage, &[A])),
                    ..to_service("service-hairpin-off", |stage| hairpin(stage, "off"))
                }
                .undo(|stage| hairpin(stage, "on")),
                to_service("service-stale-entry", stale_entry)
                    .traffic(Traffic::datagrams_from(CLIENT))
                    .undo(without_entry)
                    .of_neighbours(),
                Fault {
                    alter: Some(|stage| serve(stage, &[A])),
                    ..to_service("service-snat-clash", snat_clash)
                }
                .traffic(Traffic::syns()),
            ]
        })
        .collect()
}

/// Pods by their indices in the lab.
const A: usize = 0;
const B: usize = 2;

/// Adds the Service.
fn serve(stage: &mut Stage, endpoints: &[usize]) -> Result<()> {
    let mut ports = vec![ServicePort::tcp(TCP, TCP)];
    ports.extend([UDP, CLEAN].map(|port| ServicePort::udp(port, port)));
    let service = stage.lab.add_service(Proxy::Iptables, ports, endpoints)?;
    stage.service = Some(service);
    // Flannel's CNI configuration has this setting.
    hairpin(stage, "on")
}

/// The Service's port for a kind of traffic.
pub(super) fn port_for(traffic: Traffic) -> u16 {
    if traffic.proto() == "tcp" { TCP } else { UDP }
}

/// Lets the bridge send frames out of their incoming port, or not.
fn hairpin(stage: &Stage, state: &str) -> Result<()> {
    let words = format!("bridge link set dev {} hairpin {state}", stage.a().veth);
    stage.near().netns.run(&words).map(drop)
}

/// An address of the far node's pods that no pod has any more.
fn gone(stage: &Stage) -> IpAddr {
    match stage.address(stage.b()) {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            [a, b, c, 251].into()
        }
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[7] = 0xfffb;
            segments.into()
        }
    }
}

/// The client's connection, as arguments of `conntrack`.
fn connection(stage: &Stage) -> Result<String> {
    let service = stage.service.as_ref().context("there is a Service")?;
    Ok(format!(
        "-p udp -s {} -d {} --sport {CLIENT} --dport {UDP}",
        stage.address(stage.a()),
        service.address(stage.v6),
    ))
}

/// The entry of a client that used the Service when its endpoint was another pod. kube-proxy has
/// not deleted the entry, and the client still sends from the same port.
fn stale_entry(stage: &Stage) -> Result<()> {
    let words = format!("{} -g {} -t 600", connection(stage)?, gone(stage));
    stage.near().netns.run(&format!("conntrack -I {words}"))?;
    Ok(())
}

fn without_entry(stage: &Stage) -> Result<()> {
    let words = connection(stage)?;
    stage.near().netns.run(&format!("conntrack -D {words}"))?;
    Ok(())
}

/// The pod's connections to itself come from one port of their node, and one of them exists
/// already. The kernel can insert no entry for another.
fn snat_clash(stage: &Stage) -> Result<()> {
    let (family, near) = (stage.family(), stage.near());
    let (a, node) = (stage.address(stage.a()), near.address(stage.v6));
    let rules = format!(
        "table {family} fault {{ chain fault {{ type nat hook postrouting priority srcnat - 1; \
         {family} saddr {a} {family} daddr {a} tcp dport {TCP} snat to {}; }}; }}",
        SocketAddr::new(node, SOURCE)
    );
    near.netns.batch("nft -f -", &rules)?;
    let service = stage.service.as_ref().context("there is a Service")?;
    let entry = format!(
        "conntrack -I -p tcp -s {a} -d {} --sport {CLIENT} --dport {TCP} -r {a} -q {node} \
         --reply-port-src {TCP} --reply-port-dst {SOURCE} --state ESTABLISHED -t 600",
        service.address(stage.v6)
    );
    near.netns.run(&entry).map(drop)
}
