//! Sockets in the states that the faults' traffic needs.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, getsockname, socket,
};

use crate::Pod;

/// Makes a socket send with DF, also packets larger than the path's MTU. ICMP errors do not change
/// what the socket sends (`IP_PMTUDISC_PROBE`, ip(7)).
pub(super) fn never_cut(socket: &UdpSocket, source: IpAddr) -> Result<()> {
    let (level, option, value): (_, _, libc::c_int) = match source {
        IpAddr::V4(_) => (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        ),
        IpAddr::V6(_) => (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE,
        ),
    };
    let length = size_of_val(&value) as libc::socklen_t;
    let pointer = (&raw const value).cast();
    // SAFETY: the value is an int, as the option wants it, and outlives the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, length) };
    ensure!(result == 0, std::io::Error::last_os_error());
    Ok(())
}

/// A TCP socket bound to `address`. Without a port in `address`, the kernel chooses one.
pub(super) fn tcp(address: SocketAddr, flags: libc::c_int) -> Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::from_bits_truncate(flags);
    let socket = socket(family, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}

pub(super) fn port_of(socket: &OwnedFd) -> Result<u16> {
    let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = address
        .as_sockaddr_in()
        .map(nix::sys::socket::SockaddrIn::port);
    let v6 = address
        .as_sockaddr_in6()
        .map(nix::sys::socket::SockaddrIn6::port);
    v4.or(v6).context("a TCP socket has a port")
}

/// Makes a connection that the server closes first, so that the server's end stays in TIME_WAIT and
/// remembers the client's last timestamp. Returns the client's port, and a timestamp long before
/// the last one.
pub(super) fn end_in_time_wait(
    from: &Pod,
    to: &Pod,
    server: &TcpListener,
    address: SocketAddr,
) -> Result<(u16, u32)> {
    // Otherwise the client's resets would end this state, as the client has forgotten the
    // connection (RFC 1337).
    to.netns.sysctl(&[("ipv4/tcp_rfc1337", "1")])?;
    let client = from.netns.enter(|| TcpStream::connect(address))?;
    let (accepted, _) = server.accept()?;
    let port = client.local_addr()?.port();
    let mut now: u32 = 0;
    let mut length = size_of_val(&now) as libc::socklen_t;
    // SAFETY: both pointers are to values of the option's size, which outlive the call.
    let result = unsafe {
        libc::getsockopt(
            client.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_TIMESTAMP,
            (&raw mut now).cast(),
            &raw mut length,
        )
    };
    ensure!(result == 0, std::io::Error::last_os_error());
    drop(accepted);
    // The end of the stream shows that the server's FIN has come.
    ensure!(std::io::Read::read(&mut &client, &mut [0])? == 0);
    drop(client);
    Ok((port, now.wrapping_sub(1_000_000)))
}
