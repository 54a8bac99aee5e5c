//! What is written is read; what is not a trace, or one no more, is told.

mod given;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use proptest::{collection::vec, prelude::*};

use super::{Anonymizer, Contents, Event, Head, Reader, Recordings, Rotation, TraceError, Writer};
use crate::{
    journey::{Owner, OwnerKind},
    link::{Batch, Direction, Hello, Pair, Point, Role},
};

/// What each node of the tests has.
const POINTS: usize = 4;
const STREAMS: usize = 2;

fn hello(node: &str) -> Hello {
    let point = |index: usize| Point {
        netns: "host".to_owned(),
        interface: format!("veth{index}"),
        ifindex: 7,
        direction: Direction::Egress,
        hook: "tcx".into(),
        role: Role::Veth,
        kind: "veth".to_owned(),
        addresses: vec!["10.244.1.5".parse().expect("an address")],
        why: "the port of cni0".to_owned(),
        foreign: vec![3],
    };
    Hello {
        node: node.to_owned(),
        boot_id: "a-boot".to_owned(),
        realtime_offset: 1_700_000_000_000_000_000,
        points: (0..POINTS).map(point).collect(),
        streams: STREAMS,
        next_hops: Vec::new(),
        local: vec!["192.168.7.9".parse().expect("an address")],
        drops: Some(vec!["shop/cart".into()]),
        notes: vec!["a remark about 10.244.1.5".to_owned()],
    }
}

fn head() -> Head {
    let net = |text: &str| text.parse().expect("a network");
    Head {
        version: "0.0.0".to_owned(),
        recording: 7,
        piece: 0,
        armed: None,
        key: 11,
        time: 1_700_000_000_000_000_123,
        follow: "default/web → shop/cart (any protocol)".to_owned(),
        warnings: vec!["mind the gap".to_owned()],
        pairs: vec![Pair {
            a: net("10.244.1.5/32"),
            b: net("10.244.2.7/32"),
            proto: Some(6),
            a_port: None,
            b_port: Some(80),
        }],
        sources: vec![net("10.244.1.5/32")],
        hold: 5_000_000_000,
        open: 65_536,
        count: None,
        nodes: vec![hello("node-a"), hello("node-b")],
        owners: BTreeMap::from([(
            "10.244.1.5".parse().expect("an address"),
            Owner {
                name: "default/web".to_owned(),
                kind: OwnerKind::Pod,
                node: "node-a".to_owned(),
            },
        )]),
    }
}

/// A directory for the files of a test.
struct Files(std::path::PathBuf);

