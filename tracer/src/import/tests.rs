//! Captures that are made here, byte by byte, and what becomes of them.

mod made;
mod tunnels;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tracer_core::{
    journal::{Reader, Selected, View},
    journey::{Journey, Scene},
    model::Cause,
    verdict::{Kind, Parts, Summary, Verdict},
};
use tracer_tests::frames::{IPV4, UDP, VLAN, ethernet, ipv4, udp, vlan};

use self::made::{
    A, B, BEGIN, ETHERNET, MICROSECOND, SECOND, SLL, SLL2, Timed, cooked2, echo, interface, option,
    packet, pcap, pcap_with, section, statistics, tunnelled, vouched,
};
use super::{ImportError, import};
use crate::{
    cli::{ImportArgs, Outcome},
    playback::replay,
    store::Recordings,
};

/// Where a packet is seen on its way there.
const PLACES: [&str; 4] = [
    "node-a/veth1,pod=10.244.1.5",
    "node-a/eth0/02:00:00:00:00:aa",
    "node-b/eth0/02:00:00:00:00:bb",
    "node-b/veth2,pod=10.244.2.7",
];

/// What tcpdump has at each of these places of some pings. The clock of node-b is `apart` ns
/// behind.
fn pings(count: u16, apart: u64) -> [Vec<Timed>; 4] {
    pings_in(tunnelled, count, apart)
}

/// The same in a tunnel, whose frames `outside` makes.
fn pings_in(outside: fn(u16, bool) -> Vec<u8>, count: u16, apart: u64) -> [Vec<Timed>; 4] {
    let mut places = [const { Vec::new() }; 4];
    for seq in 0..count {
        for answer in [false, true] {
            let begin = BEGIN + u64::from(seq) * SECOND + u64::from(answer) * 100 * MICROSECOND;
            for nth in 0..4_u64 {
                let place = if answer { 3 - nth } else { nth } as usize;
                let mut frame = match place {
                    1 | 2 => outside(seq, answer),
                    _ => echo(seq, answer, if nth == 0 { 0 } else { 2 }),
                };
                // MAC addresses tell who sends to whom.
                (frame[5], frame[11]) = if answer { (0xaa, 0xbb) } else { (0xbb, 0xaa) };
                let clock = if place > 1 { apart } else { 0 };
                places[place].push((begin + nth * 10 * MICROSECOND - clock, frame));
            }
        }
    }
    places
}

/// Files in a folder of their own.
struct Stage(TempDir);

impl Stage {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn args(&self, files: &[PathBuf], at: &[&str]) -> ImportArgs {
        ImportArgs {
            files: files.to_vec(),
            at: at.iter().map(|at| at.parse().expect("a place")).collect(),
            output: self.path("out.arrows"),
            inventory: None,
            hold: Duration::from_secs(5),
            vxlan_ports: Vec::new(),
        }
    }

    /// The journeys of what is imported.
    fn imported(&self, files: &[PathBuf], at: &[&str]) -> Shown {
        self.imported_by(&self.args(files, at))
    }

    fn imported_by(&self, args: &ImportArgs) -> Shown {
        let outcome = import(args).expect("captures");
        assert_eq!(outcome, Outcome::Done);
        shown(&self.path("out.arrows"))
    }

    fn refused(&self, files: &[PathBuf], at: &[&str]) -> String {
        let error = import(&self.args(files, at)).expect_err("no recording");
        assert!(!self.path("out.arrows").exists(), "nothing is half there");
        error.to_string()
    }

    /// Imports what was seen at the four places.
    fn at_all_places(&self, places: &[Vec<Timed>; 4]) -> Shown {
        let files = places.iter().zip("abcd".chars()).map(|(packets, name)| {
            self.file(&format!("{name}.pcap"), &pcap(ETHERNET, 65_535, packets))
        });
        self.imported(&files.collect::<Vec<_>>(), &PLACES)
    }
}

