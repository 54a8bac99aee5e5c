//! Any bytes that a ring buffer may hold.

use proptest::prelude::*;
use tracer_common::drop::{DropEvent, NAME_BYTES, Scope};
use tracer_core::model::{Connection, Fact};

use super::*;

/// An event of the right length, with random values in most fields.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), size_of::<DropEvent>())
}

fn as_bytes(event: &DropEvent) -> Vec<u8> {
    let at: *const DropEvent = event;
    // SAFETY: an event has as many bytes, and consists of integers without
    // padding between them.
    unsafe { std::slice::from_raw_parts(at.cast::<u8>(), size_of::<DropEvent>()) }.to_vec()
}

#[test]
fn a_drop_without_readable_headers_is_still_a_drop() {
    let mut event = DropEvent {
        reason: 2,
        scope: Scope::Device as u8,
        ..DropEvent::ZERO
    };
    event.device[..4].copy_from_slice(b"eth0");
    event.hop.ifindex = 7;
    let drop = freed(&as_bytes(&event)).expect("whole");
    assert_eq!(drop.packet, None);
    assert_eq!(drop.device.as_deref(), Some("eth0"));
    assert_eq!(drop.event, event);
    assert_eq!(drop.scope, Some(Scope::Device));
    let unknown = DropEvent { scope: 4, ..event };
    assert_eq!(freed(&as_bytes(&unknown)), Err(Malformed::Field));
}

#[test]
fn what_the_sk_buff_held_is_told_unless_it_tells_nothing() {
    let context = |event: &DropEvent| freed(&as_bytes(event)).expect("whole").context;
    let mut event = DropEvent {
        scope: Scope::Device as u8,
        ..DropEvent::ZERO
    };
    event.hop.ifindex = 7;
    event.device[..4].copy_from_slice(b"eth0");
    event.outlet[..4].copy_from_slice(b"eth0");
    assert_eq!(context(&event), None, "routed out of where it was");
    event.outlet[..4].copy_from_slice(b"cni0");
    let told = |mark, connection| {
        Some(Fact::SkBuff {
            mark,
            connection,
            outlet: Some("cni0".to_owned()),
        })
    };
    assert_eq!(context(&event), told(0, None));
    event.mark = 0x4000;
    event.ct_info = 2;
    assert_eq!(context(&event), told(0x4000, Connection::of(2, 0)));
}

#[test]
fn a_drop_in_a_namespace_that_cannot_be_told_is_still_a_drop() {
    let drop = freed(&as_bytes(&DropEvent::ZERO)).expect("whole");
    assert_eq!((drop.scope, drop.event.netns), (None, 0));
}

proptest! {
    #[test]
    fn decoding_drops_is_total(mut bytes in bytes(), scope in 0_u8..5, network in 0_u8..9) {
        let at = 8 + 4 * 2 + NAME_BYTES + 2;
        bytes[at] = scope;
        let mut event = DropEvent::from_bytes(&bytes).expect("as long as an event");
        event.hop.network = network;
        event.hop.network_len %= 41;
        event.hop.transport_len %= 61;
        for bytes in [bytes, as_bytes(&event)] {
            let told = (0..=3).contains(&DropEvent::from_bytes(&bytes).expect("as long").scope);
            prop_assert_eq!(freed(&bytes).is_ok(), told);
        }
    }

    #[test]
    fn other_lengths_are_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if bytes.len() != size_of::<DropEvent>() {
            prop_assert_eq!(freed(&bytes), Err(Malformed::Length));
        }
    }
}
