//! What connection tracking knew of a packet when the kernel freed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A packet's part in a tracked connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The packet's state, as rules match it (`ct state`).
    pub state: ConnectionState,
    /// Whether the packet goes in the direction of replies.
    pub reply: bool,
    /// Status bits of the connection; empty if the agent could not read them.
    pub status: Vec<ConnectionStatus>,
}

/// States of a packet for connection tracking (`enum ip_conntrack_info`,
/// include/uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionState {
    /// The packet belongs to a connection with packets in both directions.
    Established,
    /// The packet begins a connection that another one expects, or is an ICMP error about a
    /// connection.
    Related,
    /// The packet begins a connection.
    New,
    /// A rule exempted the packet (`notrack`).
    Untracked,
}

/// Bits of a connection's status (`enum ip_conntrack_status`,
/// include/uapi/linux/netfilter/nf_conntrack_common.h): those that `conntrack -L` shows, and
/// those of translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionStatus {
    /// Another connection expected this one.
    Expected,
    /// Packets were seen in both directions.
    SeenReply,
    /// The kernel does not delete the connection early to make room for others.
    Assured,
    /// The connection's first packet has left the node, or was delivered.
    Confirmed,
    /// The kernel translates the source (SNAT).
    SrcNat,
    /// The kernel translates the destination (DNAT).
    DstNat,
    /// The connection has been deleted.
    Dying,
    /// A flowtable carries the connection's packets past the other hooks.
    Offload,
}

impl Connection {
    /// Decodes the kernel's numbers: the lowest three bits of `sk_buff._nfct`, and
    /// `nf_conn.status` or 0. `None` if the three bits hold no known value.
    #[must_use]
    pub fn of(info: u8, status: u32) -> Option<Self> {
        let (state, reply) = match info {
            0 => (ConnectionState::Established, false),
            1 => (ConnectionState::Related, false),
            2 => (ConnectionState::New, false),
            3 => (ConnectionState::Established, true),
            4 => (ConnectionState::Related, true),
            7 => (ConnectionState::Untracked, false),
            _ => return None,
        };
        let is_set = |(bit, _): &(u32, ConnectionStatus)| status & (1 << bit) != 0;
        let status = ConnectionStatus::BITS.into_iter().filter(is_set);
        Some(Self {
            state,
            reply,
            status: status.map(|(_, status)| status).collect(),
        })
    }
}

impl ConnectionState {
    /// The state's name in rules (`ct state`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Related => "related",
            Self::New => "new",
            Self::Untracked => "untracked",
        }
    }
}

impl ConnectionStatus {
    const BITS: [(u32, Self); 8] = [
        (0, Self::Expected),
        (1, Self::SeenReply),
        (2, Self::Assured),
        (3, Self::Confirmed),
        (4, Self::SrcNat),
        (5, Self::DstNat),
        (9, Self::Dying),
        (14, Self::Offload),
    ];

    /// The bit's name in `conntrack -L`, or else in the kernel.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expected => "EXPECTED",
            Self::SeenReply => "SEEN_REPLY",
            Self::Assured => "ASSURED",
            Self::Confirmed => "CONFIRMED",
            Self::SrcNat => "SRC_NAT",
            Self::DstNat => "DST_NAT",
            Self::Dying => "DYING",
            Self::Offload => "OFFLOAD",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Connection, ConnectionState, ConnectionStatus};

    #[test]
    fn the_kernels_numbers_have_names() {
        // A reply of a connection whose destination was translated: 0x2e.
        let reply = Connection::of(3, 0b10_1110).expect("a known value");
        assert_eq!(
            (reply.state, reply.reply),
            (ConnectionState::Established, true)
        );
        let names: Vec<_> = reply.status.iter().map(|bit| bit.name()).collect();
        assert_eq!(names, ["SEEN_REPLY", "ASSURED", "CONFIRMED", "DST_NAT"]);
        let new = Connection::of(2, 0).expect("a known value");
        assert!(new.status.is_empty() && new.state == ConnectionState::New);
        assert_eq!(
            Connection::of(7, 0).map(|one| one.state),
            Some(ConnectionState::Untracked)
        );
        assert_eq!(
            [5, 6, 8].map(|info| Connection::of(info, 0)),
            [None, None, None]
        );
        let dying = Connection::of(0, 1 << 9).expect("a known value");
        assert_eq!(dying.status, [ConnectionStatus::Dying]);
    }
}