/// What a replay shows.
#[derive(Default)]
struct Shown {
    journeys: Vec<(Journey, Verdict)>,
    /// Node, interface and direction of each step.
    ways: Vec<Vec<String>>,
}

impl View for Shown {
    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        _: &Parts,
    ) -> io::Result<()> {
        let way = journey.steps.iter().map(|step| {
            let point = scene.point(step);
            let node = &scene.nodes[step.node].node;
            format!("{node}/{}/{}", point.interface, point.direction)
        });
        self.ways.push(way.collect());
        self.journeys.push((journey.clone(), verdict.clone()));
        Ok(())
    }

    fn summary(&mut self, _: &Scene, _: &Summary, _: Option<&Selected>) -> io::Result<()> {
        Ok(())
    }
}

fn shown(path: &Path) -> Shown {
    let mut recordings = Recordings::open(&[path.to_owned()]).expect("a recording");
    let mut shown = Shown::default();
    let replayed = replay(&mut recordings, &mut Reader::new(&mut shown, None)).expect("memory");
    assert!(replayed.broken.is_none());
    shown
}

const THERE: [&str; 4] = [
    "node-a/veth1/ingress",
    "node-a/eth0/egress",
    "node-b/eth0/ingress",
    "node-b/veth2/egress",
];
const BACK: [&str; 4] = [
    "node-b/veth2/ingress",
    "node-b/eth0/egress",
    "node-a/eth0/ingress",
    "node-a/veth1/egress",
];

#[test]
fn a_packet_that_four_captures_have_is_one_journey_whatever_the_clocks() {
    for apart in [0, SECOND / 1_000, SECOND / 100] {
        let shown = Stage::new().at_all_places(&pings(3, apart));
        assert_eq!(shown.ways.len(), 6, "three there, three back");
        for ((journey, verdict), way) in shown.journeys.iter().zip(&shown.ways) {
            let is_answer = journey.answers.is_some();
            let expected = if is_answer { BACK } else { THERE };
            assert_eq!(way[..], expected, "{apart}");
            assert_eq!(verdict.kind, Kind::Delivered, "{apart}");
        }
    }
}

#[test]
fn packets_in_both_directions_correct_the_clocks() {
    for apart in [0, 40 * MICROSECOND, 3 * SECOND, 3 * 3_600 * SECOND] {
        let stage = Stage::new();
        let shown = stage.at_all_places(&pings(3, apart));
        assert_eq!(shown.ways.len(), 6, "{apart}: three there, three back");
        for (journey, verdict) in &shown.journeys {
            assert_eq!(verdict.kind, Kind::Delivered, "{apart}");
            // Each hop comes 10 µs after the one before.
            for steps in journey.steps.windows(2) {
                let took = steps[1].time - steps[0].time;
                let is_within = steps[0].node == steps[1].node || apart >= SECOND;
                assert!(
                    !is_within || (9_000..=11_000).contains(&took),
                    "{apart}: {took}"
                );
            }
        }
        let recordings = Recordings::open(&[stage.path("out.arrows")]).expect("a recording");
        let hello = &recordings.head().nodes[1];
        let is_left = hello.realtime_offset == 0;
        assert_eq!(is_left, apart < 10 * MICROSECOND, "{apart}: {hello:?}");
        let error = hello.realtime_offset - apart.cast_signed();
        assert!(error.abs() <= hello.clock_bound, "{apart}: {hello:?}");
        assert!(hello.clock_bound < 100_000, "{apart}: {hello:?}");
        let warnings = recordings.head().warnings.join("\n");
        let is_told = warnings.contains("the clock of node-b is 3s behind that of node-a, ± ");
        assert_eq!(is_told, apart == 3 * SECOND, "{warnings}");
    }
}

/// Two hours of pings with clocks that drift apart by 50 ppm. One correction holds for the whole
/// capture, so the hops at its ends come 180 ms too early or too late.
#[test]
fn a_journey_waits_for_the_hops_of_a_clock_that_drifts() {
    let mut places = pings(7_200, 0);
    for packets in &mut places[2..] {
        for (time, _) in packets {
            *time += (*time - BEGIN) / 1_000_000 * 50;
        }
    }
    let shown = Stage::new().at_all_places(&places);
    assert_eq!(shown.ways.len(), 2 * 7_200);
    assert!(shown.ways.iter().all(|way| way.len() == 4));
}

