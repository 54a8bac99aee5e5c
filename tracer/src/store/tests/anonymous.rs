//! What is replaced in a recording that is given away.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*};
use tracer_core::{
    input::{Batch, Gained, Lost, OwnersChange},
    model::{Fact, Freed, Icmp, Owner, OwnerKind, Packet, Place, Quote, Transport},
};

use super::{given, head};
use crate::store::Anonymizer;

const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 5));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// No address, name or MAC is left.
    #[test]
    fn anonymized_it_names_nobody(sent in vec((0..2_usize, given::batch()), 1..4)) {
        let mut anonymizer = Anonymizer::new();
        let replaced = anonymizer.head(head());
        prop_assert!(replaced.nodes.iter().all(|hello| hello.snaplen == 0));
        let text = format!("{replaced:?}");
        let kernel = replaced.nodes[0].kernel.as_ref();
        prop_assert_eq!(kernel.map(|kernel| &*kernel.release), Some("6.18.5"));
        for name in ["node-a", "web", "shop", "cart", "veth0", "veth3", "10.244", "192.168", "a-boot", "remark", "gap"] {
            prop_assert!(!text.contains(name), "{name} in {text}");
        }
        for (_, batch) in &sent {
            let replaced = anonymizer.batch(batch);
            prop_assert_eq!(replaced.hops.len(), batch.hops.len());
            for (hop, original) in replaced.hops.iter().zip(&batch.hops) {
                prop_assert_eq!(hop.time, original.time);
                prop_assert!(hop.frame.is_none());
                prop_assert_eq!(hop.packet.ports(), original.packet.ports());
                prop_assert_eq!(hop.packet.dst.is_multicast(), original.packet.dst.is_multicast());
                let (new, old) = (hop.packet.dst, original.packet.dst);
                prop_assert!(new != old || old.is_unspecified() || old.is_loopback());
                // The same one everywhere.
                let again = anonymizer.batch(batch);
                prop_assert_eq!(&again.hops, &replaced.hops);
            }
        }
    }
}

/// Whoever gets an address is named as before, and as in the names of its packets.
#[test]
fn owners_that_change_are_replaced_as_elsewhere() {
    let mut anonymizer = Anonymizer::new();
    let head = anonymizer.head(head());
    let (address, web) = head.owners.all_at(0).next().expect("an owner");
    let pod = |name: &str| Owner {
        name: name.to_owned(),
        kind: OwnerKind::Pod,
        node: "node-a".to_owned(),
    };
    let change = OwnersChange {
        time: 7,
        lost: vec![Lost {
            address: WEB,
            name: "default/web".to_owned(),
            kind: OwnerKind::Pod,
        }],
        gained: vec![Gained {
            address: WEB,
            owner: pod("default/api"),
        }],
        asked: Vec::new(),
    };
    let replaced = anonymizer.owners_changed(&change);
    assert_eq!(replaced.time, 7);
    assert_eq!(replaced.lost[0].address, address);
    assert_eq!(replaced.lost[0].name, web.name);
    assert_eq!(replaced.gained[0].address, address);
    let gained = &replaced.gained[0].owner;
    assert!(gained.name.starts_with("namespace/pod-"), "{gained:?}");
    assert_eq!(gained.node, web.node);
    assert_ne!(gained.name, web.name);
    let text = format!("{replaced:?}");
    assert!(!text.contains("api") && !text.contains("10.244"), "{text}");
}

/// What is written of a packet, of which the rest is like any other.
fn replaced(anonymizer: &mut Anonymizer, packet: Packet) -> Packet {
    let batch = Batch {
        freed: vec![freed("0xffffffff81000210", packet)],
        ..Batch::default()
    };
    let mut batch = anonymizer.batch(&batch);
    let freed = batch.freed.remove(0);
    assert_eq!(&*freed.place.function, "unknown");
    freed.packet.expect("it has one")
}

fn freed(function: &str, packet: Packet) -> Freed {
    Freed {
        time: 1,
        skb: 2,
        reason: "NOT_SPECIFIED".into(),
        place: Place {
            function: function.into(),
            offset: 0,
        },
        netns: None,
        scope: None,
        device: None,
        dst_mac: None,
        protocol: 0x800,
        encap: None,
        packet: Some(packet),
        facts: Arc::new([Fact::OwnAddress {
            address: [10, 244, 1, 5].into(),
        }]),
    }
}

fn packet(payload_hash: u64, transport: Transport) -> Packet {
    Packet {
        src: [10, 244, 1, 5].into(),
        dst: [10, 244, 2, 7].into(),
        ttl: 64,
        ip_id: None,
        fragment: None,
        len: 28,
        transport,
        payload_hash: Some(payload_hash),
    }
}

#[test]
fn hashes_are_equal_where_they_were_and_otherwise_tell_nothing() {
    let hash = |anonymizer: &mut Anonymizer, hash| {
        replaced(anonymizer, packet(hash, Transport::Other(99))).payload_hash
    };
    let (one, other) = (&mut Anonymizer::new(), &mut Anonymizer::new());
    assert_eq!(hash(one, 7), hash(one, 7));
    assert_ne!(hash(one, 7), hash(one, 8));
    assert_ne!(hash(one, 7), Some(7));
    assert_ne!(hash(one, 7), hash(other, 7), "the key is another's");
    assert_eq!(hash(one, 0), Some(0), "there is none");
    assert_eq!(one.head(head()).key, 0);
    assert!(one.head(head()).anonymized);
}

#[test]
fn what_is_made_of_addresses_is_left_out_of_quoted_headers() {
    let quoted = |proto, header| {
        let icmp = Icmp {
            v6: false,
            kind: 3,
            code: 3,
            echo: None,
            neighbour: None,
            quote: Some(Box::new(Quote {
                src: [10, 244, 1, 5].into(),
                dst: [10, 244, 2, 7].into(),
                proto,
                ports: None,
                ip_id: None,
                header: Some(header),
            })),
        };
        let replaced = replaced(&mut Anonymizer::new(), packet(0, Transport::Icmp(icmp)));
        match replaced.transport {
            Transport::Icmp(icmp) => icmp.quote.expect("it quotes").header,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        quoted(17, [1, 2, 3, 4, 5, 6, 7, 8]),
        Some([1, 2, 3, 4, 5, 6, 0, 0])
    );
    assert_eq!(quoted(6, [1; 8]), Some([1; 8]));
    assert_eq!(
        quoted(1, [8, 0, 3, 4, 5, 6, 7, 8]),
        Some([8, 0, 0, 0, 5, 6, 7, 8])
    );
    assert_eq!(
        quoted(58, [128, 0, 3, 4, 5, 6, 7, 8]),
        Some([128, 0, 0, 0, 5, 6, 7, 8])
    );
    assert_eq!(
        quoted(1, [5, 1, 3, 4, 10, 244, 1, 1]),
        Some([5, 1, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(quoted(99, [1; 8]), None);
}
