//! Frames: what the kernel programs do with one before they copy from it.

use tracer_common::{
    config::TunnelPorts,
    filter::{
        Decision, Identity, MAX_RULES, NEIGHBOUR, Rule, SIDE_A, Spot, Tables, candidate, decide,
        sampling_hash,
    },
    glance::is_miss,
    layers::TunnelKind,
    layers::{Layers, Network},
    walk::{MAX_OFFSET, MAX_TUNNELS, quoted, walk as walk_frame},
};

const PORTS: TunnelPorts = TunnelPorts {
    vxlan: [8472, 4789, 0, 0],
    geneve: [6081, 0, 0, 0],
};

/// An IPv4 header without options (RFC 791, 3.1).
const IPV4_LEN: usize = 20;

/// The longest IPv4 header: no offset after the last check of one is further.
const MAX_IPV4_LEN: usize = 60;

/// A filter that everything concerns, or about half of all addresses.
struct Many(u32);

impl Tables for Many {
    fn may_concern(&self, spot: Spot) -> bool {
        spot.word & self.0 == 0
    }

    fn identity(&self, address: &[u8; 16]) -> Identity {
        Identity {
            class: u32::from(address[15]),
            flags: NEIGHBOUR | SIDE_A,
        }
    }

    fn pair(&self, from: u32, to: u32) -> Option<u32> {
        assert!(from != 0 && to != 0, "there is no class 0");
        (from != to).then_some(from)
    }

    fn rule(&self, _: u32, index: u32) -> Rule {
        assert!(index < MAX_RULES as u32, "there is no rule {index}");
        Rule {
            src_port: 53,
            holds: 1,
            ..Rule::default()
        }
    }
}

/// Walks a frame, or a packet without Ethernet header if the first byte is
/// odd, and filters it.
///
/// # Panics
/// If offsets lie, or a glance disagrees with the walk.
pub fn walk(data: &[u8]) {
    let Some((first, frame)) = data.split_first() else {
        return;
    };
    let ethernet = first & 1 == 0;
    let found = walk_frame(frame, ethernet, &PORTS);
    for explain in [false, true] {
        let half = Many(1);
        if !is_miss(frame, ethernet, &PORTS, &half, explain) {
            continue;
        }
        let walked = found.expect("what is a miss at a glance can be walked");
        let passes = walked.map(|layers| candidate(frame, &layers, &half, explain));
        assert!(
            matches!(passes, None | Some(Ok(None))),
            "a glance disagrees: {walked:?}"
        );
    }
    let Ok(Some(layers)) = found else {
        return;
    };
    offsets_are_in(frame, &layers);
    for explain in [false, true] {
        let Ok(Some(ends)) = candidate(frame, &layers, &Many(0), explain) else {
            continue;
        };
        let decision = decide(frame, &ends, &Many(0));
        let again = decide(frame, &ends, &Many(0));
        assert_eq!(decision, again);
        if decision != Decision::Miss {
            assert!(ends.src(frame).is_some() && ends.dst(frame).is_some());
        }
        let _hash: u64 = sampling_hash(frame, &layers, None);
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
