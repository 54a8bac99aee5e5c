//! Captured bytes belong to the steps that saw them.

use super::*;

fn captured(hop: Hop, bytes: &[u8]) -> Hop {
    Hop {
        frame: Some(bytes.into()),
        ..hop
    }
}

/// The bytes of each step's frames.
fn bytes(journey: &Journey) -> Vec<Vec<&[u8]>> {
    let steps = journey.steps.iter();
    let steps = steps.map(|step| step.frames().iter().map(|frame| &*frame.bytes).collect());
    steps.collect()
}

#[test]
fn each_step_has_the_frames_of_its_pieces() {
    let mut stage = Stage::new();
    let whole = tcp(1000, 3000, 5);
    stage.see(0, &captured(hop(FROM_POD, 0, 1, &whole), b"whole"));
    let tagged = Hop {
        vlan: Some(7),
        ..hop(OUT, 1, 1, &whole)
    };
    stage.see(0, &captured(tagged, b"tagged"));
    for (time, seq, name) in [(11, 1000, b"one"), (12, 2000, b"two"), (13, 3000, b"six")] {
        let piece = tcp(seq, 1000, 5);
        let skb = u64::from(seq);
        stage.see(1, &captured(hop(IN, time, skb, &piece), name));
        stage.see(1, &hop(TO_POD, time + 10, skb, &piece));
    }
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 1);
    let expected: [&[&[u8]]; 4] = [&[b"whole"], &[b"tagged"], &[b"one", b"two", b"six"], &[]];
    assert_eq!(bytes(&journeys[0]), expected);
    let [first, second, third, last] = &*journeys[0].steps else {
        panic!("{journeys:?}");
    };
    assert_eq!(
        (first.frames()[0].len, second.frames()[0].len),
        (3066, 3070)
    );
    let times: Vec<i64> = third.frames().iter().map(|frame| frame.time).collect();
    assert_eq!(times, [11, 12, 13]);
    assert_eq!(last.captured, None);
}

/// If GRO merges packets of two journeys, the frame belongs to both.
#[test]
fn a_frame_of_several_journeys_goes_with_each() {
    let mut stage = Stage::new();
    for (time, seq) in [(1_i64, 0), (2, 1000)] {
        let packet = tcp(seq, 1000, 5);
        let skb = time.cast_unsigned();
        stage.see(0, &captured(hop(FROM_POD, time, skb, &packet), b"own"));
        stage.see(0, &hop(OUT, time + 5, skb, &packet));
    }
    let merged = tcp(0, 2000, 5);
    stage.see(1, &captured(hop(IN, 20, 9, &merged), b"merged"));
    stage.see(1, &hop(TO_POD, 21, 9, &merged));
    let journeys = stage.finished();
    assert_eq!(journeys.len(), 2);
    for journey in &journeys {
        let expected: [&[&[u8]]; 4] = [&[b"own"], &[], &[b"merged"], &[]];
        assert_eq!(bytes(journey), expected);
    }
}
