//! What a walk finds: where the innermost packet lies, the tunnel around it, or why nobody knows.

/// What the walk found a packet to be at the network layer.
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

/// Where the innermost packet lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Offset of the innermost network header.
    pub l3: usize,
    /// Offset of what follows that header and its options or extension headers.
    pub l4: usize,
    /// Kind of the innermost network header.
    pub network: Network,
    /// IANA protocol number of the header at `l4`; 0 for ARP.
    pub proto: u8,
    /// Offset behind the packet's last byte, as its header states, but no further than
    /// the end of the packet around it. Bytes of the frame behind `end` are padding. A
    /// truncated frame may end earlier.
    pub end: usize,
    /// Fragment offset in units of 8 bytes ([`FRAGMENT_OFFSET`]),
    /// [`MORE_FRAGMENTS`] and [`FRAGMENT_HEADER`].
    pub fragment: u16,
    /// IPv4 identification, or that of the IPv6 fragment header.
    pub fragment_id: u32,
    /// See [`Layers::tunnel`]. Not an `Option`: without a tunnel, some bytes of an `Option`
    /// would stay unwritten, and before Linux 6.3 no program may copy unwritten bytes.
    pub(crate) tunnel: Tunnel,
}

/// Bits of [`Layers::fragment`]: the offset.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Bit of [`Layers::fragment`]: more fragments follow (RFC 791's MF).
pub const MORE_FRAGMENTS: u16 = 1 << 13;
/// Bit of [`Layers::fragment`]: there is an IPv6 fragment header, even if all of
/// the packet is behind it (RFC 6946, "atomic fragment").
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
    /// A version or header length that no packet can have.
    Malformed,
    /// More tunnels, VLAN tags or extension headers than the walk follows.
    TooDeep,
    /// The packet lies behind a header that the walk does not parse: MPLS (RFC 3032) or
    /// PPPoE (RFC 2516).
    Unknown,
}

/// How a tunnel carries packets.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// Frames in UDP (RFC 7348).
    Vxlan = 1,
    /// IP packets in IP packets, of any two versions (RFC 2003, 2473, 4213).
    IpIp = 2,
    /// Frames or IP packets in UDP (RFC 8926).
    Geneve = 3,
    /// Frames or IP packets in IP packets (RFC 2784), without a key.
    Gre = 4,
    /// The same with a key (RFC 2890), which may be 0.
    GreKeyed = 5,
}

/// The tunnel that carries the innermost packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// How many tunnels the packet is in.
    pub levels: u8,
    /// How it carries the packet.
    pub kind: TunnelKind,
    /// [`Network::V4`] or [`Network::V6`].
    pub outer: Network,
    /// Offset of the tunnel's own IP header.
    pub outer_l3: usize,
    /// Network identifier of VXLAN or Geneve, 24 bits; GRE's key; 0 of the
    /// others.
    pub vni: u32,
}

impl Tunnel {
    /// None at all.
    pub(crate) const NONE: Self = Self {
        levels: 0,
        kind: TunnelKind::IpIp,
        outer: Network::V4,
        outer_l3: 0,
        vni: 0,
    };
}

/// Whether packets of this EtherType, as network-types numbers it, may carry IP
/// behind a header that the walk does not parse: MPLS (RFC 5332 for the second)
/// and PPPoE sessions.
#[inline(always)]
#[must_use]
pub const fn is_unread(ether_type: u16) -> bool {
    const MPLS: u16 = 0x8847_u16.to_be();
    const MPLS_MULTICAST: u16 = 0x8848_u16.to_be();
    const PPPOE: u16 = 0x8864_u16.to_be();

    matches!(ether_type, MPLS | MPLS_MULTICAST | PPPOE)
}
