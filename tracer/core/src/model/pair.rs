//! The pairs of ends whose packets belong to a follow.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Two ends; packets between them are followed in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Network of one end.
    pub a: IpNet,
    /// Network of the other end, of the same address family.
    pub b: IpNet,
    /// IANA protocol number; `None` for any protocol. ICMP's number includes ICMPv6.
    pub proto: Option<u8>,
    /// Port of `a`; `None` for any port.
    pub a_port: Option<u16>,
    /// Port of `b`; `None` for any port.
    pub b_port: Option<u16>,
}
