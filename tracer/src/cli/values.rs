//! What one argument can be: text → value, each with a sentence for what is none.
//!
//! clap puts the argument's name before the sentence and ends the program with exit code 2.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use ipnet::IpNet;

/// A side of a follow, as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndName {
    /// A pod.
    Pod(PodName),
    /// An address, or all of a network.
    Network(IpNet),
}

/// A pod as kubectl names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace, where it was given.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// The value of `--src-pod` and `--dst-pod`: `NAME` or `NAMESPACE/NAME`.
pub(super) fn pod(text: &str) -> Result<EndName, String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    pod_name(namespace, name)
        .ok_or_else(|| "no pod is called so; give NAME or NAMESPACE/NAME".to_owned())
}

fn pod_name(namespace: Option<&str>, name: &str) -> Option<EndName> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', ':', ' ']);
    (is_name(name) && namespace.is_none_or(is_name)).then(|| {
        EndName::Pod(PodName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    })
}

impl FromStr for EndName {
    type Err = String;

    /// `[NAMESPACE:]KIND/NAME`, an address or a network.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(single(address)?));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        let Some((object, name)) = text.split_once('/') else {
            return Err(
                "neither an address nor an object; give [NAMESPACE:]pod/NAME, an address such as \
                 10.244.1.5, or a network such as 10.244.1.0/24"
                    .to_owned(),
            );
        };
        if object.parse::<IpAddr>().is_ok() {
            return Err(
                "not a network; the prefix length after / goes to 32 for IPv4 and 128 for IPv6"
                    .to_owned(),
            );
        }
        let (namespace, kind) = match object.split_once(':') {
            Some((namespace, kind)) => (Some(namespace), kind),
            None => (None, object),
        };
        if !matches!(kind, "pod" | "po" | "pods") {
            return Err(format!(
                "a {kind} cannot be followed by name yet; give [NAMESPACE:]pod/NAME, an address or \
                 a network"
            ));
        }
        pod_name(namespace, name)
            .ok_or_else(|| "no pod is called so; give [NAMESPACE:]pod/NAME".to_owned())
    }
}

/// The network of one address that packets between machines can carry.
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

/// A number from 1 on.
pub(super) fn positive<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number != T::default() => Ok(number),
        _ => Err("give a whole number from 1 on, such as 100".to_owned()),
    }
}

/// As long as a clock can be set forward without a thought.
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

/// The most that a ring buffer can have.
const MAX_RING: u32 = 1 << 30;

/// A ring buffer's size: bytes, or KiB, MiB, GiB.
pub(super) fn ring_size(text: &str) -> Result<u32, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" | "B" => Some(0),
        "KiB" | "K" => Some(10),
        "MiB" | "M" => Some(20),
        "GiB" | "G" => Some(30),
        _ => None,
    };
    let bytes = || digits.parse::<u32>().ok()?.checked_mul(1 << shift?);
    match bytes() {
        Some(bytes) if bytes.is_power_of_two() && bytes <= MAX_RING => Ok(bytes),
        _ => Err(
            "not a size of a ring buffer; give a power of two from the page size to 1GiB, such as \
             65536, 512KiB or 8MiB"
                .to_owned(),
        ),
    }
}

/// Where a node's packets can be seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This kernel, in the namespace that the program is in.
    Local,
    /// This kernel, in the namespace that a file stands for.
    Netns(PathBuf),
}

/// A node and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// The node's name, as the cluster knows it.
    pub node: String,
    /// Where its host namespace is.
    pub place: Place,
}

impl FromStr for AgentSpec {
    type Err = String;