impl Files {
    fn new() -> Self {
        let name = format!("tracer-store-{:016x}", crate::random());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    /// Records, and ends well.
    fn record(&self, name: &str, head: Head, batches: &[(usize, Batch)]) -> std::path::PathBuf {
        let path = self.path(name);
        let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
        writer.begin(head).expect("room for a head");
        writer.armed(5);
        for (agent, batch) in batches {
            writer.batch(*agent, batch).expect("room for a batch");
        }
        writer.end(9).expect("room for the end");
        path
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed is in the system's directory for such.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn batches_of(events: Vec<Event>) -> Vec<(usize, Batch)> {
    let batch = |event| match event {
        Event::Batch { agent, batch } => Some((agent, *batch)),
        _ => None,
    };
    events.into_iter().filter_map(batch).collect()
}

fn read(bytes: &[u8]) -> Result<(Vec<Event>, bool), TraceError> {
    let mut reader = Reader::new(Path::new("a.arrows"), bytes)?;
    let mut events = Vec::new();
    for event in reader.by_ref() {
        events.push(event?);
    }
    Ok((events, reader.cut()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read(sent in vec((0..2_usize, given::batch()), 0..6)) {
        let files = Files::new();
        let path = files.record("a.arrows", head(), &sent);
        let mut reader = Reader::open(&path).expect("a trace");
        prop_assert_eq!(reader.head(), &head());
        let events: Vec<Event> = reader.by_ref().map(|event| event.expect("sound")).collect();
        prop_assert!(matches!(events.first(), Some(Event::Armed(5))));
        prop_assert!(matches!(events.last(), Some(Event::End(9))));
        prop_assert_eq!(batches_of(events), sent);
        prop_assert!(!reader.cut());
    }

    #[test]
    fn changed_bytes_are_told_or_harmless(
        sent in vec((0..2_usize, given::batch()), 1..3),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let files = Files::new();
        let path = files.record("a.arrows", head(), &sent);
        let mut bytes = fs::read(path).expect("a file");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Whatever it is: an answer.
        let _: Result<_, TraceError> = read(&bytes);
    }
}

fn some_batches() -> Vec<(usize, Batch)> {
    let batch = |stream, watermark| Batch {
        stream,
        watermark,
        ..Batch::default()
    };
    vec![(0, batch(0, 100)), (1, batch(1, 200)), (0, batch(1, 300))]
}

#[test]
fn cut_anywhere_it_gives_what_came_before() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    writer.begin(head()).expect("room");
    let first = fs::metadata(&path).expect("a file").len();
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
    }
    writer.end(9).expect("room");
    let bytes = fs::read(&path).expect("a file");
    let mut most = 0;
    for len in 0..bytes.len() {
        let read = read(&bytes[..len]);
        match read {
            Err(TraceError::Empty { .. }) => assert_eq!(len, 0),
            Err(TraceError::Beheaded { .. }) => assert!((len as u64) < first, "{len}"),
            Err(error) => panic!("{len}: {error}"),
            Ok((events, cut)) => {
                assert!(cut, "{len}");
                let batches = batches_of(events);
                assert_eq!(batches[..], some_batches()[..batches.len()]);
                assert!(batches.len() >= most, "{len}");
                most = batches.len();
            }
        }
    }
    assert_eq!(most, 3);
}

#[test]
fn other_files_are_told() {
    let error = |bytes: &[u8]| read(bytes).map(drop).expect_err("no trace").to_string();
    assert!(error(b"").contains("is empty"));
    assert!(error(b"\xd4\xc3\xb2\xa1 a capture of packets").contains("is no trace"));
    assert!(error(&[0xff; 7]).contains("first bytes"));
    assert!(error(&[0xff; 64]).contains("is no trace"));
    let files = Files::new();
    let path = files.record("a.arrows", head(), &[]);
    let bytes = fs::read(path).expect("a file");
    let at = bytes
        .windows(14)
        .position(|window| window == b"tracer.trace/1");
    let mut later = bytes.clone();
    later[at.expect("its kind") + 13] = b'2';
    let sentence = error(&later);
    assert!(sentence.contains("tracer.trace/2"), "{sentence}");
    assert!(sentence.contains("later tracer"), "{sentence}");
    let mut damaged = bytes;
    let last = damaged.len() - 40;
    damaged.truncate(last);
    damaged.extend_from_slice(&[7; 40]);
    assert!(matches!(
        read(&damaged),
        Err(TraceError::Damaged { .. }) | Ok((_, true))
    ));
}

#[test]
fn rotated_pieces_give_what_one_file_does() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let rotation = Rotation {
        size: Some(1),
        time: Some(Duration::from_secs(3600)),
        keep: None,
    };
    let mut writer = Writer::create(&path, rotation).expect("a new file");
    writer.begin(head()).expect("room");
    writer.armed(5);
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
    }
    let written = writer.end(9).expect("room");
    assert!(written.files > 3, "{written:?}");
    let mut pieces: Vec<_> = fs::read_dir(&files.0)
        .expect("a directory")
        .map(|file| file.expect("a file").path())
        .collect();
    pieces.sort();
    pieces.reverse();
    let events = |paths: &[_]| -> Vec<Event> {
        let recordings = Recordings::open(paths).expect("traces");
        recordings.map(|event| event.expect("sound")).collect()
    };
    assert_eq!(batches_of(events(&pieces)), some_batches());
    let refused = |paths: &[_]| Recordings::open(paths).map(drop).expect_err("refused");
    let named = |number: u32| files.path(&format!("a.{number}.arrows"));
    let gap = [named(1), named(3)];
    assert!(refused(&gap).to_string().contains("in between"));
    let twice = [named(1), named(1)];
    assert!(refused(&twice).to_string().contains("once"));