#[test]
fn packets_in_one_direction_do_not_compare_clocks() {
    let stage = Stage::new();
    let there = pings(3, 0).map(|packets| packets.into_iter().step_by(2).collect());
    let shown = stage.at_all_places(&there);
    assert_eq!(shown.ways, [THERE, THERE, THERE]);
    let recordings = Recordings::open(&[stage.path("out.arrows")]).expect("a recording");
    let head = recordings.head();
    assert_eq!(head.skew, 5 * SECOND.cast_signed());
    let warnings = head.warnings.join("\n");
    let told =
        "fewer than two packets in each direction compare the clock of node-b with that of node-a";
    assert!(warnings.contains(told), "{warnings}");
}

#[test]
fn what_a_capture_has_missed_never_decides() {
    let whole = pings(2, 0);
    for place in 0..4 {
        for missed in 0..whole[place].len() {
            let mut places = whole.clone();
            places[place].remove(missed);
            let shown = Stage::new().at_all_places(&places);
            for (_, verdict) in &shown.journeys {
                let is_certain = verdict.kind == Kind::Delivered;
                let is_open =
                    (verdict.kind, verdict.cause) == (Kind::Unknown, Some(Cause::EventsLost));
                assert!(is_certain || is_open, "{place} {missed}: {verdict:?}");
            }
        }
    }
}

#[test]
fn of_a_place_that_missed_all_nothing_is_said() {
    let whole = pings(2, 0);
    for place in 0..4 {
        let stage = Stage::new();
        let kept = (0..4).filter(|other| *other != place);
        let files: Vec<_> = kept
            .clone()
            .map(|at| stage.file(&format!("{at}.pcap"), &pcap(ETHERNET, 65_535, &whole[at])))
            .collect();
        let at: Vec<_> = kept.map(|at| PLACES[at]).collect();
        for (_, verdict) in stage.imported(&files, &at).journeys {
            let kinds = [Kind::Delivered, Kind::Unknown];
            assert!(kinds.contains(&verdict.kind), "{place}: {verdict:?}");
        }
    }
}

/// Without a tunnel and without the cluster's objects, whose address it is that a packet
/// goes to is not known: another node's, maybe.
#[test]
fn nothing_has_left_where_another_node_may_have_missed_it() {
    let stage = Stage::new();
    let frame = |hops| {
        let mut frame = echo(1, false, hops);
        frame[11] = 0xaa;
        frame
    };
    let a = [(BEGIN, frame(1))];
    let b = [(BEGIN + SECOND, tunnelled(2, false))];
    let files = [
        stage.file("a.pcap", &pcap(ETHERNET, 65_535, &a)),
        stage.file("b.pcap", &pcap(ETHERNET, 65_535, &b)),
    ];
    let kinds = |shown: Shown| shown.journeys[0].1.kind;
    assert_eq!(kinds(stage.imported(&files, &PLACES[1..3])), Kind::Unknown);
    // Alone it says no more than it saw: that the packet went out.
    assert_eq!(
        kinds(stage.imported(&files[..1], &PLACES[1..2])),
        Kind::Left
    );
}

