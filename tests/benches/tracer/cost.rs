//! What a packet pays for passing a program, in ns, beside the least that a
//! program can cost.
//!
//! The machine may be a shared one whose speed changes from second to second.
//! So the packets take turns, round by round; each is compared with the empty
//! program's turn in its own round; and the medians of all rounds count.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tracer_common::counters::Counter;
use tracer_tests::frames::{self, IPV4, IPV6, TCP, UDP};

use crate::alone::alone;
use crate::programs::{
    EMPTY, GENEVE_PORT, OBSERVE, PODS, Programs, ROOM, SERVICE_PORT, Size, VXLAN_PORT, followed,
    unfollowed,
};
use crate::report::{Report, Table};
use crate::sample::Sample;

/// How often each packet takes its turn.
const ROUNDS: usize = 24;
/// How long to wait for rounds that nobody disturbs.
const LIMIT: Duration = Duration::from_secs(20);
/// Runs per turn of a packet that leaves no event.
const REPEAT: u32 = 100_000;

/// How many times an empty program's time a miss may take.
const MISS_BOUND: f64 = 2.5;
/// How many ns a match may take, its event included ...
const MATCH_BOUND: f64 = 200.0;
/// ... on a machine on which the empty program takes so many, ...
const REFERENCE: f64 = 10.0;
/// ... or up to so many, which is why no more than that is taken for a slow one.
const SLOW: f64 = 12.0;

/// What is to become of a packet.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// The filter's first stage knows that it is a miss.
    Miss,
    /// Only exact look-ups tell. Has no bound: it is rare.
    LateMiss,
    /// Only the second, thorough look can read it. Likewise.
    RareMiss,
    Match,
}

