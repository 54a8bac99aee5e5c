//! Whose packets belong to a follow.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Two ends whose packets to each other are followed, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// One end.
    pub a: IpNet,
    /// The other, of the same family.
    pub b: IpNet,
    /// IANA protocol number; `None` for any. That of ICMP stands for
    /// ICMPv6, too.
    pub proto: Option<u8>,
    /// Port of `a`.
    pub a_port: Option<u16>,
    /// Port of `b`.
    pub b_port: Option<u16>,
}
