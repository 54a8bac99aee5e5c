//! kube-proxy's rules in its mode nftables, as `nft -f` takes them.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Lab, MASQUERADE, Node, Service, ServicePort, hashed};

/// The elements of the table's maps, and the chains that they lead to.
#[derive(Default)]
struct Parts {
    cluster_ips: Vec<String>,
    services: Vec<String>,
    node_ports: Vec<String>,
    without_endpoints: Vec<String>,
    chains: String,
}

/// The table of all Services, for one IP version. It replaces the existing table.
pub(super) fn rules(lab: &Lab, node: &Node, v6: bool) -> Result<String> {
    let mut parts = Parts::default();
    for service in lab.services.iter().filter(|service| !service.is_headless) {
        parts.cluster_ips.push(service.address(v6).to_string());
        for port in &service.ports {
            rules_of((lab, node), service, port, v6, &mut parts)?;
        }
    }
    let (ip, kind) = family(v6);
    let elements = |of: &[String]| match of {
        [] => String::new(),
        of => format!("elements = {{ {} }}", of.join(", ")),
    };
    let Parts {
        cluster_ips,
        services,
        node_ports,
        without_endpoints,
        chains,
    } = parts;
    let key = format!("{kind} . inet_proto . inet_service");
    Ok(format!(
        "table {ip} kube-proxy {{ }}
delete table {ip} kube-proxy
table {ip} kube-proxy {{
    set cluster-ips {{ type {kind}; {} }}
    set nodeport-ips {{ type {kind}; elements = {{ {} }} }}
    map service-ips {{ type {key} : verdict; {} }}
    map service-nodeports {{ type inet_proto . inet_service : verdict; {} }}
    map no-endpoint-services {{ type {key} : verdict; {} }}
    chain reject-chain {{ reject; }}
    chain mark-for-masquerade {{ meta mark set meta mark | {MASQUERADE}; }}
    chain masquerading {{
        meta mark & {MASQUERADE} == 0 return
        meta mark set meta mark ^ {MASQUERADE}
        masquerade fully-random
    }}
    chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; }}
    chain service-endpoints-check {{ {ip} daddr . meta l4proto . th dport vmap @no-endpoint-services; }}
{chains}    chain services {{
        {ip} daddr . meta l4proto . th dport vmap @service-ips
        {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
    }}
    chain filter-input {{
        type filter hook input priority -110; policy accept;
        ct state new jump service-endpoints-check
    }}
    chain filter-forward {{
        type filter hook forward priority -110; policy accept;
        ct state new jump service-endpoints-check
        ct state new jump cluster-ips-check
    }}
    chain filter-output {{
        type filter hook output priority -110; policy accept;
        ct state new jump service-endpoints-check
    }}
    chain nat-prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump services; }}
    chain nat-output {{ type nat hook output priority -100; policy accept; jump services; }}
    chain nat-postrouting {{ type nat hook postrouting priority srcnat; policy accept; jump masquerading; }}
}}\n",
        elements(&cluster_ips),
        node.address(v6),
        elements(&services),
        elements(&node_ports),
        elements(&without_endpoints),
    ))
}

const fn family(v6: bool) -> (&'static str, &'static str) {
    if v6 {
        ("ip6", "ipv6_addr")
    } else {
        ("ip", "ipv4_addr")
    }
}

fn rules_of(
    (lab, node): (&Lab, &Node),
    service: &Service,
    port: &ServicePort,
    v6: bool,
    parts: &mut Parts,
) -> Result<()> {
    let (ip, _) = family(v6);
    let ServicePort {
        name,
        proto,
        port: number,
        target,
        node_port,
    } = port;
    let path = format!("{}/{proto}/{name}", service.full_name());
    let chain = format!("{}-{path}", &hashed(&path)[..8]);
    let meant = format!("{} . {proto} . {number}", service.address(v6));
    let external = service.external.map(|external| {
        let address = external.address(v6);
        format!("{address} . {proto} . {number}")
    });
    let endpoints: Vec<String> = lab
        .led_to(service, node, v6, service.is_local_inside)
        .iter()
        .map(ToString::to_string)
        .collect();
    if endpoints.is_empty() {
        let said = if service.is_local_inside && !service.endpoints.is_empty() {
            "drop"
        } else {
            "goto reject-chain"
        };
        let refused = [meant].into_iter().chain(external);
        let refused = refused.map(|meant| format!("{meant} : {said}"));
        parts.without_endpoints.extend(refused);
        return Ok(());
    }
    parts
        .services
        .push(format!("{meant} : goto service-{chain}"));
    let chains = &mut parts.chains;
    let mut choices = Vec::new();
    let mut kept = String::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let own = format!(
            "endpoint-{}-{path}__{}/{target}",
            &hashed(&format!("{path} {endpoint}"))[..8],
            endpoint.replace(':', ".")
        );
        let to = if v6 {
            format!("[{endpoint}]:{target}")
        } else {
            format!("{endpoint}:{target}")
        };
        let mut keep = String::new();
        if service.keeps_clients {
            let (_, kind) = family(v6);
            let set = format!("affinity-{}", &hashed(&format!("{path} {endpoint}"))[..8]);
            writeln!(
                chains,
                "    set {set} {{ type {kind}; flags dynamic,timeout; timeout 3h; }}"
            )?;
            writeln!(kept, "        {ip} saddr @{set} goto {own}")?;
            keep = format!("        update @{set} {{ {ip} saddr }}\n");
        }
        write!(
            chains,
            "    chain {own} {{
        {ip} saddr {endpoint} jump mark-for-masquerade
{keep}        meta l4proto {proto} dnat to {to}
    }}\n"
        )?;
        choices.push(format!("{index} : goto {own}"));
    }
    let from = match service.masquerades_all {
        true => String::new(),
        false => format!("{ip} saddr != {} ", lab.cluster_cidr(v6)),
    };
    write!(
        chains,
        "    chain service-{chain} {{
        {ip} daddr {} {proto} dport {number} {from}jump mark-for-masquerade
{kept}        numgen random mod {} vmap {{ {} }}
    }}\n",
        service.address(v6),
        choices.len(),
        choices.join(", ")
    )?;
    if node_port.is_some() || external.is_some() {
        write!(
            chains,
            "    chain external-{chain} {{
        jump mark-for-masquerade
        goto service-{chain}
    }}\n"
        )?;
    }
    if let Some(node_port) = node_port {
        let own = format!("{proto} . {node_port} : goto external-{chain}");
        parts.node_ports.push(own);
    }
    if let Some(external) = external {
        let own = format!("{external} : goto external-{chain}");
        parts.services.push(own);
    }
    Ok(())
}
