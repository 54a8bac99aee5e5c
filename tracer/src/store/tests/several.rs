//! Recordings made apart, read as one.

use std::path::PathBuf;

use tracer_core::{
    input::{Batch, Record},
    model::{Owner, Owners},
};

use super::{Files, head, hello, some_batches};
use crate::store::{Head, Recordings, Rotation, Writer, unwatched_end};

/// A recording of another node, with `change`.
fn other(change: impl Fn(&mut Head)) -> Head {
    let mut other = head();
    other.recording = 8;
    other.nodes = vec![hello("node-c")];
    change(&mut other);
    other
}

/// Why a recording is not read as one with that of [`head`].
fn refusal(change: impl Fn(&mut Head)) -> String {
    let files = Files::new();
    let paths = [
        files.record("a.arrows", head(), &[]),
        files.record("b.arrows", other(change), &[]),
    ];
    let refused = Recordings::open(&paths).map(drop).expect_err("refused");
    refused.to_string()
}

/// What is read of two.
fn read(one: Head, other: Head, sent: [&[(usize, Batch)]; 2]) -> (Recordings, Files) {
    let files = Files::new();
    let paths = [
        files.record("a.arrows", one, sent[0]),
        files.record("b.arrows", other, sent[1]),
    ];
    (Recordings::open(&paths).expect("of one follow"), files)
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let ends = refusal(|head| head.pairs[0].a = "10.9.9.9/32".parse().expect("a network"));
    assert!(
        ends.contains("same ends") && ends.contains("their ends differ"),
        "{ends}"
    );
    let more = refusal(|head| {
        let mut second = head.pairs[0];
        second.b = "10.9.9.9/32".parse().expect("a network");
        head.pairs.push(second);
    });
    assert!(more.contains("their ends differ"), "{more}");
    let protocol = refusal(|head| head.pairs[0].proto = None);
    assert!(protocol.contains("their protocols differ"), "{protocol}");
    let port = refusal(|head| head.pairs[0].b_port = None);
    assert!(port.contains("their ports differ"), "{port}");
    let same_node = refusal(|head| head.nodes = vec![hello("node-b")]);
    assert!(
        same_node.contains("second recording of node-b"),
        "{same_node}"
    );
    let cluster = refusal(|head| {
        let owners = head.owners.all_at(Owners::LATEST);
        let owners = owners.map(|(address, owner)| {
            let name = "default/db".to_owned();
            let other = Owner {
                name,
                ..owner.clone()
            };
            (address, other)
        });
        head.owners = owners.collect();
    });
    assert!(
        cluster.contains("both at 2023-11-14T22:13:20Z: they were not recorded in one cluster"),
        "{cluster}"
    );
    let anonymized = refusal(|head| head.anonymized = true);
    assert!(anonymized.contains("is anonymized"), "{anonymized}");
}

#[test]
fn either_end_may_be_the_one_that_asks() {
    let swapped = other(|head| {
        let pair = &mut head.pairs[0];
        std::mem::swap(&mut pair.a, &mut pair.b);
        std::mem::swap(&mut pair.a_port, &mut pair.b_port);
    });
    let (recordings, _files) = read(head(), swapped, [&[], &[]]);
    assert_eq!(recordings.head().nodes.len(), 3);
}

#[test]
fn hashes_with_different_keys_are_not_compared() {
    let apart = other(|head| head.key = 12);
    let sent = &some_batches()[..1];
    let (recordings, _files) = read(head(), apart, [&[], sent]);
    assert_eq!(recordings.head().nodes.len(), 3);
    assert_eq!(recordings.warnings().len(), 1);
    let agents = recordings.filter_map(|recorded| match recorded.expect("sound") {
        Record::Batch { agent, .. } => Some(agent),
        _ => None,
    });
    assert_eq!(agents.collect::<Vec<_>>(), [2]);
}

#[test]
fn clocks_of_two_kernels_are_not_taken_for_one() {
    let (one_kernel, _files) = read(head(), other(|_| {}), [&[], &[]]);
    assert_eq!(one_kernel.beginning().skew, 0);
    let apart = other(|head| head.nodes[0].boot_id = "another".to_owned());
    let (recordings, _files) = read(head(), apart, [&[], &[]]);
    assert_eq!(recordings.beginning().skew, head().hold);
    assert_eq!(recordings.beginning().limits.hold, 2 * head().hold);
    let told = other(|head| head.nodes[0].boot_id.clear());
    let (untold, _files) = read(head(), told, [&[], &[]]);
    assert_eq!(untold.beginning().skew, head().hold);
}

#[test]
fn readings_of_one_clock_are_made_one() {
    let later = other(|head| head.nodes[0].realtime_offset += 1_000);
    let (recordings, _files) = read(head(), later, [&[], &[]]);
    let nodes = &recordings.head().nodes;
    assert_eq!(nodes[2].realtime_offset, nodes[0].realtime_offset);
    let ended = recordings.filter_map(|recorded| match recorded.expect("sound") {
        Record::Ended { agents, time } => Some((agents, time)),
        _ => None,
    });
    assert_eq!(
        ended.collect::<Vec<_>>(),
        [(vec![0, 1], 9), (vec![2], 9 - 1_000)]
    );
}

#[test]
fn recordings_that_do_not_overlap_are_told() {
    let day = 24 * 3600 * 1_000_000_000;
    let (mut recordings, _files) = read(head(), other(|head| head.time += day), [&[], &[]]);
    assert!(recordings.all(|recorded| recorded.is_ok()));
    let sentence = recordings.apart().expect("they are a day apart");
    assert!(sentence.contains("none could be joined"), "{sentence}");
}

#[test]
fn all_points_are_observed_once_the_last_recording_says_so() {
    let unarmed = |files: &Files| {
        let path = files.path("b.arrows");
        let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
        writer.begin(other(|_| {})).expect("room");
        writer.end(9).expect("room");
        path
    };
    let files = Files::new();
    let one = files.record("a.arrows", head(), &[]);
    let armed = |paths: &[PathBuf]| {
        let recordings = Recordings::open(paths).expect("of one follow");
        let armed = recordings.filter_map(|recorded| match recorded.expect("sound") {
            Record::Armed(time) => Some(time),
            _ => None,
        });
        armed.collect::<Vec<_>>()
    };
    assert_eq!(armed(std::slice::from_ref(&one)), [5]);
    let two = files.record("c.arrows", other(|_| {}), &[]);
    assert_eq!(armed(&[one.clone(), two]), [5]);
    assert_eq!(armed(&[one, unarmed(&files)]), [i64::MAX]);
}

/// Each node's recorder knew of no other agent; the one who joins them does.
#[test]
fn a_node_that_is_joined_is_watched() {
    let warning = |node| unwatched_end(&"shop/cart", node);
    let mut one = head();
    one.warnings = vec![
        warning("node-c"),
        warning("node-d"),
        "mind the gap".to_owned(),
    ];
    let two = other(|head| head.warnings = vec![warning("node-a")]);
    let (joined, _files) = read(one.clone(), two, [&[], &[]]);
    assert_eq!(
        joined.head().warnings,
        [warning("node-d"), "mind the gap".to_owned()]
    );
    let files = Files::new();
    let alone = Recordings::open(&[files.record("a.arrows", one.clone(), &[])]);
    assert_eq!(alone.expect("a trace").head().warnings, one.warnings);
}