#[test]
fn a_capture_that_missed_nothing_may_vouch_for_that() {
    let unanswered = |file: Vec<u8>| {
        let stage = Stage::new();
        let file = stage.file("a.pcapng", &file);
        let shown = stage.imported(&[file], &["node-b/veth2,pod=10.244.2.7"]);
        let (_, verdict) = &shown.journeys[0];
        verdict.kind
    };
    // A question that came to the pod, and something else later.
    let packets = [
        (BEGIN, echo(1, false, 2)),
        (BEGIN + 20 * SECOND, echo(9, true, 0)),
    ];
    let (from, to) = (BEGIN - SECOND, BEGIN + 30 * SECOND);
    assert_eq!(unanswered(vouched(&packets, from, to)), Kind::Unanswered);
    // dumpcap writes the times of its statistics in microseconds.
    let mut of_dumpcap = vouched(&packets, from, to);
    let end = of_dumpcap.len() - statistics(2, from, to).len();
    of_dumpcap.truncate(end);
    of_dumpcap.extend(statistics(2, from / MICROSECOND, to / MICROSECOND));
    assert_eq!(unanswered(of_dumpcap), Kind::Unanswered);
    // It says that it has more packets than it has: somebody has removed some.
    let mut fewer = vouched(&packets, from, to);
    let end = fewer.len() - statistics(2, from, to).len();
    fewer.truncate(end);
    assert_eq!(unanswered(fewer.clone()), Kind::Unknown, "it says nothing");
    fewer.extend(statistics(3, from, to));
    assert_eq!(unanswered(fewer), Kind::Unknown);
    // It was over before an answer could have come.
    let alone = vouched(&packets[..1], from, BEGIN + SECOND);
    assert_eq!(unanswered(alone), Kind::Unknown);
}

#[test]
fn times_are_the_same_in_all_byte_orders_and_units() {
    let time = BEGIN + 123_456_000;
    let packets = [(time, echo(1, false, 0))];
    let mut files = vec![
        pcap_with(ETHERNET, 96, &packets, u32::to_le_bytes, true),
        pcap_with(ETHERNET, 96, &packets, u32::to_be_bytes, true),
        pcap_with(ETHERNET, 96, &packets, u32::to_le_bytes, false),
        pcap_with(ETHERNET, 96, &packets, u32::to_be_bytes, false),
    ];
    let offset = option(14, &1_700_000_000_u64.to_le_bytes());
    for (options, units) in [
        (vec![], time / 1_000),
        (vec![option(9, &[9])], time),
        (vec![option(9, &[9]), offset], time - BEGIN),
    ] {
        let mut file = section();
        file.extend(interface(1, &options));
        file.extend(packet(0, units, &packets[0].1, &[]));
        files.push(file);
    }
    for (number, file) in files.iter().enumerate() {
        let stage = Stage::new();
        let file = stage.file("a", file);
        let shown = stage.imported(&[file], &["node-a/eth0/in"]);
        let (journey, _) = &shown.journeys[0];
        assert_eq!(journey.start(), time.cast_signed(), "{number}");
    }
    // Parts of a second that are powers of two.
    let mut file = section();
    file.extend(interface(1, &[option(9, &[0x80 | 10])]));
    file.extend(packet(0, (BEGIN / SECOND) << 10 | 512, &packets[0].1, &[]));
    let stage = Stage::new();
    let file = stage.file("a", &file);
    let shown = stage.imported(&[file], &["node-a/eth0/in"]);
    assert_eq!(
        shown.journeys[0].0.start(),
        (BEGIN + SECOND / 2).cast_signed()
    );
}

#[test]
fn packets_of_all_interfaces_go_to_the_places_of_their_indexes() {
    let stage = Stage::new();
    let of = |nth: u64, index, went, frame: Vec<u8>| {
        (
            BEGIN + nth * MICROSECOND,
            cooked2(index, went, &frame[14..]),
        )
    };
    let packets = [
        of(0, 7, 0, echo(1, false, 0)),
        of(1, 3, 4, tunnelled(1, false)),
        of(2, 1, 0, echo(2, false, 0)),
    ];
    let file = stage.file("any.pcap", &pcap(SLL2, 65_535, &packets));
    let at = ["3=node-a/eth0", "7=node-a/veth1,pod=10.244.1.5"];
    let shown = stage.imported(std::slice::from_ref(&file), &at);
    assert_eq!(shown.ways, [THERE[..2].to_vec()]);
    let step = &shown.journeys[0].0.steps[0];
    assert_eq!(step.src_mac.map(|mac| mac.0[5]), Some(9));
    assert_eq!(step.len, 82, "as on the wire, with the Ethernet header");
    fs::remove_file(stage.path("out.arrows")).expect("a recording");
    let told = stage.refused(&[file], &["node-a/eth0/in"]);
    assert!(
        told.contains("1 (1 packets)") && told.contains("--at 1=NODE/INTERFACE"),
        "{told}"
    );
}

