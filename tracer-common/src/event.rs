//! The record that crosses the ring buffer: one packet seen at one
//! observation point.
//!
//! The kernel program finds the innermost packet and copies its headers unchanged;
//! user space decodes them. So the program stays short, and
//! the decoder can grow without the verifier. No payload leaves the kernel, only
//! a keyed hash of its first bytes, and the 12-byte header of DNS.
//!
//! With `--snaplen`, the frame's first bytes follow the event in its record, as many as
//! there are ([`split`]).
//!
//! The record has only integers and explicit padding. Any bytes are a valid value, so
//! reading a record from the ring buffer cannot go wrong.
//!
//! Invariant 2 (ARCHITECTURE.md): sizes are asserted below. Invariant 8: a new field must
//! hold no payload.

/// Number of bytes of the network header that are copied: IPv6's fixed header, IPv4's without
/// options, or 28 of ARP.
pub const NETWORK_BYTES: usize = 40;

/// Limit of copied bytes of the transport header. TCP's header is copied with all options. An
/// ICMP error's header is copied with the quoted network header, as in
/// [`HopEvent::network_header`]. If they are quoted, eight more bytes follow, from behind that
/// header and its extension headers.
pub const TRANSPORT_BYTES: usize = 60;

/// Port of DNS (RFC 1035, 4.2). With UDP on this port, the DNS header is copied, too.
pub const DNS_PORT: u16 = 53;

/// Flag of [`HopEvent`]: the kernel keeps a VLAN tag beside the frame.
pub const VLAN: u8 = 1;
/// Flag of [`HopEvent`]: the frame has an Ethernet header.
pub const ETHERNET: u8 = 2;
/// Flag of [`HopEvent`]: the payload's hash is known. For a freed packet whose payload lies
/// in page fragments, it is not.
pub const HASHED: u8 = 4;
/// Flag of [`HopEvent`]: the VLAN tag beside the frame is a service tag (IEEE 802.1ad).
/// Programs set it only if they capture frames, because nothing else needs it.
pub const SERVICE_TAG: u8 = 8;

/// Place of [`HopEvent`]: at tc; the packet comes in from the interface, as its namespace sees
/// it.
pub const INGRESS: u8 = 0;
/// Place of [`HopEvent`]: at tc; the packet goes out by the interface.
pub const EGRESS: u8 = 1;
/// Place of [`HopEvent`]: at XDP; the packet comes in from the interface.
pub const XDP: u8 = 2;
/// Number of places.
pub const PLACES: u8 = 3;

/// Limit of captured bytes per frame: enough for a whole frame with an MTU of 1,500, in any
/// tunnel.
pub const MAX_SNAPLEN: usize = 2048;

