//! Records: what a ring buffer may hold.

use tracer_common::{
    drop::DropEvent,
    event::{HopEvent, MAX_SNAPLEN},
};
use tracer_core::model::{Packet, Transport};

use crate::decode::{Malformed, freed, hop};

/// Decodes bytes as they are, and filled up or cut to what a record of hops
/// and one of drops has.
///
/// # Panics
/// If a record of the right length is malformed for its length, or what is
/// decoded states what no packet can.
pub fn decode(data: &[u8]) {
    let _any: Result<_, Malformed> = hop(data, |_, _| Some(0));
    let _any: Result<_, Malformed> = freed(data);

    let mut record = data.to_vec();
    record.resize(size_of::<HopEvent>(), 0);
    let event = HopEvent::from_bytes(&record).expect("as long as an event");
    let seen = hop(&record, |ifindex, _| (ifindex & 1 == 0).then_some(7));
    match &seen {
        Ok(hop) => {
            assert_eq!((hop.point, hop.time, hop.skb), (7, event.time, event.skb));
            assert!(hop.segments >= 1);
            assert_eq!(hop.encap.is_some(), event.levels != 0);
            is_plausible(&hop.packet);
        }
        Err(malformed) => assert_ne!(*malformed, Malformed::Length),
    }

    // What was captured changes nothing of the packet.
    let mut captured = record.clone();
    captured.extend(data.iter().take(MAX_SNAPLEN));
    if let (Ok(seen), Ok(with)) = (&seen, hop(&captured, |_, _| Some(7))) {
        assert_eq!((&seen.packet, seen.len), (&with.packet, with.len));
        assert_eq!(with.frame.is_some(), !data.is_empty());
    }

    let mut record = data.to_vec();
    record.resize(size_of::<DropEvent>(), 0);
    let event = DropEvent::from_bytes(&record).expect("as long as an event");
    let drop = freed(&record);
    assert_eq!(drop.is_ok(), event.scope <= 3, "{drop:?}");
    let Ok(drop) = drop else {
        return;
    };
    if let Some(packet) = &drop.packet {
        is_plausible(packet);
    }
    // The same headers are the same packet, passing or freed.
    let at = size_of::<DropEvent>() - size_of::<HopEvent>();
    if let Ok(hop) = hop(&record[at..], |_, _| Some(0)) {
        assert_eq!(drop.packet.as_ref(), Some(&hop.packet));
        assert_eq!(drop.encap, hop.encap);
    }
    assert!(drop.device.is_none_or(|name| !name.contains('\0')));
}

/// Whether a packet can be what it says it is.
fn is_plausible(packet: &Packet) {
    if let Some(tcp) = packet.stream_data() {
        assert!(tcp.payload_len <= packet.len, "{packet:?}");
    }
    if let Some((offset, _)) = packet.fragment {
        assert_eq!(offset % 8, 0, "{packet:?}");
        // What is in the middle of a packet is no header.
        let later = matches!(packet.transport, Transport::Other(_));
        assert!(offset == 0 || later, "{packet:?}");
    }
    assert_eq!(packet.src.is_ipv4(), packet.dst.is_ipv4(), "{packet:?}");
    assert!(!packet.proto().to_string().is_empty());
}
