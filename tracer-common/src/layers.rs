//! The result of a walk: offsets of the innermost packet, the tunnel around it, or the reason
//! why the walk failed.

/// The network protocol of a packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// IPv4 (RFC 791).
    V4 = 4,
    /// IPv6 (RFC 8200).
    V6 = 6,
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp = 8,
}

/// Offsets and properties of the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Offset of the innermost network header, bytes.
    pub l3: usize,
    /// Offset of the first byte after that header and its options or extension headers.
    pub l4: usize,
    /// Kind of the innermost network header.
    pub network: Network,
    /// IANA protocol number of the header at `l4`; 0 for ARP.
    pub proto: u8,
    /// Offset after the packet's last byte, as its header states, but at most the end of the
    /// packet around it. Bytes of the frame after `end` are padding. A truncated frame may end
    /// earlier.
    pub end: usize,
    /// Fragment offset in units of 8 bytes ([`FRAGMENT_OFFSET`]),
    /// [`MORE_FRAGMENTS`] and [`FRAGMENT_HEADER`].
    pub fragment: u16,
    /// IPv4 identification, or the identification in the fragment header of IPv6.
    pub fragment_id: u32,
    /// See [`Layers::tunnel`]. Not an `Option`: without a tunnel, some bytes of an `Option`
    /// would stay unwritten, and before Linux 6.3 no program may copy unwritten bytes.
    pub(crate) tunnel: Tunnel,
}

/// Bits of [`Layers::fragment`]: the offset.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Bit of [`Layers::fragment`]: more fragments follow (RFC 791's MF).
pub const MORE_FRAGMENTS: u16 = 1 << 13;
/// Bit of [`Layers::fragment`]: the packet has an IPv6 fragment header. The packet may still be
/// whole (RFC 6946, "atomic fragment").
pub const FRAGMENT_HEADER: u16 = 1 << 14;

impl Layers {
    /// The tunnel around the innermost packet, if any.
    #[inline(always)]
    #[must_use]
    pub fn tunnel(&self) -> Option<Tunnel> {
        (self.tunnel.levels > 0).then_some(self.tunnel)
    }

    /// Whether `l4` holds a transport header. A later fragment has none.
    #[inline(always)]
    #[must_use]
    pub const fn has_transport(&self) -> bool {
        self.fragment & FRAGMENT_OFFSET == 0
    }

    /// Whether the packet has a transport header, and states at least `bytes` from `l4` on.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, bytes: usize) -> bool {
        self.has_transport() && self.l4 + bytes <= self.end
    }
}

/// Why a packet cannot be parsed, so that nobody knows whether it belongs to a follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// The packet, or its readable part, ends within a header.
    Short,
    /// A version or header length is one that no packet can have.
    Malformed,
    /// The packet has more tunnels, VLAN tags or extension headers than the walk follows.
    TooDeep,
    /// The packet lies behind a header that the walk does not parse: MPLS (RFC 3032) or
    /// PPPoE (RFC 2516).
    Unknown,
}

/// Kind of a tunnel.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// VXLAN: frames in UDP (RFC 7348).
    Vxlan = 1,
    /// IP packets in IP packets, in any combination of versions (RFC 2003, 2473, 4213).
    IpIp = 2,
    /// Geneve: frames or IP packets in UDP (RFC 8926).
    Geneve = 3,
    /// GRE without a key: frames or IP packets in IP packets (RFC 2784).
    Gre = 4,
    /// GRE with a key (RFC 2890), which may be 0.
    GreKeyed = 5,
}

/// The tunnel that carries the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Number of tunnels around the packet.
    pub levels: u8,
    /// Kind of the innermost tunnel.
    pub kind: TunnelKind,
    /// Version of the tunnel's own IP header: [`Network::V4`] or [`Network::V6`].
    pub outer: Network,
    /// Offset of the tunnel's own IP header.
    pub outer_l3: usize,
    /// Network identifier (VNI) of VXLAN or Geneve, 24 bits, or GRE's key; 0 for other tunnels.
    pub vni: u32,
}

impl Tunnel {
    /// No tunnel.
    pub(crate) const NONE: Self = Self {
        levels: 0,
        kind: TunnelKind::IpIp,
        outer: Network::V4,
        outer_l3: 0,
        vni: 0,
    };
}

/// Whether packets of this EtherType may carry IP after a header that the walk does not parse:
/// MPLS (RFC 3032, 5332) and PPPoE sessions (RFC 2516). The number is in the byte order of
/// network-types.
#[inline(always)]
#[must_use]
pub const fn is_unread(ether_type: u16) -> bool {
    const MPLS: u16 = 0x8847_u16.to_be();
    const MPLS_MULTICAST: u16 = 0x8848_u16.to_be();
    const PPPOE: u16 = 0x8864_u16.to_be();

    matches!(ether_type, MPLS | MPLS_MULTICAST | PPPOE)
}
