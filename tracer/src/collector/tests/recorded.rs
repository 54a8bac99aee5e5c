//! Properties of recordings that are incomplete, or were made separately: they lead to no claim
//! that the whole would not make.

use std::{
    env, fs,
    ops::Range,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use tracer_common::counters::{Counter, Counters};
use tracer_core::{
    collect::Core,
    input::{Batch, Report},
    journal::Reader,
    model::{Cause, Hop, Packet, Transport},
    verdict::Kind,
};

use super::{
    choices,
    delivery::{Choices, Reports, Shown, sent},
    nothing_is_claimed_that_is_not_so,
    traffic::world,
    world::{DROPS, FROM_POD, HOPS, IN, MS, OUT, PODS, S, START, TO_POD, World, beginning, hop},
};
use crate::{
    playback::replay,
    store::{Head, Recordings, Rotation, Writer},
};

/// A directory for the files of a test.
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    pub(super) fn new() -> Self {
        let path = env::temp_dir().join(format!("tracer-recorded-{:016x}", crate::random()));
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // If the directory cannot be removed, it stays in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn head(recording: u64) -> Head {
    let beginning = beginning();
    Head {
        version: String::new(),
        recording,
        piece: 0,
        armed: None,
        last: None,
        anonymized: false,
        key: 1,
        time: beginning.time,
        follow: String::new(),
        warnings: Vec::new(),
        pairs: Vec::new(),
        sources: beginning.sources,
        asked: Vec::new(),
        hold: beginning.limits.hold,
        open: beginning.limits.open,
        skew: 0,
        count: None,
        nodes: beginning.nodes,
        owners: beginning.owners,
    }
}

/// The head of one node's recording, by the node's clock, which is ahead by `ahead` ns.
fn head_of(node: usize, ahead: i64) -> Head {
    let mut head = head(u64::try_from(node).expect("small"));
    head.nodes = vec![head.nodes[node].clone()];
    head.nodes[0].realtime_offset += ahead;
    head.time += ahead;
    head
}

/// Records in pieces that end where `ends` says. Returns the pieces.
fn record(
    path: &Path,
    head: Head,
    batches: &[(usize, Batch)],
    mut ends: impl FnMut() -> bool,
) -> Vec<PathBuf> {
    let rotation = Rotation {
        size: Some(1),
        ..Rotation::default()
    };
    let armed = head.time;
    let mut writer = Writer::create(path, rotation).expect("a new file");
    writer.begin(head).expect("room");
    writer.armed(armed);
    for (agent, batch) in batches {
        writer.batch(*agent, batch).expect("room");
        if ends() {
            writer.flush().expect("room");
        }
    }
    let written = writer.end(START + 3600 * S).expect("room");
    let named = |piece| match piece {
        0 => path.to_owned(),
        piece => path.with_extension(format!("{piece}.arrows")),
    };
    (0..written.files).map(named).collect()
}

/// Cuts a file somewhere after its head.
fn cut(path: &Path, part: usize) {
    let bytes = fs::read(path).expect("a file");
    let sound = |len: usize| crate::store::Reader::new(path, &bytes[..len]).is_ok();
    let mut least = bytes.len() - 1;
    while sound(least / 2) {
        least /= 2;
    }
    let len = least + (bytes.len() - least) * part / 100;
    fs::write(path, &bytes[..len]).expect("the same file");
}

pub(super) fn shown(paths: &[PathBuf]) -> Shown {
    let mut recordings = Recordings::open(paths).expect("they belong together");
    let mut shown = Shown::default();
    let replayed = replay(&mut recordings, &mut Reader::new(&mut shown, None)).expect("memory");
    assert!(replayed.broken.is_none());
    shown
}

/// The batches of one node.
fn of_node(sent: &[(usize, Batch)], node: usize) -> Vec<(usize, Batch)> {
    let own = sent.iter().filter(|(agent, _)| *agent == node);
    own.map(|(_, batch)| (0, batch.clone())).collect()
}

fn all_of(world: &World, choices: &mut Choices) -> Vec<(usize, Batch)> {
    sent(world, &[], Reports::Honest, choices)
}

/// The batches of a node in these seconds after the start. A pod sends a packet to the other pod
/// every tenth of a second. `seen` has the node's points, and the delay of each, ns.
fn steady(node: usize, seconds: Range<i64>, seen: &[(usize, i64)]) -> Vec<(usize, Batch)> {
    let offset = beginning().nodes[node].realtime_offset;
    let clock = |time: i64| u64::try_from(START + time - offset).expect("later than the boot");
    let packet = |number: i64| Packet {
        src: PODS[0].into(),
        dst: PODS[1].into(),
        ttl: 64,
        ip_id: Some(u32::try_from(number).expect("small")),
        fragment: None,
        len: 100,
        transport: Transport::Other(99),
        payload_hash: Some(0),
    };
    let mut some = Counters::default();
    some.packets[Counter::Emitted as usize] = 1;
    let mut batches = Vec::new();
    for number in seconds.start * 10..seconds.end * 10 {
        let time = number * S / 10;
        let is_last = number + 1 == seconds.end * 10;
        for stream in [HOPS, DROPS] {
            let mut report = Report {
                time: clock(time),
                sample: u32::MAX,
                ..Report::default()
            };
            let mut hops = Vec::new();
            if stream == HOPS {
                report.counters = (0..4).map(|point| (point, some)).collect();
                let skb = clock(time);
                hops.extend(seen.iter().map(|(point, later)| Hop {
                    time: clock(time + later),
                    ..hop(*point, skb, 0, 1, &packet(number))
                }));
            }
            let batch = Batch {
                stream,
                hops,
                watermark: if is_last { u64::MAX } else { clock(time) },
                report: Some(report),
                ..Batch::default()
            };
            batches.push((0, batch));
        }
    }
    batches
}

/// The fate of packets is unknown if they leave the first node after the end of the other node's
/// recording.
#[test]
fn nothing_is_lost_where_nobody_looked_any_more() {
    let files = Files::new();
    let mut paths = Vec::new();
    for (node, seconds, seen) in [(0, 0..60, &[(FROM_POD, 0), (OUT, MS)][..]), (1, 0..20, &[])] {
        let mut head = head_of(node, 0);
        head.nodes[0].boot_id = "one kernel".to_owned();
        let path = files.0.join(format!("{node}.arrows"));
        paths.extend(record(&path, head, &steady(node, seconds, seen), || false));
    }
    for (journey, verdict, _) in shown(&paths).journeys {
        let waited = journey.last() + beginning().limits.hold;
        if waited < START + 19 * S {
            assert_eq!(verdict.kind, Kind::Lost, "{verdict:?}");
        } else if waited > START + 20 * S {
            assert_eq!(verdict.kind, Kind::Unknown, "{verdict:?}");
            assert_eq!(verdict.cause, Some(Cause::StillOpen));
        }
    }
}

/// Clocks that differ by nearly the hold time, and packets that are 300 ms on their way.
#[test]
fn clocks_that_differ_by_the_hold_time_do_not_lose_packets() {
    for ahead in [-1_900 * MS, 1_900 * MS] {
        let files = Files::new();
        let mut paths = Vec::new();
        let into = [(IN, 300 * MS), (TO_POD, 301 * MS)];
        for (node, ahead, seen) in [(0, 0, [(FROM_POD, 0), (OUT, MS)]), (1, ahead, into)] {
            let mut head = head_of(node, ahead);
            head.hold = 2 * S;
            let path = files.0.join(format!("{node}.arrows"));
            paths.extend(record(&path, head, &steady(node, 0..30, &seen), || false));
        }
        let (mut delivered, mut whole) = (0, 0);
        for (journey, verdict, _) in shown(&paths).journeys {
            assert_ne!(verdict.kind, Kind::Lost, "{verdict:?}");
            delivered += usize::from(verdict.kind == Kind::Delivered);
            whole += usize::from(journey.steps.len() == 4);
        }
        assert!(delivered > 200, "{delivered} of 300, {ahead} ns apart");
        // A packet that arrives before it is sent is shown once it has arrived.
        assert!(ahead < 0 || whole > 200, "{whole} of 300, {ahead} ns apart");
    }
}

/// A recording of only a part of the time does not hold up the other one, whether it is cut or ends
/// well.
#[test]
fn recordings_of_unequal_length_are_not_kept_in_memory() {
    for is_cut in [false, true] {
        let files = Files::new();
        let mut late = head_of(1, 0);
        late.time += 200 * S;
        let mut paths = Vec::new();
        for (head, sent) in [
            (head_of(0, 0), steady(0, 0..600, &[(FROM_POD, -1)])),
            (late, steady(1, 200..300, &[(TO_POD, -1)])),
        ] {
            let path = files.0.join(format!("{}.arrows", head.nodes[0].node));
            let mut left = 0;
            let every_500th = || {
                left = (left + 1) % 500;
                left == 0
            };
            paths.extend(record(&path, head, &sent, every_500th));
        }
        if is_cut {
            cut(paths.last().expect("there are some"), 0);
        }
        let recordings = Recordings::open(&paths).expect("they belong together");
        let mut core = Core::new(recordings.beginning());
        let mut shown = Shown::default();
        let reader = &mut Reader::new(&mut shown, None);
        let mut most = 0;
        for record in recordings {
            core.take(record.expect("sound"));
            core.show(reader).expect("memory");
            most = most.max(core.held());
        }
        // Ten packets a second, each held for twice the hold time, and some more.
        assert!((100..400).contains(&most), "{most}, cut: {is_cut}");
        assert!(shown.journeys.len() > 5_800, "{}", shown.journeys.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_say_what_is_so_without_the_end_of_one(
        world in world(),
        mut choices in choices(),
        part in 0..100_usize,
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let pieces = record(&files.0.join("a.arrows"), head(1), &sent, || choices.below(4) == 0);
        cut(&pieces[choices.below(pieces.len())], part);
        nothing_is_claimed_that_is_not_so(&world, &shown(&pieces))?;
    }

    #[test]
    fn pieces_say_what_is_so_without_those_before(
        world in world(),
        mut choices in choices(),
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let pieces = record(&files.0.join("a.arrows"), head(1), &sent, || choices.below(4) == 0);
        let first = choices.below(pieces.len());
        let last = first + choices.below(pieces.len() - first) + 1;
        nothing_is_claimed_that_is_not_so(&world, &shown(&pieces[first..last]))?;
    }

    /// Clocks differ by less than the hold time. One recording may begin later, end sooner, or be
    /// cut.
    #[test]
    fn recordings_made_apart_say_what_is_so(
        world in world(),
        mut choices in choices(),
        ahead in -1_900..1_900_i64,
        part in 0..300_usize,
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let mut all = Vec::new();
        for (node, ahead) in [(0, 0), (1, ahead * MS)] {
            let path = files.0.join(format!("{node}.arrows"));
            let own = of_node(&sent, node);
            let mut head = head_of(node, ahead);
            // The hold time is longer than the clocks' difference.
            head.hold = 2 * S;
            let mut pieces = record(&path, head, &own, || choices.below(6) == 0);
            if part < 150 {
                pieces.drain(..choices.below(pieces.len()));
                pieces.truncate(choices.below(pieces.len()) + 1);
            }
            if part < 100 {
                cut(&pieces[choices.below(pieces.len())], part);
            }
            all.extend(pieces);
        }
        nothing_is_claimed_that_is_not_so(&world, &shown(&all))?;
    }
}