    // A later piece alone knows what its streams had told.
    let alone = events(&[named(2)]);
    let states = alone
        .iter()
        .filter(|event| matches!(event, Event::State { .. }));
    assert_eq!(states.count(), 2 * STREAMS);
    assert!(Contents::of(&named(2)).expect("a trace").ended.is_none());
}

#[test]
fn keeps_only_the_latest_pieces() {
    let files = Files::new();
    let rotation = Rotation {
        size: Some(1),
        time: None,
        keep: Some(2),
    };
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, rotation).expect("a new file");
    writer.begin(head()).expect("room");
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
    }
    let written = writer.end(9).expect("room");
    let left = fs::read_dir(&files.0).expect("a directory").count();
    assert!(written.files > 2 && left == 2, "{written:?}, {left} left");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let files = Files::new();
    let own = head();
    let other = |change: fn(&mut Head)| {
        let mut other = head();
        other.recording = 8;
        other.nodes = vec![hello("node-c")];
        change(&mut other);
        other
    };
    let a = files.record("a.arrows", own, &[]);
    let refused = |name, head| {
        let paths = [a.clone(), files.record(name, head, &[])];
        let error = Recordings::open(&paths).map(drop).expect_err("refused");
        error.to_string()
    };
    let unrelated = other(|head| head.pairs[0].a = "10.9.9.9/32".parse().expect("a network"));
    assert!(refused("b.arrows", unrelated).contains("same ends"));
    let same_node = other(|head| head.nodes = vec![hello("node-b")]);
    assert!(refused("c.arrows", same_node).contains("second recording of node-b"));
    let cluster = other(|head| {
        head.owners
            .values_mut()
            .for_each(|owner| owner.name = "default/db".to_owned());
    });
    assert!(refused("d.arrows", cluster).contains("not recorded in one cluster"));

    let apart = other(|head| head.key = 12);
    let paths = [
        a.clone(),
        files.record("e.arrows", apart, &some_batches()[..1]),
    ];
    let recordings = Recordings::open(&paths).expect("of one follow");
    assert_eq!(recordings.head().nodes.len(), 3);
    assert_eq!(recordings.warnings().len(), 1);
    let events: Vec<Event> = recordings.map(|event| event.expect("sound")).collect();
    assert!(batches_of(events).iter().all(|(agent, _)| *agent == 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Of addresses, names and MACs nothing is left.
    #[test]
    fn anonymized_it_names_nobody(sent in vec((0..2_usize, given::batch()), 1..4)) {
        let mut anonymizer = Anonymizer::default();
        let replaced = anonymizer.head(head());
        let text = format!("{replaced:?}");
        for name in ["node-a", "web", "cart", "veth0", "veth3", "10.244", "192.168", "a-boot", "remark", "gap"] {
            prop_assert!(!text.contains(name), "{name} in {text}");
        }
        for (_, batch) in &sent {
            let replaced = anonymizer.batch(batch);
            prop_assert_eq!(replaced.hops.len(), batch.hops.len());
            for (hop, original) in replaced.hops.iter().zip(&batch.hops) {
                prop_assert_eq!(hop.time, original.time);
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

#[test]
fn every_column_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trace.md");
    let text = fs::read_to_string(path).expect("it is in the repository");
    let documented = text.split("<!-- columns -->").nth(1).expect("a table");
    let documented: Vec<(&str, &str)> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.1.strip_suffix(" |")?)))
        .collect();
    let columns = super::table::columns();
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, _, meaning)| (*name, *meaning))
        .collect();
    assert_eq!(documented, columns);
}
