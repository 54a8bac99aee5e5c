//! Frames: what the kernel programs do with one before they copy from it.

use tracer_common::{
    config::TunnelPorts,
    filter::{Decision, NEIGHBOUR, Rule, Sides, Tables, candidate, decide, sampling_hash},
    packet::Packet,
    tunnel::TunnelKind,
    walk::{
        Layers, MAX_OFFSET, MAX_TUNNELS, Network, Unparsed, quoted, tag_len, walk as walk_frame,
    },
};

const PORTS: TunnelPorts = TunnelPorts {
    vxlan: [8472, 4789, 0, 0],
    geneve: [6081, 0, 0, 0],
};

/// An IPv4 header without options (RFC 791, 3.1).
const IPV4_LEN: usize = 20;

/// The longest IPv4 header: no offset after the last check of one is further.
const MAX_IPV4_LEN: usize = 60;

/// Reads as the programs' first look does: plain headers only.
struct Plain<'a>(&'a [u8]);

impl Packet for Plain<'_> {
    const PLAIN_ONLY: bool = true;

    fn end(&self) -> usize {
        self.0.len()
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.read(offset)
    }
}

/// A filter that everything concerns.
struct Everything;

impl Tables for Everything {
    fn may_concern(&self, _: u32) -> bool {
        true
    }

    fn sides(&self, address: &[u8; 16]) -> Sides {
        Sides {
            a: u64::from(address[15]),
            b: u64::from(address[14]),
            flags: NEIGHBOUR,
            padding: 0,
        }
    }

    fn rule(&self, index: u32) -> Rule {
        assert!(index < 8, "there is no rule {index}");
        Rule {
            pairs: 1 << index,
            a_port: 53,
            ..Rule::default()
        }
    }
}

/// Walks a frame, or a packet without Ethernet header if the first byte is
/// odd, and filters it.
///
/// # Panics
/// If offsets lie, or the first look and the thorough one disagree.
pub fn walk(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    let ethernet = first & 1 == 0;
    let found = walk_frame(frame, ethernet, &PORTS);
    let tag = if ethernet {
        tag_len(frame).unwrap_or(0)
    } else {
        0
    };
    match walk_frame(&Plain(&frame[tag..]), ethernet, &PORTS) {
        Err(Unparsed::Short) => {}
        plain => {
            let plain = plain.map(|layers| layers.map(|layers| layers.behind(tag)));
            assert_eq!(plain, found, "the first look disagrees");
        }
    }
    let Ok(Some(layers)) = found else {
        return;
    };
    offsets_are_in(frame, &layers);
    for explain in [false, true] {
        let Ok(Some(ends)) = candidate(frame, &layers, &Everything, explain) else {
            continue;
        };
        let decision = decide(frame, &ends, &Everything);
        let again = decide(frame, &ends, &Everything);
        assert_eq!(decision, again);
        if decision != Decision::Miss {
            assert!(ends.src(frame).is_some() && ends.dst(frame).is_some());
        }
        let hash = sampling_hash(frame, &layers, &ends);
        assert_eq!(hash, sampling_hash(frame, &layers, &ends));
    }
}

fn offsets_are_in(frame: &[u8], layers: &Layers) {
    let header = match layers.network {
        Network::V4 => layers.l3 + IPV4_LEN,
        Network::V6 => layers.l3 + 40,
        Network::Arp => layers.l3 + 28,
    };
    assert!(
        header <= frame.len(),
        "the network header is not all there: {layers:?}"
    );
    assert!(layers.l4 >= layers.l3, "{layers:?}");
    assert!(layers.l4 <= MAX_OFFSET + MAX_IPV4_LEN + 64, "{layers:?}");
    if let Some(tunnel) = layers.tunnel() {
        assert!((1..=MAX_TUNNELS).contains(&tunnel.levels), "{layers:?}");
        assert!(tunnel.outer_l3 < layers.l3, "{layers:?}");
        assert!(tunnel.outer != Network::Arp, "{layers:?}");
        match tunnel.kind {
            TunnelKind::Vxlan | TunnelKind::Geneve => {
                assert!(tunnel.vni < 1 << 24, "{layers:?}");
            }
            TunnelKind::IpIp | TunnelKind::Gre => assert_eq!(tunnel.vni, 0, "{layers:?}"),
            TunnelKind::GreKeyed => {}
        }
    }
    if let Ok(Some(quote)) = quoted(frame, layers) {
        assert!(quote.l3 > layers.l4, "{layers:?}");
        assert_eq!(quote.network, layers.network);
    }
}