/// One packet at one observation point, in native byte order. Only addresses and the copied
/// headers are in network byte order.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopEvent {
    /// `CLOCK_MONOTONIC` of the node, ns.
    pub time: u64,
    /// Address of the sk_buff plus the node's salt. It identifies a packet only within the
    /// node, and only while the packet lives. 0 at [`XDP`], where no sk_buff exists yet.
    pub skb: u64,
    /// Keyed hash of the payload's first bytes
    /// ([`crate::hash::payload_hash`]). 0 for TCP, because segmentation
    /// changes which bytes are a packet's first. Invalid without [`HASHED`].
    pub payload_hash: u64,
    /// Interface index, within the program's network namespace.
    pub ifindex: u32,
    /// Generation of the filter that matched the packet.
    pub generation: u32,
    /// `skb->len`: bytes from the first header on, all segments together.
    pub len: u32,
    /// IPv4 identification, or the identification in the fragment header of IPv6.
    pub fragment_id: u32,
    /// VNI of the innermost tunnel, as [`crate::layers::Tunnel::vni`].
    pub vni: u32,
    /// Number of segments that the packet will be cut into (`gso_segs`); 0 if it will not be
    /// cut.
    pub gso_segs: u16,
    /// IANA protocol number of the packet that an ICMP error quotes, after its extension
    /// headers.
    pub quote_proto: u8,
    /// Always 0.
    pub padding: u8,
    /// Outer source address of the innermost tunnel, IPv4 as `::ffff:a.b.c.d`.
    pub outer_src: [u8; 16],
    /// Outer destination address of the innermost tunnel, IPv4 as `::ffff:a.b.c.d`.
    pub outer_dst: [u8; 16],
    /// MAC addresses of the frame at this point: destination, then source. Only
    /// with [`ETHERNET`].
    pub macs: [u8; 12],
    /// Offset of the innermost network header, bytes.
    pub l3: u16,
    /// Offset of the innermost transport header, bytes.
    pub l4: u16,
    /// Fragment bits, as [`crate::layers::Layers::fragment`].
    pub fragment: u16,
    /// Control information (TCI) of the VLAN tag that the kernel keeps beside the frame, host
    /// byte order. Only with [`VLAN`].
    pub vlan_tci: u16,
    /// Bits: [`VLAN`], [`ETHERNET`], [`HASHED`] and [`SERVICE_TAG`].
    pub flags: u8,
    /// Place at the interface: [`INGRESS`], [`EGRESS`] or [`XDP`].
    pub place: u8,
    /// [`crate::layers::Network`] of the innermost packet.
    pub network: u8,
    /// IANA protocol number of the innermost packet.
    pub proto: u8,
    /// [`crate::layers::TunnelKind`] of the innermost tunnel; 0 without a tunnel.
    pub tunnel: u8,
    /// Number of tunnels around the innermost packet.
    pub levels: u8,
    /// Number of valid bytes in `network_header`.
    pub network_len: u8,
    /// Number of valid bytes in `transport_header`; fewer than the header has if the packet
    /// ends earlier.
    pub transport_len: u8,
    /// The innermost network header, network byte order.
    pub network_header: [u8; NETWORK_BYTES],
    /// The innermost transport header, network byte order.
    pub transport_header: [u8; TRANSPORT_BYTES],
}

const _: () = assert!(size_of::<HopEvent>() == 208);
const _: () = assert!(
    size_of::<HopEvent>()
        == 8 * 3 + 4 * 5 + 2 + 2 + 16 * 2 + 6 * 2 + 2 * 4 + 8 + NETWORK_BYTES + TRANSPORT_BYTES
);

impl HopEvent {
    /// An event of zeros.
    pub const ZERO: Self = Self {
        time: 0,
        skb: 0,
        payload_hash: 0,
        ifindex: 0,
        generation: 0,
        len: 0,
        fragment_id: 0,
        vni: 0,
        gso_segs: 0,
        quote_proto: 0,
        padding: 0,
        outer_src: [0; 16],
        outer_dst: [0; 16],
        macs: [0; 12],
        l3: 0,
        l4: 0,
        fragment: 0,
        vlan_tci: 0,
        flags: 0,
        place: 0,
        network: 0,
        proto: 0,
        tunnel: 0,
        levels: 0,
        network_len: 0,
        transport_len: 0,
        network_header: [0; NETWORK_BYTES],
        transport_header: [0; TRANSPORT_BYTES],
    };

    /// Reads an event from `bytes`; `None` if their number is not an event's size.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: `bytes` holds as many bytes as `Self`, which consists of
        // integers without padding, so that any bytes are a value of it;
        // nothing is assumed of their alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// Splits a record into its event and the captured bytes of the frame, often none. `None` if
/// the record is shorter than an event, or longer than any program makes it.
#[must_use]
pub fn split(record: &[u8]) -> Option<(HopEvent, &[u8])> {
    let (event, frame) = record.split_at_checked(size_of::<HopEvent>())?;
    let event = HopEvent::from_bytes(event)?;
    (frame.len() <= MAX_SNAPLEN).then_some((event, frame))
}
