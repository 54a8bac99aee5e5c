//! kube-proxy's rules in its mode iptables, as `iptables-restore` takes them.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Lab, MASQUERADE, Node, Service, ServicePort, hashed};

/// The chains of a port: for the Service, for packets from outside, and for the endpoints.
struct Chains {
    service: String,
    external: String,
    endpoints: Vec<(String, String)>,
}

impl Chains {
    fn of((lab, node): (&Lab, &Node), service: &Service, port: &ServicePort, v6: bool) -> Self {
        let name = format!("{}:{} {} {v6}", service.full_name(), port.name, port.proto);
        let own_only = service.is_local_inside;
        let endpoints = lab.led_to(service, node, v6, own_only).into_iter();
        let endpoints = endpoints.map(|address| {
            let address = address.to_string();
            (
                format!("KUBE-SEP-{}", hashed(&format!("{name} {address}"))),
                address,
            )
        });
        Self {
            service: format!("KUBE-SVC-{}", hashed(&name)),
            external: format!("KUBE-EXT-{}", hashed(&name)),
            endpoints: endpoints.collect(),
        }
    }
}

/// All rules of all Services, for one IP version.
pub(super) fn rules(lab: &Lab, node: &Node, v6: bool) -> Result<String> {
    let mut chains = String::new();
    let mut nat = format!(
        "-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE}/{MASQUERADE} -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE}
-A KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE}\n"
    );
    let mut filter = String::new();
    for service in lab.services.iter().filter(|service| !service.is_headless) {
        for port in &service.ports {
            let tables = [&mut chains, &mut nat, &mut filter];
            rules_of((lab, node), service, port, v6, tables)?;
        }
    }
    writeln!(
        nat,
        "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be \
         the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    )?;
    Ok(format!(
        "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
{chains}{nat}COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark {MASQUERADE}/{MASQUERADE} -j ACCEPT
-A KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{filter}COMMIT\n"
    ))
}

fn rules_of(
    (lab, node): (&Lab, &Node),
    service: &Service,
    port: &ServicePort,
    v6: bool,
    [chains, nat, filter]: [&mut String; 3],
) -> Result<()> {
    let ServicePort {
        proto,
        port: number,
        target,
        node_port,
        ..
    } = port;
    let all = Chains::of((lab, node), service, port, v6);
    let name = format!("{}:{}", service.full_name(), port.name);
    let address = service.address(v6);
    let host = if v6 { 128 } else { 32 };
    let meant = format!("-d {address}/{host} -p {proto} -m {proto} --dport {number}");
    let comment = |what: &str| format!("-m comment --comment \"{name} {what}\"");
    if all.endpoints.is_empty() {
        let unreachable = if v6 {
            "icmp6-port-unreachable"
        } else {
            "icmp-port-unreachable"
        };
        let is_elsewhere = service.is_local_inside && !service.endpoints.is_empty();
        let (reject, said) = if is_elsewhere {
            ("-j DROP".to_owned(), comment("has no local endpoints"))
        } else {
            (
                format!("-j REJECT --reject-with {unreachable}"),
                comment("has no endpoints"),
            )
        };
        writeln!(filter, "-A KUBE-SERVICES {said} {meant} {reject}")?;
        if let Some(external) = service.external {
            let address = external.address(v6);
            writeln!(
                filter,
                "-A KUBE-EXTERNAL-SERVICES {said} -d {address}/{host} -p {proto} -m {proto} \
                 --dport {number} {reject}"
            )?;
        }
        if let Some(node_port) = node_port {
            writeln!(
                filter,
                "-A KUBE-EXTERNAL-SERVICES {said} -m addrtype --dst-type LOCAL -p {proto} -m {proto} \
                 --dport {node_port} {reject}"
            )?;
        }
        return Ok(());
    }
    writeln!(chains, ":{} - [0:0]", all.service)?;
    writeln!(
        nat,
        "-A KUBE-SERVICES {} {meant} -j {}",
        comment("cluster IP"),
        all.service
    )?;
    if node_port.is_some() || service.external.is_some() {
        let (external, service_chain) = (&all.external, &all.service);
        writeln!(chains, ":{external} - [0:0]")?;
        if let Some(node_port) = node_port {
            writeln!(
                nat,
                "-A KUBE-NODEPORTS -m comment --comment {name} -p {proto} -m {proto} --dport {node_port} -j {external}"
            )?;
        }
        if let Some(own) = service.external {
            let what = if own.of_balancer {
                "loadbalancer IP"
            } else {
                "external IP"
            };
            writeln!(
                nat,
                "-A KUBE-SERVICES {} -d {}/{host} -p {proto} -m {proto} --dport {number} -j {external}",
                comment(what),
                own.address(v6)
            )?;
        }
        if service.is_local {
            let own = lab.endpoints_of(service).zip(&all.endpoints);
            let own = own.filter(|(pod, _)| lab.node_of(pod).name == node.name);
            let mut own = own.map(|(_, (chain, _))| chain);
            // Packets from the cluster or this node are balanced as usual. One endpoint of the node
            // gets all others.
            write!(
                nat,
                "-A {external} -s {} -m comment --comment \"pod traffic for {name} external destinations\" -j {service_chain}
-A {external} -m comment --comment \"masquerade LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ
-A {external} -m comment --comment \"route LOCAL traffic for {name} external destinations\" -m addrtype --src-type LOCAL -j {service_chain}\n",
                lab.cluster_cidr(v6)
            )?;
            match own.next() {
                Some(chain) => writeln!(nat, "-A {external} -j {chain}")?,
                None => {
                    let said = comment("has no local endpoints");
                    if let Some(node_port) = node_port {
                        writeln!(
                            filter,
                            "-A KUBE-EXTERNAL-SERVICES {said} -m addrtype --dst-type LOCAL -p {proto} -m {proto} --dport {node_port} -j DROP"
                        )?;
                    }
                    if let Some(own) = service.external {
                        writeln!(
                            filter,
                            "-A KUBE-EXTERNAL-SERVICES {said} -d {}/{host} -p {proto} -m {proto} --dport {number} -j DROP",
                            own.address(v6)
                        )?;
                    }
                }
            }
        } else {
            write!(
                nat,
                "-A {external} -m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ
-A {external} -j {service_chain}\n"
            )?;
        }
    }
    let from = match service.masquerades_all {
        true => String::new(),
        false => format!("! -s {} ", lab.cluster_cidr(v6)),
    };
    writeln!(
        nat,
        "-A {} {} {from}{meant} -j KUBE-MARK-MASQ",
        all.service,
        comment("cluster IP"),
    )?;
    let count = all.endpoints.len();
    for (index, (chain, endpoint)) in all.endpoints.iter().enumerate() {
        let to = if v6 {
            format!("[{endpoint}]:{target}")
        } else {
            format!("{endpoint}:{target}")
        };
        let chosen = match count - index {
            1 => String::new(),
            left => format!(
                "-m statistic --mode random --probability {:.11} ",
                1.0 / left as f64
            ),
        };
        writeln!(chains, ":{chain} - [0:0]")?;
        write!(
            nat,
            "-A {} -m comment --comment \"{name} -> {to}\" {chosen}-j {chain}
-A {chain} -m comment --comment {name} -s {endpoint}/{host} -j KUBE-MARK-MASQ
-A {chain} -m comment --comment {name} -p {proto} -m {proto} -j DNAT --to-destination {to}\n",
            all.service
        )?;
    }
    Ok(())
}
