//! What agents read when a packet was dropped, in sentences.

use tracer_core::model::{
    Chain, Connection, ConnectionStatus, Fact, Family, FdbEntry, Foreign, Hook, LegacyChain, Mac,
    NeighbourEntry, NeighbourState, Policy, PortState, RouteKind, SocketProto,
};

/// The device that local routes lead to.
const LOOPBACK: &str = "lo";

/// A fact in a sentence.
pub(crate) fn sentence(fact: &Fact) -> String {
    match fact {
        Fact::SkBuff {
            mark,
            connection,
            outlet,
        } => sk_buff(*mark, connection.as_ref(), outlet.as_deref()),
        Fact::Device {
            device,
            up,
            carrier,
            mtu,
            bridge_port,
        } => {
            let state = match (up, carrier) {
                (false, _) => "down".to_owned(),
                (true, false) => "up, without a carrier".to_owned(),
                (true, true) => format!("up, MTU {mtu}"),
            };
            let port = bridge_port.map_or_else(String::new, |state| {
                format!(", a bridge port in state {}", port_state(state))
            });
            format!("{device} is {state}{port}")
        }
        Fact::OtherMac { device, own, frame } => format!(
            "{device} has {own}, the frame was for {frame}: the machine that sent the frame may \
             have a stale neighbour or fdb entry with {frame}"
        ),
        Fact::Route {
            to,
            back,
            kind,
            via,
            device,
        } => {
            let what = if *back { "route back to" } else { "route to" };
            let via = via.map_or_else(String::new, |via| format!("via {via} "));
            let device = device.as_deref().unwrap_or("another interface");
            match kind {
                RouteKind::Unicast => format!("{what} {to}: {via}dev {device}"),
                RouteKind::Local => format!("{what} {to}: local"),
                RouteKind::Blackhole => format!("{what} {to}: blackhole"),
                RouteKind::Prohibit => format!("{what} {to}: prohibit"),
                RouteKind::Unreachable => format!("{what} {to}: unreachable"),
                RouteKind::None => format!("no {what} {to}"),
            }
        }
        Fact::Neighbour {
            address,
            device,
            entry: None,
        } => format!("no neighbour entry for {address} on {device}"),
        Fact::Neighbour {
            address,
            device,
            entry: Some(NeighbourEntry { state, mac }),
        } => {
            let mac = mac.map_or_else(String::new, |mac| format!(" {mac}"));
            let state = neighbour_state(*state);
            format!("neighbour {address} on {device}: {state}{mac}")
        }
        Fact::Fdb { mac, device, entry } => {
            let whose = if *mac == Mac::default() {
                format!("{mac} (the default)")
            } else {
                mac.to_string()
            };
            match entry {
                None => format!("no fdb entry for {whose} on {device}"),
                Some(FdbEntry { remote: None }) => {
                    format!("fdb entry for {whose} on {device}: no remote")
                }
                Some(FdbEntry {
                    remote: Some(remote),
                }) => format!("fdb entry for {whose} on {device}: to {remote}"),
            }
        }
        Fact::Mtu {
            device,
            mtu,
            to,
            route_mtu,
            packet,
        } => {
            let route =
                route_mtu.map_or_else(String::new, |mtu| format!(" (route to {to}: {mtu})"));
            let packet =
                packet.map_or_else(String::new, |bytes| format!(", packet has {bytes} bytes"));
            format!("{device}: MTU {mtu}{route}{packet}")
        }
        Fact::RpFilter { device, all, own } => format!(
            "rp_filter is {} on {device} (all {all}, {device} {own})",
            all.max(own)
        ),
        Fact::Sysctl { name, value } => format!("{name} is {value}"),
        Fact::ConntrackFull { count, max } => format!(
            "the conntrack table is full ({count} of nf_conntrack_max {max}): \
             packets of new connections are dropped"
        ),
        Fact::Chains {
            hook,
            device,
            chains: named,
            more,
        } => {
            let device = device
                .as_ref()
                .map_or_else(String::new, |device| format!(" of {device}"));
            let more = match more {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let named: Vec<String> = named.iter().map(chain).collect();
            let (hook, named) = (hook_name(*hook), named.join(", "));
            format!("chains at {hook}{device}: {named}{more}")
        }
        Fact::LegacyChains {
            family,
            hook,
            chains,
        } => {
            let hook = hook_name(*hook);
            let chains: Vec<String> = chains.iter().map(|one| legacy_chain(one, hook)).collect();
            format!("{} at {hook}: {}", legacy(*family), chains.join(", "))
        }
        Fact::LegacyTables { family, tables } => {
            let legacy = legacy(*family);
            format!(
                "{legacy} has tables that tracer could not read ({}): look with `{legacy}-save -c`",
                tables.join(", ")
            )
        }
        Fact::OwnAddress { address } => format!("{address} is an address of this namespace"),
        Fact::TcPrograms {
            device,
            direction,
            programs,
        } => {
            let programs: Vec<String> = programs.iter().map(Foreign::to_string).collect();
            format!("tc at {direction} of {device}: {}", programs.join(", "))
        }
        Fact::XdpProgram { device, program } => format!("XDP on {device}: {program}"),
        Fact::Qdisc {
            device,
            kind,
            queued,
            drops,
        } => format!("qdisc {kind} on {device}: {queued} packets queued, {drops} dropped so far"),
        Fact::NoSocket { proto, port } => match proto {
            SocketProto::Tcp => format!("no TCP socket listens on port {port}"),
            SocketProto::Udp => format!("no UDP socket is bound to port {port}"),
        },
        Fact::SocketElsewhere {
            proto,
            port,
            addresses,
        } => {
            let proto = match proto {
                SocketProto::Tcp => "TCP",
                SocketProto::Udp => "UDP",
            };
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!(
                "{proto} port {port} is open at {} only",
                addresses.join(", ")
            )
        }
        Fact::TcpListener {
            port,
            waiting,
            somaxconn,
        } => {
            let most =
                somaxconn.map_or_else(String::new, |most| format!(" (net.core.somaxconn {most})"));
            format!("the TCP socket on port {port} has {waiting} connections to accept{most}")
        }
        Fact::UdpSocket {
            port,
            unread,
            drops,
        } => {
            let drops = drops.map_or_else(String::new, |drops| {
                format!(" and has dropped {drops} packets")
            });
            format!("the UDP socket on port {port} holds {unread} bytes unread{drops}")
        }
        Fact::Checksum { src, dst, tunnel } => {
            let whose = if *tunnel {
                "the tunnel's own header"
            } else {
                "the packet"
            };
            format!(
                "the wrong checksum is that of {whose} from {src} to {dst}: look at the tx \
                 checksum offload of {src}"
            )
        }
    }
}

fn sk_buff(mark: u32, connection: Option<&Connection>, outlet: Option<&str>) -> String {
    let connection = match connection {
        None => "no tracked connection".to_owned(),
        Some(Connection {
            state,
            reply,
            status,
        }) => {
            let reply = if *reply { ", reply direction" } else { "" };
            let status: Vec<&str> = status
                .iter()
                .map(|bit| ConnectionStatus::name(*bit))
                .collect();
            let status = match status.as_slice() {
                [] => String::new(),
                some => format!(" ({})", some.join(", ")),
            };
            format!("ct state {}{reply}{status}", state.name())
        }
    };
    let outlet = match outlet {
        None => "no route yet".to_owned(),
        Some(LOOPBACK) => "a route to this namespace itself".to_owned(),
        Some(device) => format!("a route out of {device}"),
    };
    format!("the packet had mark {mark:#x}, {connection}, and {outlet}")
}

fn chain(chain: &Chain) -> String {
    let Chain {
        family,
        table,
        chain,
        handle: _,
        priority,
        policy,
    } = chain;
    let family = match family {
        Family::Inet => "inet",
        Family::Ip => "ip",
        Family::Ip6 => "ip6",
        Family::Netdev => "netdev",
        Family::Bridge => "bridge",
    };
    let policy = policy_name(*policy);
    format!("{family} {table}/{chain} (priority {priority}, policy {policy})")
}

fn legacy_chain(chain: &LegacyChain, hook: &str) -> String {
    let LegacyChain {
        table,
        rules,
        policy,
    } = chain;
    let (chain, policy) = (hook.to_uppercase(), policy_name(*policy));
    let s = if *rules == 1 { "" } else { "s" };
    format!("{table}/{chain} ({rules} rule{s}, policy {policy})")
}

/// The program that manages a family's legacy tables.
const fn legacy(family: Family) -> &'static str {
    match family {
        Family::Ip6 => "ip6tables-legacy",
        _ => "iptables-legacy",
    }
}

const fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
        Hook::Ingress => "ingress",
        Hook::Egress => "egress",
    }
}

const fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Accept => "accept",
        Policy::Drop => "drop",
    }
}

const fn neighbour_state(state: NeighbourState) -> &'static str {
    match state {
        NeighbourState::None => "NONE",
        NeighbourState::Incomplete => "INCOMPLETE",
        NeighbourState::Reachable => "REACHABLE",
        NeighbourState::Stale => "STALE",
        NeighbourState::Delay => "DELAY",
        NeighbourState::Probe => "PROBE",
        NeighbourState::Failed => "FAILED",
        NeighbourState::Noarp => "NOARP",
        NeighbourState::Permanent => "PERMANENT",
    }
}

const fn port_state(state: PortState) -> &'static str {
    match state {
        PortState::Disabled => "disabled",
        PortState::Listening => "listening",
        PortState::Learning => "learning",
        PortState::Forwarding => "forwarding",
        PortState::Blocking => "blocking",
    }
}
