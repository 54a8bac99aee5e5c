//! Parsers for the values of arguments, with a sentence for each wrong value.
//!
//! clap puts the argument's name before the sentence and ends the program with exit code 2.

mod kind;
#[cfg(test)]
mod tests;

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use ipnet::IpNet;
use tracer_common::event::MAX_SNAPLEN;

pub(super) use self::kind::{Kind, split};
use crate::{inventory::Pods, link::Place};

/// A side of a follow, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndName {
    /// A pod.
    Pod(PodName),
    /// Pods with a common name.
    Group {
        /// The pods' namespace, if it was given.
        namespace: Option<String>,
        /// The workload or the labels of the pods.
        pods: Pods,
    },
    /// A Service.
    Service(ServiceName),
    /// A node.
    Node(String),
    /// An address, or all of a network.
    Network(IpNet),
    /// Any DNS server.
    Dns,
}

/// A pod, by its name as kubectl takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// The pod's namespace, if it was given.
    pub namespace: Option<String>,
    /// The pod's name.
    pub name: String,
}

/// A Service, or a port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// The Service's namespace, if it was given.
    pub namespace: Option<String>,
    /// The Service's name.
    pub name: String,
    /// The port, if it was given.
    pub port: Option<PortName>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortName {
    /// The port's number at the Service's addresses.
    Number(u16),
    /// The port's name.
    Name(String),
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// The value of `--src-service` and `--dst-service`: `[NAMESPACE/]NAME[:PORT]`.
pub(super) fn service(text: &str) -> Result<EndName, String> {
    let (namespace, object) = match text.split_once('/') {
        Some((namespace, object)) => (Some(namespace), object),
        None => (None, text),
    };
    service_name(namespace, object)
        .ok_or_else(|| "invalid service name; give [NAMESPACE/]NAME[:PORT]".to_owned())
}

/// Reads `NAME[:PORT]`.
fn service_name(namespace: Option<&str>, object: &str) -> Option<EndName> {
    let (name, port) = match object.split_once(':') {
        Some((name, port)) => (name, Some(port_name(port)?)),
        None => (object, None),
    };
    (is_name(name) && namespace.is_none_or(is_name)).then(|| {
        EndName::Service(ServiceName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
            port,
        })
    })
}

fn port_name(text: &str) -> Option<PortName> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return port(text).ok().map(PortName::Number);
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.bytes()
        .all(is_plain)
        .then(|| PortName::Name(text.to_owned()))
}

/// Whether an object may have this name. Only characters that separate names from other parts are
/// excluded.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', ':', ' '])
}

/// The value of `--src-pod` and `--dst-pod`: `NAME` or `NAMESPACE/NAME`.
pub(super) fn pod(text: &str) -> Result<EndName, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    pod_name(namespace, name)
        .ok_or_else(|| "invalid pod name; give NAME or NAMESPACE/NAME".to_owned())
}

fn pod_name(namespace: Option<&str>, name: &str) -> Option<EndName> {
    (is_name(name) && namespace.is_none_or(is_name)).then(|| {
        EndName::Pod(PodName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    })
}

impl FromStr for EndName {
    type Err = String;

    /// `[NAMESPACE:]KIND/NAME`, `[NAMESPACE:]service/NAME[:PORT]`, `[NAMESPACE:]LABELS`, an address
    /// or a network.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(single(address)?));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        let (namespace, object) = split(text);
        if let Some((key, _)) = object.split_once('=')
            && !key.trim_end_matches('!').is_empty()
            && namespace.is_none_or(is_name)
        {
            return Ok(Self::Group {
                namespace: namespace.map(str::to_owned),
                pods: Pods::Labelled(object.to_owned()),
            });
        }
        let Some((kind, name)) = object.split_once('/') else {
            return Err(
                "neither an address nor an object; give [NAMESPACE:]pod/NAME, service/NAME, labels such as \
                 app=web, an address such as 10.244.1.5, or a network such as 10.244.1.0/24"
                    .to_owned(),
            );
        };
        let before = text.split_once('/').map_or(text, |(before, _)| before);
        if before.parse::<IpAddr>().is_ok() {
            return Err(
                "not a network; the prefix length after / goes to 32 for IPv4 and 128 for IPv6"
                    .to_owned(),
            );
        }
        match Kind::named(kind) {
            Some(Kind::Pod) => pod_name(namespace, name)
                .ok_or_else(|| "invalid pod name; give [NAMESPACE:]pod/NAME".to_owned()),
            Some(Kind::Service) => service_name(namespace, name).ok_or_else(|| {
                "invalid service name; give [NAMESPACE:]service/NAME[:PORT]".to_owned()
            }),
            Some(Kind::Node) if namespace.is_none() && is_name(name) => {
                Ok(Self::Node(name.to_owned()))
            }
            Some(Kind::Of(workload)) if is_name(name) && namespace.is_none_or(is_name) => {
                Ok(Self::Group {
                    namespace: namespace.map(str::to_owned),
                    pods: Pods::Of(workload, name.to_owned()),
                })
            }
            Some(Kind::Of(workload)) => Err(format!(
                "invalid {0} name; give [NAMESPACE:]{0}/NAME",
                workload.name()
            )),
            Some(Kind::Node) | None => Err(format!(
                "the kind {kind} cannot be followed; give [NAMESPACE:]pod/NAME, service/NAME, \
                 deployment/NAME, statefulset/NAME, daemonset/NAME, labels such as app=web, \
                 node/NAME, an address or a network"
            )),
        }
    }
}