#[test]
fn older_cooked_captures_tell_the_direction_too() {
    let stage = Stage::new();
    let mut bytes = [0_u16, 1, 6].map(u16::to_be_bytes).concat();
    bytes.extend([2, 0, 0, 0, 0, 9, 0, 0]);
    bytes.extend(IPV4.to_be_bytes());
    bytes.extend(&echo(1, false, 0)[14..]);
    let mut out = bytes.clone();
    out[1] = 4;
    out[16 + 8] -= 1;
    let packets = [(BEGIN, bytes), (BEGIN + 1_000, out)];
    let file = stage.file("a.pcap", &pcap(SLL, 65_535, &packets));
    let shown = stage.imported(&[file], &["node-a/ppp0"]);
    assert_eq!(shown.ways, [["node-a/ppp0/ingress", "node-a/ppp0/egress"]]);
}

#[test]
fn a_payload_that_was_cut_off_has_no_hash_and_a_tag_is_beside_the_frame() {
    let stage = Stage::new();
    let datagram = ipv4(UDP, A, B, &udp(40_000, 9, &[b'x'; 100]));
    let frame = ethernet(VLAN, &vlan(5, IPV4, &datagram));
    let file = stage.file("a.pcap", &pcap(ETHERNET, 60, &[(BEGIN, frame.clone())]));
    let shown = stage.imported(&[file], &["node-a/eth0/in"]);
    let (journey, _) = &shown.journeys[0];
    assert_eq!(journey.packet.payload_hash, None);
    assert_eq!(journey.packet.ports(), Some((40_000, 9)));
    assert_eq!(
        (journey.steps[0].vlan, journey.steps[0].len),
        (Some(5), 142)
    );
    let file = stage.file("a.pcap", &pcap(ETHERNET, 65_535, &[(BEGIN, frame)]));
    let shown = stage.imported(&[file], &["node-a/eth0/in"]);
    assert!(shown.journeys[0].0.packet.payload_hash.is_some());
}

#[test]
fn an_interface_may_say_itself_where_it_is() {
    let stage = Stage::new();
    let mut file = section();
    for name in [
        "node-a/veth1/ingress",
        "node-a/eth0/egress",
        "node-a/-/drop",
    ] {
        file.extend(interface(1, &[option(2, name.as_bytes()), option(9, &[9])]));
    }
    file.extend(packet(0, BEGIN, &echo(1, false, 0), &[]));
    file.extend(packet(1, BEGIN + 1, &tunnelled(1, false), &[]));
    file.extend(packet(2, BEGIN + 2, &echo(1, false, 0), &[]));
    let file = stage.file("a.pcapng", &file);
    let shown = stage.imported(&[file], &[]);
    assert_eq!(shown.ways, [THERE[..2].to_vec()]);
}

#[test]
fn each_packet_of_pcapng_may_say_which_way_it_went() {
    let stage = Stage::new();
    let mut file = section();
    file.extend(interface(1, &[option(9, &[9])]));
    let flags = |way: u32| [option(2, &way.to_le_bytes())];
    file.extend(packet(0, BEGIN, &echo(1, false, 0), &flags(1)));
    file.extend(packet(0, BEGIN + 1, &echo(1, false, 1), &flags(2)));
    let file = stage.file("a.pcapng", &file);
    let shown = stage.imported(&[file], &["node-a/eth0"]);
    assert_eq!(shown.ways, [["node-a/eth0/ingress", "node-a/eth0/egress"]]);
}