/// A packet that is measured: its name, its fate, and the frame of a round.
type Case = (&'static str, Fate, fn(u8) -> Vec<u8>);

const CASES: &[Case] = &[
    ("miss: TCP", Fate::Miss, |n| tcp(unfollowed(n).v4)),
    ("miss: UDP", Fate::Miss, |n| udp(unfollowed(n).v4)),
    ("miss: TCP, IPv6", Fate::Miss, |n| tcp_v6(unfollowed(n).v6)),
    ("miss: TCP in VXLAN", Fate::Miss, |n| {
        vxlan(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in IP-in-IP", Fate::Miss, |n| {
        ip_in_ip(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in Geneve", Fate::Miss, |n| {
        geneve(&[], &tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in GRE", Fate::Miss, |n| {
        gre(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP, VLAN tag", Fate::Miss, |n| {
        tagged(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in Geneve, options", Fate::RareMiss, |n| {
        geneve(&[0; 8], &tcp(unfollowed(n).v4))
    }),
    ("miss: followed pod to another", Fate::LateMiss, |n| {
        tcp([followed(n).v4[0], unfollowed(n).v4[1]])
    }),
    ("match: TCP", Fate::Match, |n| tcp(followed(n).v4)),
    ("match: UDP", Fate::Match, |n| udp(followed(n).v4)),
    ("match: TCP, IPv6", Fate::Match, |n| tcp_v6(followed(n).v6)),
    ("match: TCP in VXLAN", Fate::Match, |n| {
        vxlan(&tcp(followed(n).v4))
    }),
    ("match: TCP in IP-in-IP", Fate::Match, |n| {
        ip_in_ip(&tcp(followed(n).v4))
    }),
];

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    eprintln!("cost per packet: {} packets, {ROUNDS} rounds", CASES.len());
    let mut programs = Programs::load()?;
    // This one finds cold caches and a ring buffer that was never written.
    round(&mut programs, 0)?;
    let deadline = Instant::now() + LIMIT;
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS {
        ensure!(
            Instant::now() < deadline,
            "the kernel's BPF statistics are on, which costs every program more than what is to be \
             measured: switch them off (`sysctl kernel.bpf_stats_enabled=0`, or end what uses them)"
        );
        let before = programs.timed_by_kernel()?;
        let number = rounds.len();
        let times = alone(|| round(&mut programs, number))?;
        if programs.timed_by_kernel()? == before {
            rounds.push(times);
        }
    }
    let size = programs.size()?;
    let [empty, cases @ ..] = Times::of(&rounds);
    table(report, &empty, &cases, &size);
    Ok(())
}

/// The empty program's time, then every packet's, ns per run.
type Round = [f64; CASES.len() + 1];

fn round(programs: &mut Programs, number: usize) -> Result<Round> {
    let pods = u8::try_from(number)? % PODS;
    let mut times = [0.0; CASES.len() + 1];
    times[0] = programs.time(EMPTY, &tcp(unfollowed(pods).v4), REPEAT)?;
    for ((name, fate, frame), time) in CASES.iter().zip(&mut times[1..]) {
        *time = turn(programs, name, *fate, &frame(pods))?;
    }
    Ok(times)
}

/// One packet's turn: ns per run, once it is certain that the program did
/// every time what is being measured.
fn turn(programs: &mut Programs, name: &str, fate: Fate, frame: &[u8]) -> Result<f64> {
    let (counter, repeat, events) = match fate {
        Fate::Miss | Fate::LateMiss | Fate::RareMiss => (Counter::Miss, REPEAT, 0),
        Fate::Match => (Counter::Emitted, ROOM, u64::from(ROOM)),
    };
    let before = programs.counted(counter)?;
    let time = programs.time(OBSERVE, frame, repeat)?;
    let counted = programs.counted(counter)? - before;
    ensure!(
        counted == u64::from(repeat),
        "{name}: of {repeat} runs {counted} were counted as {counter:?}"
    );
    let drained = programs.drain();
    ensure!(
        drained == events,
        "{name}: {repeat} runs left {drained} events, not {events}"
    );
    Ok(time)
}

/// One packet's times.
struct Times {
    ns: Sample,
    /// Each by the empty program's of its round.
    ratio: Sample,
}

impl Times {
    /// Those of the empty program, then those of every packet.
    fn of(rounds: &[Round]) -> [Self; CASES.len() + 1] {
        std::array::from_fn(|case| Self {
            ns: Sample::new(rounds.iter().map(|round| round[case]).collect()),
            ratio: Sample::new(rounds.iter().map(|round| round[case] / round[0]).collect()),
        })
    }

    fn cells(&self) -> [String; 3] {
        let [low, high] = self.ns.quartiles();
        [
            format!("{:.1}", self.ns.median()),
            format!("{low:.1}–{high:.1}"),
            format!("{:.2}", self.ratio.median()),
        ]
    }
}

fn table(report: &mut Report, empty: &Times, cases: &[Times], size: &Size) {
    let slow = empty.ns.median() > SLOW;
    let mut table = Table::new(
        &["packet", "ns", "middle half", "× empty", "bound"],
        note(size, slow),
    );
    let row = |name: &str, times: &Times, bound| {
        let [ns, half, ratio] = times.cells();
        [name.to_owned(), ns, half, ratio, bound]
    };
    table.row(row("(empty program)", empty, String::new()));
    for ((name, fate, _), times) in CASES.iter().zip(cases) {
        let bound = match fate {
            Fate::LateMiss | Fate::RareMiss => String::new(),
            Fate::Miss => {
                let held = times.ratio.median() <= MISS_BOUND;
                report.judge(name, held, &format!("≤ {MISS_BOUND} × empty"))
            }
            Fate::Match => {
                let [ns, scaled] = [times.ns.median(), times.ratio.median() * REFERENCE];
                if slow && ns > MATCH_BOUND {
                    let bound = format!("≤ {MATCH_BOUND} ns, scaled to {scaled:.0}");
                    report.judge(name, scaled <= MATCH_BOUND, &bound)
                } else {
                    report.judge(name, ns <= MATCH_BOUND, &format!("≤ {MATCH_BOUND} ns"))
                }
            }
        };
        table.row(row(name, times, bound));
    }
    report.add(table);
}

fn note(size: &Size, slow: bool) -> String {
    let Size {
        verified,
        translated,
        jited,
    } = size;
    let scaled = if slow {
        format!(
            " The machine was slow, as its empty program took more than {SLOW} ns: a match beyond its \
             bound is judged by what it would take where the empty program takes {REFERENCE} ns."
        )
    } else {
        String::new()
    };
    format!(
        "BPF_PROG_TEST_RUN on one frame, {} address pairs in the filter; medians of {ROUNDS} rounds \
         in turn, × empty within each round; every miss counted by the program, every match's event \
         read. Program: {translated} instructions, {jited} bytes of machine code; the verifier \
         followed {verified}.{scaled}",
        2 * PODS
    )
}

/// Something to carry, and to hash.
const PAYLOAD: [u8; 64] = [0x5a; 64];

fn tcp([src, dst]: [Ipv4Addr; 2]) -> Vec<u8> {
    let segment = frames::tcp(40_000, SERVICE_PORT, 1, &PAYLOAD);
    frames::ethernet(IPV4, &frames::ipv4(TCP, src, dst, &segment))
}

fn tcp_v6([src, dst]: [Ipv6Addr; 2]) -> Vec<u8> {
    let segment = frames::tcp(40_000, SERVICE_PORT, 1, &PAYLOAD);
    frames::ethernet(IPV6, &frames::ipv6(TCP, src, dst, &segment))
}

fn udp([src, dst]: [Ipv4Addr; 2]) -> Vec<u8> {
    let datagram = frames::udp(40_000, SERVICE_PORT, &PAYLOAD);
    frames::ethernet(IPV4, &frames::ipv4(UDP, src, dst, &datagram))
}

/// A frame on its way between two nodes.
fn vxlan(frame: &[u8]) -> Vec<u8> {
    between_nodes(UDP, &frames::vxlan(VXLAN_PORT, 1, frame))
}

/// The same without its Ethernet header in an IP packet.
fn ip_in_ip(frame: &[u8]) -> Vec<u8> {
    between_nodes(frames::IPV4_IN_IP, &frame[14..])
}

/// The same in Geneve, with options.
fn geneve(options: &[u8], frame: &[u8]) -> Vec<u8> {
    let datagram = frames::geneve(GENEVE_PORT, 1, options, frames::FRAME, frame);
    between_nodes(UDP, &datagram)
}

/// The same without its Ethernet header in GRE.
fn gre(frame: &[u8]) -> Vec<u8> {
    between_nodes(frames::GRE, &frames::gre([None; 3], IPV4, &frame[14..]))
}

/// With a VLAN tag in the frame, as it goes out.
fn tagged(frame: &[u8]) -> Vec<u8> {
    frames::ethernet(frames::VLAN, &frames::vlan(5, IPV4, &frame[14..]))
}

fn between_nodes(proto: u8, payload: &[u8]) -> Vec<u8> {
    let [here, there] = [[172, 16, 0, 1], [172, 16, 0, 2]].map(Ipv4Addr::from);
    frames::ethernet(IPV4, &frames::ipv4(proto, here, there, payload))
}
