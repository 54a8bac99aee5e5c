//! What is written is read; what is not a trace, or one no more, is told.

mod anonymous;
mod columns;
mod given;
mod joined;
mod owners;
mod rotated;
mod several;
mod target;

use std::{fs, path::Path};

use proptest::{collection::vec, prelude::*};
use tracer_core::{
    input::Batch,
    model::{
        Device, Direction, EncapKind, Foreign, Hello, Kernel, Mac, Network, Owner, OwnerKind,
        Owners, Pair, Point, Role, Tunnel, Way,
    },
};

use super::{Event, Head, Reader, Rotation, TraceError, Writer};

/// What each node of the tests has.
const POINTS: usize = 4;
const STREAMS: usize = 2;

fn point(index: usize) -> Point {
    Point {
        netns: "host".to_owned(),
        interface: format!("veth{index}"),
        ifindex: 7,
        direction: Direction::Egress,
        hook: "tcx".into(),
        role: Role::Veth,
        kind: "veth".to_owned(),
        addresses: vec!["10.244.1.5".parse().expect("an address")],
        why: "the port of cni0".to_owned(),
        foreign: vec![Foreign {
            id: 3,
            name: "other".to_owned(),
        }],
        since: 0,
        until: None,
    }
}

fn network() -> Network {
    let address = |text: &str| text.parse().expect("an address");
    let device = |interface: &str, mac, tunnel| Device {
        interface: interface.to_owned(),
        mac,
        tunnel,
        until: None,
    };
    let tunnel = Tunnel {
        kind: EncapKind::Vxlan,
        vni: Some(1),
        port: 8472,
    };
    Network {
        devices: vec![
            device("eth0", Some(Mac([0x0e, 1, 2, 3, 4, 5])), None),
            device("flannel.1", None, Some(tunnel)),
        ],
        routes: vec![Way {
            to: address("10.244.2.7"),
            interface: "eth0".to_owned(),
            gateway: Some(address("192.168.7.1")),
            mac: Some(Mac([0x0e, 1, 2, 3, 4, 6])),
            default: true,
        }],
    }
}

fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        boot_id: "a-boot".to_owned(),
        kernel: Some(Kernel {
            release: "6.18.5-shop".to_owned(),
            architecture: "x86_64".to_owned(),
        }),
        realtime_offset: 1_700_000_000_000_000_000,
        clock_bound: 0,
        points: (0..POINTS).map(point).collect(),
        streams: STREAMS,
        next_hops: Vec::new(),
        local: vec!["192.168.7.9".parse().expect("an address")],
        drops: Some(vec!["shop/cart".into()]),
        drops_later: Vec::new(),
        network: network(),
        snaplen: 256,
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
        last: None,
        anonymized: false,
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
        asked: Vec::new(),
        hold: 5_000_000_000,
        open: 65_536,
        skew: 0,
        count: None,
        nodes: vec![hello("node-a"), hello("node-b")],
        owners: Owners::from_iter([(
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn who_owns_an_address_is_read_as_it_was_told(
        owners in given::owners(),
        changes in vec(given::owners_change(), 0..5),
        rotate in any::<bool>(),
    ) {
        let files = Files::new();
        let path = files.path("a.arrows");
        let rotation = Rotation { size: rotate.then_some(1), ..Rotation::default() };
        let mut writer = Writer::create(&path, rotation).expect("a new file");
        writer.begin(Head { owners: owners.clone(), ..head() }).expect("room");
        for change in &changes {
            writer.owners_changed(change);
            writer.flush().expect("room");
        }
        let pieces = writer.end(9).expect("room").files;
        let mut known = owners;
        let mut told = Vec::new();
        for piece in 0..pieces {
            let name = if piece == 0 { "a.arrows".to_owned() } else { format!("a.{piece}.arrows") };
            let mut reader = Reader::open(&files.path(&name)).expect("a trace");
            // Each piece says what was known when it began.
            prop_assert_eq!(&reader.head().owners, &known);
            for event in reader.by_ref() {
                if let Event::Owners(change) = event.expect("sound") {
                    change.apply(&mut known);
                    told.push(*change);
                }
            }
            prop_assert_eq!(&reader.head().owners, &known);
        }
        prop_assert_eq!(told, changes);
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
    assert!(error(b"\xd4\xc3\xb2\xa1 a capture of packets").contains("is not a recording"));
    assert!(error(&[0xff; 7]).contains("first bytes"));
    assert!(error(&[0xff; 64]).contains("is not a recording"));
    let files = Files::new();
    let path = files.record("a.arrows", head(), &[]);
    let bytes = fs::read(path).expect("a file");
    let at = bytes
        .windows(14)
        .position(|window| window == b"tracer.trace/2");
    let mut later = bytes.clone();
    later[at.expect("its kind") + 13] = b'1';
    let sentence = error(&later);
    assert!(
        sentence.contains("tracer.trace/1, which tracer 0.0.0 wrote"),
        "{sentence}"
    );
    let mut damaged = bytes;
    let last = damaged.len() - 40;
    damaged.truncate(last);
    damaged.extend_from_slice(&[7; 40]);
    assert!(matches!(
        read(&damaged),
        Err(TraceError::Damaged { .. }) | Ok((_, true))
    ));
}