#[test]
fn what_is_missing_or_wrong_is_told_with_what_to_type() {
    let stage = Stage::new();
    let [first, ..] = pings(1, 0);
    let capture = stage.file("a.pcap", &pcap(ETHERNET, 65_535, &first));
    let told = stage.refused(std::slice::from_ref(&capture), &[]);
    assert!(told.contains("--at NODE/INTERFACE/in"), "{told}");
    let told = stage.refused(std::slice::from_ref(&capture), &["node-a/eth0"]);
    assert!(told.contains("--at node-a/eth0/in"), "{told}");
    let told = stage.refused(
        std::slice::from_ref(&capture),
        &["node-a/eth0/in", "node-b/eth0/in"],
    );
    assert!(
        told.contains("no packets are those of --at node-b/eth0/in"),
        "{told}"
    );
    let told = stage.refused(&[capture], &["node-a/veth1/in,pod=shop/cart"]);
    assert!(told.contains("--inventory FILE"), "{told}");
    let wireless = stage.file("w.pcap", &pcap(127, 65_535, &first));
    let told = stage.refused(&[wireless], &["node-a/wlan0/in"]);
    assert!(told.contains("link type 127"), "{told}");
    for (bytes, sentence) in [
        (&b""[..], "is empty"),
        (b"\x1f\x8b\x08\x00rest", "gzip -dc"),
        (b"some text that is no capture", "is no capture"),
        (b"\xd4\xc3\xb2\xa1", "is no capture"),
    ] {
        let file = stage.file("bad", bytes);
        let told = stage.refused(&[file], &["node-a/eth0/in"]);
        assert!(told.contains(sentence), "{told}");
    }
    let told = stage.refused(&[stage.path("absent")], &[]);
    assert!(
        told.contains("cannot read") && told.contains("absent"),
        "{told}"
    );
}

#[test]
fn without_a_packet_nothing_is_written() {
    let stage = Stage::new();
    let file = stage.file("a.pcap", &pcap(ETHERNET, 65_535, &[]));
    let outcome = import(&stage.args(&[file], &[])).expect("a capture");
    assert_eq!(outcome, Outcome::NothingMatched);
    assert!(!stage.path("out.arrows").exists());
}

#[test]
fn of_a_file_that_was_cut_off_what_is_there_is_taken() {
    let [first, ..] = pings(2, 0);
    let whole = pcap(ETHERNET, 65_535, &first);
    let stage = Stage::new();
    let file = stage.file("a.pcap", &whole[..whole.len() - 5]);
    let shown = stage.imported(&[file], &["node-a/veth1,pod=10.244.1.5"]);
    let hops = shown.ways.iter().map(Vec::len).sum::<usize>();
    assert_eq!(hops, first.len() - 1);
}

#[test]
fn no_bytes_make_it_panic() {
    let places = pings(2, 0);
    let whole = [
        pcap(ETHERNET, 65_535, &places[1]),
        vouched(&places[1], BEGIN - 1, BEGIN + 9 * SECOND),
    ];
    let stage = Stage::new();
    for capture in whole {
        for at in 0..capture.len().min(400) {
            for value in [0, 0x7f, 0xff] {
                let mut broken = capture.clone();
                broken[at] = value;
                let file = stage.file("a", &broken);
                let args = stage.args(&[file], &["node-a/eth0/in"]);
                let _any: Result<Outcome, ImportError> = import(&args);
            }
        }
    }
}

#[test]
fn addresses_behind_interfaces_are_those_that_were_said() {
    let stage = Stage::new();
    let [first, ..] = pings(1, 0);
    let file = stage.file("a.pcap", &pcap(ETHERNET, 65_535, &first));
    import(&stage.args(&[file], &["node-a/10.244.1.5/eth0"])).expect("a capture");
    let recordings = Recordings::open(&[stage.path("out.arrows")]).expect("a recording");
    let points = &recordings.head().nodes[0].points;
    assert_eq!(points[0].addresses, [IpAddr::from(A)]);
    assert_eq!(points.len(), 2, "both directions");
    let shown = shown(&stage.path("out.arrows"));
    assert_eq!(shown.ways[0], ["node-a/eth0/egress"], "the pod has sent it");
}
