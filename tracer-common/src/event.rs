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

/// Bytes of the network header that are copied: IPv6's fixed header, IPv4's
/// without options, ARP's 28.
pub const NETWORK_BYTES: usize = 40;

/// Bytes of the transport header that are copied at most: TCP's with all
/// options; an ICMP error's with the quoted network header as in
/// [`HopEvent::network_header`], and the first eight bytes of what follows that
/// and its extension headers, where they are quoted.
pub const TRANSPORT_BYTES: usize = 60;

/// The port at which names are asked for (RFC 1035, 4.2): of UDP there, DNS's header is
/// copied, too.
pub const DNS_PORT: u16 = 53;

/// Flag of [`HopEvent`]: the kernel keeps a VLAN tag beside the frame.
pub const VLAN: u8 = 1;
/// Flag of [`HopEvent`]: the frame has an Ethernet header.
pub const ETHERNET: u8 = 2;
/// Flag of [`HopEvent`]: the payload's hash is known. For a freed packet whose payload lies
/// in page fragments, it is not.
pub const HASHED: u8 = 4;
/// Flag of [`HopEvent`]: the VLAN tag beside the frame is a service tag (IEEE 802.1ad).
/// Programs tell so only where they capture, and else nobody asks.
pub const SERVICE_TAG: u8 = 8;

/// Place of [`HopEvent`]: in from the interface, as its namespace sees it, at tc.
pub const INGRESS: u8 = 0;
/// Place of [`HopEvent`]: out through it, at tc.
pub const EGRESS: u8 = 1;
/// Place of [`HopEvent`]: in from it, at XDP.
pub const XDP: u8 = 2;
/// How many places there are.
pub const PLACES: u8 = 3;

/// The most that is captured of a frame: all of one whose MTU is 1,500, in any tunnel.
pub const MAX_SNAPLEN: usize = 2048;

/// One packet at one observation point, in native byte order. Only addresses and the copied
/// headers are in network byte order.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopEvent {
    /// `CLOCK_MONOTONIC` of the node, ns.
    pub time: u64,
    /// Address of the sk_buff plus the node's salt. It identifies a packet only within the
    /// node, and only while the packet lives. 0 at [`XDP`], where there is none yet.
    pub skb: u64,
    /// Keyed hash of the payload's first bytes
    /// ([`crate::hash::payload_hash`]). 0 for TCP, because segmentation
    /// changes which bytes are a packet's first. Invalid without [`HASHED`].
    pub payload_hash: u64,
    /// Interface index, within the program's namespace.
    pub ifindex: u32,
    /// Generation of the filter that matched.
    pub generation: u32,
    /// `skb->len`: bytes from the first header on, all segments together.
    pub len: u32,
    /// IPv4 identification or that of the IPv6 fragment header.
    pub fragment_id: u32,
    /// VNI of the innermost tunnel, as [`crate::layers::Tunnel::vni`].
    pub vni: u32,
    /// Segments this packet will be cut into (`gso_segs`), 0 if it is whole.
    pub gso_segs: u16,
    /// Protocol of the packet that an ICMP error quotes, behind its extension
    /// headers.
    pub quote_proto: u8,
    /// Always 0.
    pub padding: u8,
    /// Outer addresses of the innermost tunnel; IPv4 as `::ffff:a.b.c.d`.
    pub outer_src: [u8; 16],
    /// See `outer_src`.
    pub outer_dst: [u8; 16],
    /// MAC addresses of the frame at this point: destination, then source. Only
    /// with [`ETHERNET`].
    pub macs: [u8; 12],
    /// Offset of the innermost network header.
    pub l3: u16,
    /// Offset of the innermost transport header.
    pub l4: u16,
    /// As [`crate::layers::Layers::fragment`].
    pub fragment: u16,
    /// VLAN tag that the kernel keeps beside the frame, host byte order. Only
    /// with [`VLAN`].
    pub vlan_tci: u16,
    /// [`VLAN`], [`ETHERNET`], [`HASHED`] and [`SERVICE_TAG`].
    pub flags: u8,
    /// Where at the interface it was seen: [`INGRESS`], [`EGRESS`] or [`XDP`].
    pub place: u8,
    /// [`crate::layers::Network`] of the innermost packet.
    pub network: u8,
    /// Protocol of the innermost packet.
    pub proto: u8,
    /// [`crate::layers::TunnelKind`] of the innermost tunnel, 0 without one.
    pub tunnel: u8,
    /// Tunnels around the innermost packet.
    pub levels: u8,
    /// Bytes valid in `network_header`.
    pub network_len: u8,
    /// Bytes valid in `transport_header`: fewer than the header has where the
    /// packet ends before.
    pub transport_len: u8,
    /// The innermost network header.
    pub network_header: [u8; NETWORK_BYTES],
    /// The innermost transport header.
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

    /// The event in `bytes`, if they are as many as an event has.
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

/// A record's event, and the bytes that were captured of its frame, often none.
/// `None` if it is too short for an event, or longer than any program makes one.
#[must_use]
pub fn split(record: &[u8]) -> Option<(HopEvent, &[u8])> {
    let (event, frame) = record.split_at_checked(size_of::<HopEvent>())?;
    let event = HopEvent::from_bytes(event)?;
    (frame.len() <= MAX_SNAPLEN).then_some((event, frame))
}
