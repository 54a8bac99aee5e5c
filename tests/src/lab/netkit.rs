//! Netkit devices: pairs like veth's, made for dataplanes in BPF (Linux 6.7). The machine's `ip`
//! may not know netkit, so this module builds the request itself.

use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};
use std::thread;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use super::devices::{is_before, is_for_another_kernel, not_here};
use crate::netns::Netns;

/// `RTM_NEWLINK`, and `NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE`.
const NEW_LINK: u16 = 16;
const FLAGS: u16 = 0x1 | 0x4 | 0x200 | 0x400;
/// An empty `struct ifinfomsg`.
const NO_HEADER: [u8; 16] = [0; 16];

/// Attributes (linux/if_link.h).
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_NETKIT_PEER_INFO: u16 = 1;
const IFLA_NETKIT_MODE: u16 = 5;

/// The kind of device that joins a pod to its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// veth.
    #[default]
    Veth,
    /// Netkit in mode L2, which behaves like veth in all that concerns addresses.
    Netkit,
    /// Netkit in mode L3, as Cilium uses it: without MAC addresses and ARP.
    NetkitL3,
}

impl Pairs {
    /// Whether this kernel does not support the device; see
    /// [`Wiring::is_for_another_kernel`](super::Wiring::is_for_another_kernel).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        // Not all kernels that are booted for the tests have netkit.
        if self != Self::Veth && is_before((6, 7)) {
            not_here("this kernel has no netkit: that takes Linux 6.7")?;
            return Ok(true);
        }
        is_for_another_kernel("netkit", self == Self::Veth || is_possible()?)
    }

    /// `NETKIT_L2`, `NETKIT_L3`.
    fn mode(self) -> u32 {
        u32::from(self == Self::NetkitL3)
    }
}

/// Makes a pair, with one end in each of two namespaces.
pub(super) fn add(pairs: Pairs, host: (&Netns, &str), pod: (&Netns, &str), mtu: u32) -> Result<()> {
    let pod_netns = File::open(&pod.0.path)?;
    let request = request(pairs, [host.1, pod.1], pod_netns.as_raw_fd(), mtu);
    let answer = host.0.enter(|| ask(&request))?;
    ensure!(
        answer == 0,
        "cannot make netkit devices {} and {}: {}",
        host.1,
        pod.1,
        std::io::Error::from_raw_os_error(-answer)
    );
    Ok(())
}

/// Whether this kernel supports netkit.
fn is_possible() -> Result<bool> {
    let ask = || -> Result<bool> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let own = File::open("/proc/thread-self/ns/net")?;
        let request = request(Pairs::Netkit, ["one", "other"], own.as_raw_fd(), 1500);
        Ok(ask(&request)? == 0)
    };
    thread::scope(|scope| scope.spawn(ask).join().expect("asking does not panic"))
}

fn request(pairs: Pairs, [host, pod]: [&str; 2], pod_netns: RawFd, mtu: u32) -> Vec<u8> {
    let name = |name: &str| attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat());
    let size = attribute(IFLA_MTU, &mtu.to_ne_bytes());
    let netns = attribute(IFLA_NET_NS_FD, &pod_netns.to_ne_bytes());
    let peer = [&NO_HEADER[..], &name(pod), &size, &netns].concat();
    let data = [
        attribute(IFLA_NETKIT_PEER_INFO, &peer),
        attribute(IFLA_NETKIT_MODE, &pairs.mode().to_ne_bytes()),
    ];
    let info = [
        attribute(IFLA_INFO_KIND, b"netkit\0"),
        attribute(IFLA_INFO_DATA, &data.concat()),
    ];
    let info = attribute(IFLA_LINKINFO, &info.concat());
    let body = [&NO_HEADER[..], &name(host), &size, &info].concat();
    // struct nlmsghdr: length, type, flags, sequence number, port.
    let length = u32::try_from(16 + body.len()).expect("a short message");
    let header = [
        length.to_ne_bytes(),
        [NEW_LINK.to_ne_bytes(), FLAGS.to_ne_bytes()]
            .concat()
            .try_into()
            .expect("two of two bytes"),
        1u32.to_ne_bytes(),
        0u32.to_ne_bytes(),
    ];
    [header.concat(), body].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short value");
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Sends a request, and returns the kernel's acknowledgement: 0, or an error.
fn ask(request: &[u8]) -> Result<i32> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    send(socket.as_raw_fd(), request, MsgFlags::empty())?;
    let mut answer = [0; 4096];
    recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // NLMSG_ERROR: the error number follows the header.
    let number = answer[16..].first_chunk().context("a long buffer")?;
    Ok(i32::from_ne_bytes(*number))
}
