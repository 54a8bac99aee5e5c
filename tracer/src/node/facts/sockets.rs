//! Finds the socket at a port by `/proc/net`. The netlink interface (sock_diag) would load a
//! module if it is missing.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::IpAddr,
};

use tracer_core::model::{Fact, SocketProto};

/// States of a socket (include/net/tcp_states.h): a listening socket, and a UDP socket without
/// a fixed peer.
const LISTEN: u8 = 10;
const UNCONNECTED: u8 = 7;

/// A socket that waits for packets to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    /// Local address; `::` and `0.0.0.0` stand for all addresses.
    address: IpAddr,
    port: u16,
    state: u8,
    /// Connections in the accept queue of a listening socket, or unread bytes of a UDP socket.
    waiting: u32,
    /// Packets that the socket dropped; UDP only.
    drops: Option<u64>,
}

/// Facts about sockets that listen on a TCP port or are bound to a UDP port in the calling
/// thread's namespace, for packets to `address`.
pub(super) fn on_port(proto: SocketProto, address: IpAddr, port: u16) -> Option<Fact> {
    let files: &[&str] = match (proto, address.is_ipv4()) {
        (SocketProto::Tcp, true) => &["tcp", "tcp6"],
        (SocketProto::Tcp, false) => &["tcp6"],
        (SocketProto::Udp, true) => &["udp", "udp6"],
        (SocketProto::Udp, false) => &["udp6"],
    };
    let mut sockets = Vec::new();
    for (index, file) in files.iter().enumerate() {
        match File::open(format!("/proc/thread-self/net/{file}")) {
            Ok(file) => sockets.extend(read(BufReader::new(file), proto, port)),
            // Without IPv6, this file is missing.
            Err(_) if index > 0 => {}
            Err(_) => return None,
        }
    }
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let somaxconn = somaxconn.ok().and_then(|text| text.trim().parse().ok());
    Some(found(&sockets, proto, address, port, somaxconn))
}

fn read(lines: impl BufRead, proto: SocketProto, port: u16) -> Vec<Socket> {
    let tcp = proto == SocketProto::Tcp;
    let sockets = lines.lines().skip(1).map_while(Result::ok);
    let sockets = sockets.filter_map(|line| Socket::parse(&line, tcp));
    // Listening sockets come first, and there may be very many others.
    sockets
        .take_while(|socket| !tcp || socket.state == LISTEN)
        .filter(|socket| socket.port == port && [LISTEN, UNCONNECTED].contains(&socket.state))
        .collect()
}

fn found(
    sockets: &[Socket],
    proto: SocketProto,
    address: IpAddr,
    port: u16,
    somaxconn: Option<u32>,
) -> Fact {
    if sockets.is_empty() {
        return Fact::NoSocket { proto, port };
    }
    let takes = |socket: &&Socket| socket.address.is_unspecified() || socket.address == address;
    let Some(socket) = sockets.iter().find(takes) else {
        let mut addresses: Vec<IpAddr> = sockets.iter().map(|socket| socket.address).collect();
        addresses.dedup();
        return Fact::SocketElsewhere {
            proto,
            port,
            addresses,
        };
    };
    match proto {
        SocketProto::Tcp => Fact::TcpListener {
            port,
            waiting: socket.waiting,
            somaxconn,
        },
        SocketProto::Udp => Fact::UdpSocket {
            port,
            unread: socket.waiting,
            drops: socket.drops,
        },
    }
}

impl Socket {
    /// Parses a line: `sl local rem st tx:rx tr:when retrnsmt uid timeout inode ref pointer
    /// drops` (net/ipv4/tcp_ipv4.c, net/ipv4/udp.c), in hexadecimal.
    fn parse(line: &str, tcp: bool) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, port) = words.get(1)?.split_once(':')?;
        let (_, waiting) = words.get(4)?.split_once(':')?;
        Some(Self {
            address: parse_address(address)?,
            port: u16::from_str_radix(port, 16).ok()?,
            state: u8::from_str_radix(words.get(3)?, 16).ok()?,
            waiting: u32::from_str_radix(waiting, 16).ok()?,
            drops: words
                .get(12)
                .filter(|_| !tcp)
                .and_then(|drops| drops.parse().ok()),
        })
    }
}

/// Parses an address in words of four bytes, each in native byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(word(0)?.into()),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address: [u8; 16] = bytes.try_into().ok()?;
            Some(IpAddr::from(address).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:D431 01 00000000:00000009 00:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
";
    const UDP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  100: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 5 2 0 17
";

    fn told(text: &str, proto: SocketProto, address: [u8; 4], port: u16) -> Fact {
        let sockets = read(text.as_bytes(), proto, port);
        found(&sockets, proto, address.into(), port, Some(4096))
    }

    #[test]
    fn who_listens_and_for_whom() {
        use SocketProto::{Tcp, Udp};

        let listener = |port, waiting| Fact::TcpListener {
            port,
            waiting,
            somaxconn: Some(4096),
        };
        assert_eq!(told(TCP, Tcp, [127, 0, 0, 1], 8080), listener(8080, 3));
        assert_eq!(
            told(TCP, Tcp, [10, 0, 0, 1], 8080),
            Fact::SocketElsewhere {
                proto: Tcp,
                port: 8080,
                addresses: vec![[127, 0, 0, 1].into()]
            }
        );
        assert_eq!(told(TCP, Tcp, [10, 0, 0, 1], 22), listener(22, 0));
        let none = |proto, port| Fact::NoSocket { proto, port };
        assert_eq!(told(TCP, Tcp, [10, 0, 0, 1], 80), none(Tcp, 80));
        assert_eq!(
            told(UDP6, Udp, [10, 0, 0, 1], 53),
            Fact::UdpSocket {
                port: 53,
                unread: 212_992,
                drops: Some(17)
            }
        );
        assert_eq!(told(UDP6, Udp, [10, 0, 0, 1], 54), none(Udp, 54));
    }

    #[test]
    fn a_mapped_address_is_an_ipv4_address() {
        let mapped = parse_address("0000000000000000FFFF00000100007F");
        assert_eq!(mapped, Some([127, 0, 0, 1].into()));
        assert_eq!(parse_address("0100"), None);
    }
}