    /// `NODE=local` or `NODE=netns:PATH`.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((node, spec)) = text.split_once('=').filter(|(node, _)| !node.is_empty()) else {
            return Err("not an agent; give NODE=local or NODE=netns:PATH".to_owned());
        };
        let place = match spec.split_once(':') {
            None if spec == "local" => Place::Local,
            Some(("netns", path)) if !path.is_empty() => Place::Netns(path.into()),
            _ => {
                return Err(format!(
                    "`{spec}` is no way to a node; give {node}=local for this machine, or \
                     {node}=netns:PATH for a network namespace on it"
                ));
            }
        };
        Ok(Self {
            node: node.to_owned(),
            place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Result<EndName, String> {
        text.parse()
    }

    fn named(namespace: Option<&str>, name: &str) -> EndName {
        EndName::Pod(PodName {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }

    fn network(text: &str) -> EndName {
        EndName::Network(text.parse().expect("a network"))
    }

    #[test]
    fn a_pod_is_named_as_kubectl_names_it() {
        assert_eq!(pod("web"), Ok(named(None, "web")));
        assert_eq!(pod("shop/cart"), Ok(named(Some("shop"), "cart")));
        let sentence = "no pod is called so; give NAME or NAMESPACE/NAME";
        for text in ["", "/", "shop/", "/cart", "a/b/c", "shop:cart", "two words"] {
            assert_eq!(pod(text), Err(sentence.to_owned()), "{text}");
        }
    }

    #[test]
    fn an_end_is_an_object_an_address_or_a_network() {
        assert_eq!(end("pod/web"), Ok(named(None, "web")));
        assert_eq!(end("po/web"), Ok(named(None, "web")));
        assert_eq!(end("shop:pod/cart"), Ok(named(Some("shop"), "cart")));
        assert_eq!(end("10.244.1.5"), Ok(network("10.244.1.5/32")));
        assert_eq!(end("fd00::5"), Ok(network("fd00::5/128")));
        assert_eq!(end("::ffff:10.0.0.1"), Ok(network("10.0.0.1/32")));
        assert_eq!(end("fd00:1::/64"), Ok(network("fd00:1::/64")));
        assert_eq!(end("0.0.0.0/0"), Ok(network("0.0.0.0/0")));
    }

    #[test]
    fn host_bits_of_a_network_are_cut() {
        assert_eq!(end("10.244.1.77/24"), Ok(network("10.244.1.0/24")));
        assert_eq!(end("fd00:1::9/64"), Ok(network("fd00:1::/64")));
    }

    #[test]
    fn a_bad_end_is_refused_with_what_would_do() {
        let refusal = |text| end(text).expect_err("this is no end");
        for text in ["web", "10.244.1.500", "10.244.1", "fd00::zz", ""] {
            assert_eq!(
                refusal(text),
                "neither an address nor an object; give [NAMESPACE:]pod/NAME, an address such as \
                 10.244.1.5, or a network such as 10.244.1.0/24",
                "{text}"
            );
        }
        for text in ["10.244.1.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/x"] {
            assert_eq!(
                refusal(text),
                "not a network; the prefix length after / goes to 32 for IPv4 and 128 for IPv6",
                "{text}"
            );
        }
        for (text, kind) in [
            ("service/cart", "service"),
            ("shop:svc/cart", "svc"),
            ("node/a", "node"),
        ] {
            assert_eq!(
                refusal(text),
                format!(
                    "a {kind} cannot be followed by name yet; give [NAMESPACE:]pod/NAME, an address \
                     or a network"
                )
            );
        }
        for text in ["pod/", ":pod/web", "shop:pod/a/b", "pod/a b"] {
            let sentence = "no pod is called so; give [NAMESPACE:]pod/NAME";
            assert_eq!(refusal(text), sentence, "{text}");
        }
        for text in ["0.0.0.0", "::", "127.0.0.1", "::1"] {
            assert_eq!(
                refusal(text),
                "no packet between two pods carries this address; give a pod's or a node's",
                "{text}"
            );
        }
    }

    #[test]
    fn an_address_is_no_network() {
        assert_eq!(address("10.1.2.3"), end("10.1.2.3"));
        for text in ["10.244.1.0/24", "web", "10.244.1.256", ""] {
            assert_eq!(
                address(text).expect_err("this is no address"),
                "not an IP address; give one such as 10.244.1.5 or fd00::5 (--src and --dst take networks)",
                "{text}"
            );
        }
    }

    #[test]
    fn ports_and_counts_begin_at_one() {
        assert_eq!(port("1"), Ok(1));
        assert_eq!(port("65535"), Ok(65535));
        for text in ["0", "65536", "-1", "http", ""] {
            let sentence = "not a port; give a number from 1 to 65535";
            assert_eq!(port(text), Err(sentence.to_owned()), "{text}");
        }
        assert_eq!(positive("100"), Ok(100_u32));
        for text in ["0", "-3", "1.5", "5000000000", ""] {
            let sentence = "give a whole number from 1 on, such as 100";
            assert_eq!(positive::<u32>(text), Err(sentence.to_owned()), "{text}");
        }
    }

    #[test]
    fn time_spans_have_units_and_bounds() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for text in ["30", "soon", "", "-5s", "99999999999999999999s"] {
            assert_eq!(
                duration(text).expect_err("this is no time span"),
                "not a time span; give a number and its unit, such as 30s, 5m or 500ms",
                "{text}"
            );
        }
        for text in ["0s", "2years"] {
            assert_eq!(
                duration(text).expect_err("this is out of bounds"),
                "give a time between 1ms and one year",
                "{text}"
            );
        }
    }

    #[test]
    fn ring_sizes_are_powers_of_two() {
        assert_eq!(ring_size("4096"), Ok(4096));
        assert_eq!(ring_size("4KiB"), Ok(4096));
        assert_eq!(ring_size("8MiB"), Ok(8 << 20));
        assert_eq!(ring_size("1GiB"), Ok(1 << 30));
        for text in [
            "0",
            "5000",
            "3MiB",
            "2GiB",
            "8GiB",
            "8mb",
            "MiB",
            "",
            "-4096",
            "9999999999",
        ] {
            assert_eq!(
                ring_size(text).expect_err("this is no ring size"),
                "not a size of a ring buffer; give a power of two from the page size to 1GiB, such as \
                 65536, 512KiB or 8MiB",
                "{text}"
            );
        }
    }

    #[test]
    fn an_agent_is_local_or_in_a_namespace() {
        let agent = |text: &str| text.parse::<AgentSpec>();
        let spec = |node: &str, place| AgentSpec {
            node: node.to_owned(),
            place,
        };
        assert_eq!(agent("node-a=local"), Ok(spec("node-a", Place::Local)));
        let path = PathBuf::from("/run/netns/a=b:c");
        assert_eq!(
            agent("node-a=netns:/run/netns/a=b:c"),
            Ok(spec("node-a", Place::Netns(path)))
        );
        for text in ["", "node-a", "=local"] {
            assert_eq!(
                agent(text).expect_err("no node is named"),
                "not an agent; give NODE=local or NODE=netns:PATH",
                "{text}"
            );
        }
        for given in ["", "here", "netns:", "netns", "exec:ssh node-a", "local:x"] {
            assert_eq!(
                agent(&format!("node-a={given}")).expect_err("this is no way"),
                format!(
                    "`{given}` is no way to a node; give node-a=local for this machine, or \
                     node-a=netns:PATH for a network namespace on it"
                )
            );
        }
    }
}
