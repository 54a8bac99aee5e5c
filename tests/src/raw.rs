//! Sends packets that no program in a pod sends: cut short, with wrong lengths, nested too deep,
//! with a VLAN tag, or with headers in page fragments, as some NICs deliver them. There are two
//! ways:
//! - [`PacketSocket`] sends a frame *out of* an interface: egress there, then ingress at its peer.
//!   A VLAN tag is in the frame at the egress, and in the sk_buff's `vlan_tci` at the ingress,
//!   where the kernel has moved it.
//! - [`Tap`] receives a frame *into* its own interface. The caller decides how much of the frame is
//!   in the sk_buff's linear part.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::net::if_::if_nametoindex;

use crate::netns::Netns;

/// Sends frames unchanged out of one interface.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket bound to the interface `name` of `netns`.
    ///
    /// # Errors
    /// If there is no such interface, or without CAP_NET_RAW.
    pub fn open(netns: &Netns, name: &str) -> Result<Self> {
        netns
            .enter(|| bound_packet_socket(name))
            .map(Self)
            .with_context(|| format!("cannot send out of {name} in {}", netns.name))
    }

    /// Sends `frame`, which begins with its Ethernet header.
    ///
    /// # Errors
    /// If the kernel refuses the frame: it is shorter than an Ethernet header or longer than the
    /// MTU allows, or the interface is down.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = nix::unistd::write(&self.0, frame).context("the kernel refused the frame")?;
        ensure!(
            sent == frame.len(),
            "{sent} bytes of {} were sent",
            frame.len()
        );
        Ok(())
    }
}

/// Sends one `frame` out of the interface `name` of `netns`.
///
/// # Errors
/// As [`PacketSocket::open`] and [`PacketSocket::send`].
pub fn packet_socket_send(netns: &Netns, name: &str, frame: &[u8]) -> Result<()> {
    PacketSocket::open(netns, name)?.send(frame)
}

fn bound_packet_socket(name: &str) -> io::Result<OwnedFd> {
    let index = if_nametoindex(name)?.cast_signed();
    // Protocol 0: the socket receives nothing, and so costs and keeps nothing. SAFETY: takes no
    // pointers; a result that is no descriptor is caught below.
    let fd =
        check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.cast_unsigned() as u16,
        sll_protocol: 0,
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address outlives the call and is as long as `length` says.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
    Ok(socket)
}

/// How a [`Tap`] builds sk_buffs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The whole frame in the linear part, as most drivers build it.
    Linear,
    /// The first slice of [`Tap::send`] in the linear part, and each further one in its own page
    /// fragment. GRO is off, because it would move headers.
    Fragments,
}

/// An interface that receives the frames that a test writes.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes the interface `name` in `netns` and brings it up. The interface lasts as long as this
    /// value.
    ///
    /// # Errors
    /// If the name is taken, or the kernel has no TUN driver.
    pub fn open(netns: &Netns, name: &str, layout: Layout) -> Result<Self> {
        let file = netns
            .enter(|| open_tap(name, layout))
            .with_context(|| format!("cannot make the TAP {name} in {}", netns.name))?;
        if layout == Layout::Fragments {
            netns.run(&format!("ethtool -K {name} gro off"))?;
        }
        netns.run(&format!("ip link set dev {name} up"))?;
        Ok(Self { file })
    }

    /// Receives one frame from its slices. For [`Layout::Fragments`], the first slice holds at
    /// least the Ethernet header of 14 bytes. There are at most 17 slices, and the others have 1 to
    /// 4096 bytes each.
    ///
    /// # Errors
    /// If the kernel refuses the frame.
    pub fn send(&self, slices: &[&[u8]]) -> Result<()> {
        let parts: Vec<IoSlice<'_>> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        let sent = (&self.file)
            .write_vectored(&parts)
            .context("the kernel refused the frame")?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        ensure!(sent == length, "{sent} bytes of {length} were received");
        Ok(())
    }
}

fn open_tap(name: &str, layout: Layout) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let fragments = match layout {
        Layout::Linear => 0,
        Layout::Fragments => libc::IFF_NAPI | libc::IFF_NAPI_FRAGS,
    };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | fragments;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: flags as libc::c_short,
        },
    };
    let name = CString::new(name)?;
    if name.as_bytes().len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the request is an ifreq, as TUNSETIFF wants it, and outlives the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