/// The network of one address, if packets between machines can carry it.
fn single(address: IpAddr) -> Result<IpNet, String> {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_loopback() {
        return Err(
            "no packet between two pods carries this address; give a pod's or a node's".to_owned(),
        );
    }
    Ok(address.into())
}

/// The value of `--src-ip` and `--dst-ip`.
pub(super) fn address(text: &str) -> Result<EndName, String> {
    let address = text.parse().map_err(|_| {
        "not an IP address; give one such as 10.244.1.5 or fd00::5 (--src and --dst take networks)"
            .to_owned()
    })?;
    single(address).map(EndName::Network)
}

/// A TCP, UDP or SCTP port.
pub(super) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("not a port; give a number from 1 to 65535".to_owned()),
        Ok(port) => Ok(port),
    }
}

/// A number that is 1 or more.
pub(super) fn positive<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number != T::default() => Ok(number),
        _ => Err("give a whole number from 1 on, such as 100".to_owned()),
    }
}

/// The limit of a time span, with which no sum of a span and a clock overflows.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A time span with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() || duration > YEAR => {
            Err("give a time between 1ms and one year".to_owned())
        }
        Ok(duration) => Ok(duration),
        Err(_) => {
            Err("not a time span; give a number and its unit, such as 30s, 5m or 500ms".to_owned())
        }
    }
}

/// The size limit of a ring buffer, bytes.
const MAX_RING: u32 = 1 << 30;

/// The number of bytes to capture of a frame.
pub(super) fn snaplen(text: &str) -> Result<u32, String> {
    let most = u32::try_from(MAX_SNAPLEN).unwrap_or(u32::MAX);
    match text.parse() {
        Ok(bytes) if (1..=most).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "give a number of bytes from 1 to {most}, such as 256"
        )),
    }
}

/// The name of an interface.
pub(super) fn interface(text: &str) -> Result<String, String> {
    /// `IFNAMSIZ` without the zero at its end (include/uapi/linux/if.h).
    const LONGEST: usize = 15;

    let has_other = |c: char| c.is_whitespace() || c.is_control() || "/:".contains(c);
    if text.is_empty() || text.len() > LONGEST || text.contains(has_other) {
        return Err(format!(
            "not the name of an interface, which has 1 to {LONGEST} characters; give names such as \
             eth0 or eth0,eth1, or --xdp alone for the uplinks"
        ));
    }
    Ok(text.to_owned())
}

/// A ring buffer's size: bytes, or KiB, MiB, GiB.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    match bytes(text).and_then(|bytes| u32::try_from(bytes).ok()) {
        Some(bytes) if bytes.is_power_of_two() && bytes <= MAX_RING => Ok(bytes),
        _ => Err(
            "not a size of a ring buffer; give a power of two from the page size to 1GiB, such as \
             65536, 512KiB or 8MiB"
                .to_owned(),
        ),
    }
}

/// A number of bytes: plain, or in KiB, MiB, GiB.
pub(super) fn size(text: &str) -> Result<u64, String> {
    bytes(text).filter(|bytes| *bytes > 0).ok_or_else(|| {
        "not a size; give a number of bytes such as 100000, 500KiB, 100MiB or 2GiB".to_owned()
    })
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" | "B" => 0,
        "KiB" | "K" => 10,
        "MiB" | "M" => 20,
        "GiB" | "G" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A node, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// The node's name in the cluster.
    pub node: String,
    /// Where the agent runs.
    pub place: Place,
}

impl FromStr for AgentSpec {
    type Err = String;

    /// `NODE=pod`, `NODE=local`, `NODE=netns:PATH`, `NODE=ssh:[USER@]HOST` or `NODE=exec:COMMAND`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((node, spec)) = text.split_once('=').filter(|(node, _)| !node.is_empty()) else {
            return Err(
                "not an agent; give NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND".to_owned(),
            );
        };
        let place = match spec.split_once(':') {
            None if spec == "local" => Place::Local,
            None if spec == "pod" => Place::Pod(Arc::default()),
            Some(("netns", path)) if !path.is_empty() => Place::Netns(path.into()),
            Some(("exec", command)) if !command.trim().is_empty() => {
                Place::Exec(command.to_owned())
            }
            Some(("ssh", text)) => Place::Ssh(host(text)?),
            _ => {
                return Err(format!(
                    "unknown agent type `{spec}`; give {node}=pod, {node}=local (this machine), \
                     {node}=netns:PATH (a network namespace here), {node}=ssh:HOST or \
                     {node}=exec:COMMAND (it runs `tracer agent --stdio` there)"
                ));
            }
        };
        Ok(Self {
            node: node.to_owned(),
            place,
        })
    }
}

/// The host that ssh connects to.
fn host(host: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_@:%[]".contains(c);
    if host.is_empty() || host.starts_with('-') || !host.chars().all(is_plain) {
        return Err(format!(
            "`{host}` is no host; give ssh:HOST or ssh:USER@HOST, as ssh takes it"
        ));
    }
    Ok(host.to_owned())
}
