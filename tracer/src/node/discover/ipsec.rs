//! Finds what IPsec encrypts by policies, without a device of its own.

use std::{fs, io, net::IpAddr};

use ipnet::IpNet;
use netlink_sys::protocols::NETLINK_XFRM;

use crate::node::netlink::{Netlink, Question, attribute};

/// `XFRM_MSG_GETPOLICY`, and attributes of a policy (include/uapi/linux/xfrm.h).
const GET_POLICY: u16 = 0x15;
const TEMPLATES: u16 = 5;
const DEVICE: u16 = 31;

/// Bytes of `struct xfrm_userpolicy_info`, before the attributes, and of
/// `struct xfrm_user_tmpl`.
const HEADER: usize = 168;
const TEMPLATE: usize = 64;

/// A policy that encrypts packets which leave the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) from: IpNet,
    pub(super) to: IpNet,
}

impl Policy {
    /// Parses a policy. `None` if it does not encrypt, or only for a device of its own, which
    /// the routes show.
    fn parse(message: &[u8]) -> Option<Self> {
        const FAMILY: usize = 40;
        const BITS: [usize; 2] = [42, 43];
        /// `XFRM_POLICY_OUT` and `XFRM_POLICY_ALLOW`.
        const OUT: [u8; 2] = [1, 0];
        const DIRECTION: usize = 160;
        /// Offset of the protocol in a template.
        const PROTOCOL: usize = 20;
        const ESP: u8 = 50;

        let attributes = message.get(HEADER..)?;
        let templates = attribute(attributes, TEMPLATES)?.chunks_exact(TEMPLATE);
        let encrypts = templates.into_iter().any(|one| one[PROTOCOL] == ESP);
        let has_device = attribute(attributes, DEVICE).is_some_and(|id| id != [0; 4]);
        let is_out = message[DIRECTION..].starts_with(&OUT);
        if !is_out || !encrypts || has_device {
            return None;
        }
        let family = u16::from_ne_bytes(*message[FAMILY..].first_chunk()?);
        let net = |at: usize, bits: usize| {
            let address = if i32::from(family) == libc::AF_INET {
                IpAddr::from(*message[at..].first_chunk::<4>()?)
            } else {
                IpAddr::from(*message[at..].first_chunk::<16>()?)
            };
            IpNet::new(address, message[bits]).ok()
        };
        let [to, from] = BITS;
        Some(Self {
            to: net(0, to)?,
            from: net(16, from)?,
        })
    }
}

/// Encrypting policies of the calling thread's network namespace.
pub(super) fn policies() -> io::Result<Vec<Policy>> {
    if !is_loaded() {
        return Ok(Vec::new());
    }
    let question = Question::new(GET_POLICY, &[0; 4]);
    let answers =
        Netlink::open(NETLINK_XFRM).and_then(|mut netlink| netlink.dump(&question, Policy::parse));
    match answers {
        Ok(answers) => Ok(answers.items),
        // Without CAP_NET_ADMIN, only a plan is possible, and it leaves out policies.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether a request loads no module. If the kernel can answer, it has a netlink socket for the
/// protocol.
fn is_loaded() -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/netlink").unwrap_or_default();
    let protocol = NETLINK_XFRM.to_string();
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next() == Some(&protocol) && fields.next() == Some("0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(direction: u8, protocol: u8, device: u32) -> Vec<u8> {
        let mut header = [0; HEADER];
        header[..3].copy_from_slice(&[10, 2, 0]);
        header[16..19].copy_from_slice(&[10, 1, 0]);
        header[40..44].copy_from_slice(&[2, 0, 16, 24]);
        header[160] = direction;
        let mut template = [0; TEMPLATE];
        template[20] = protocol;
        let question = Question::new(GET_POLICY, &header)
            .with(TEMPLATES, &template)
            .with(DEVICE, &device.to_ne_bytes());
        question.payload().to_vec()
    }

    #[test]
    fn policies_that_encrypt_what_leaves() {
        let policy = Policy {
            from: "10.1.0.0/24".parse().expect("a network"),
            to: "10.2.0.0/16".parse().expect("a network"),
        };
        assert_eq!(Policy::parse(&message(1, 50, 0)), Some(policy));
        for (direction, protocol, device) in [(0, 50, 0), (2, 50, 0), (1, 51, 0), (1, 50, 7)] {
            assert_eq!(Policy::parse(&message(direction, protocol, device)), None);
        }
        assert_eq!(Policy::parse(&message(1, 50, 0)[..HEADER]), None);
    }
}
