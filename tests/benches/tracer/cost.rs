//! The cost of a program for a packet, in ns, compared with the least that a program can cost.
//!
//! The machine may be shared, so its speed may change from second to second. Therefore the packets
//! take turns, round by round. Each is compared with the empty program in the same round, and the
//! medians of all rounds count.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tracer_common::counters::Counter;
use tracer_tests::frames::{self, ICMP, IPV4, IPV6, TCP, UDP};

use crate::alone::alone;
use crate::programs::{
    EMPTY, GENEVE_PORT, OBSERVE, PODS, Programs, ROOM, SERVICE_PORT, Size, VXLAN_PORT, XDP_EMPTY,
    XDP_OBSERVE, followed, unfollowed,
};
use crate::report::{Report, Table};
use crate::sample::Sample;

/// The number of turns of each packet.
const ROUNDS: usize = 24;
/// The time limit for undisturbed rounds.
const LIMIT: Duration = Duration::from_secs(20);
/// Runs per turn, for a packet without an event.
const REPEAT: u32 = 100_000;

/// What the program does with a packet, which bounds the time in units of the empty program's.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// A glance shows that the packet is a miss.
    Miss,
    /// A glance shows that the packet is a miss, after headers that take more reads.
    FarMiss,
    /// Only the walk or the filter's tables show that the packet is a miss.
    LateMiss,
    /// The packet matches, and the program writes its event.
    Match,
}

impl Fate {
    const fn bound(self) -> f64 {
        match self {
            Self::Miss => 1.6,
            Self::FarMiss => 1.8,
            Self::LateMiss => 5.0,
            Self::Match => 9.0,
        }
    }
}

/// The number of further addresses in the large filter.
const OTHERS: u32 = 5_000;
/// Limit of a miss's slowdown with the large filter, which is noise.
const OTHERS_BOUND: f64 = 1.05;

/// A measured packet: its name, its fate, and its frame for a round.
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
    ("miss: TCP in Geneve", Fate::FarMiss, |n| {
        geneve(&[], &tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in GRE", Fate::FarMiss, |n| {
        gre(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP, VLAN tag", Fate::Miss, |n| {
        tagged(&tcp(unfollowed(n).v4))
    }),
    ("miss: TCP in Geneve, options", Fate::LateMiss, |n| {
        geneve(&[0; 8], &tcp(unfollowed(n).v4))
    }),
    ("miss: followed pod to another", Fate::LateMiss, |n| {
        tcp([followed(n).v4[0], unfollowed(n).v4[1]])
    }),
    ("miss: followed pair, other port", Fate::LateMiss, |n| {
        segment(followed(n).v4, SERVICE_PORT + 1)
    }),
    ("miss: followed pair, ICMP", Fate::LateMiss, |n| {
        let [src, dst] = followed(n).v4;
        let echo = frames::icmp(8, 0, &PAYLOAD);
        frames::ethernet(IPV4, &frames::ipv4(ICMP, src, dst, &echo))
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

/// Packets at XDP, compared with an empty program there.
const XDP_CASES: &[Case] = &[
    ("XDP miss: TCP", Fate::FarMiss, |n| tcp(unfollowed(n).v4)),
    ("XDP miss: TCP in VXLAN", Fate::FarMiss, |n| {
        vxlan(&tcp(unfollowed(n).v4))
    }),
    ("XDP miss: TCP in IP-in-IP", Fate::FarMiss, |n| {
        ip_in_ip(&tcp(unfollowed(n).v4))
    }),
];

/// Measures, and adds a table.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    eprintln!(
        "cost per packet: {} packets, {ROUNDS} rounds",
        CASES.len() + XDP_CASES.len()
    );
    let mut programs = [Programs::load(0)?, Programs::load(OTHERS)?];
    // The first round finds cold caches and an unused ring buffer, so it does not count.
    round(&mut programs, 0)?;
    let deadline = Instant::now() + LIMIT;
    let mut rounds = Vec::new();
    while rounds.len() < ROUNDS {
        ensure!(
            Instant::now() < deadline,
            "the kernel's BPF statistics are on, which costs every program more than what is to be \
             measured: switch them off (`sysctl kernel.bpf_stats_enabled=0`, or end what uses them)"
        );
        let before = programs[0].timed_by_kernel()?;
        let number = rounds.len();
        let times = alone(|| round(&mut programs, number))?;
        if programs[0].timed_by_kernel()? == before {
            rounds.push(times);
        }
    }
    let size = programs[0].size()?;
    let tc = Times::of(&rounds, |round| &round.tc);
    let xdp = Times::of(&rounds, |round| &round.xdp);
    table(report, [&tc, &xdp], &size);
    Ok(())
}

/// The times of a round in ns per run.
struct Round {
    /// The empty program's, a miss with the large filter, then every packet's.
    tc: Vec<f64>,
    /// The empty program's at XDP, then every packet's.
    xdp: Vec<f64>,
}

fn round([programs, large]: &mut [Programs; 2], number: usize) -> Result<Round> {
    let pods = u8::try_from(number)? % PODS;
    let (first, fate, frame) = CASES[0];
    let mut tc = vec![
        programs.time(EMPTY, &frame(pods), REPEAT)?,
        turn(large, OBSERVE, first, fate, &frame(pods))?,
    ];
    for (name, fate, frame) in CASES {
        tc.push(turn(programs, OBSERVE, name, *fate, &frame(pods))?);
    }
    let mut xdp = vec![programs.time(XDP_EMPTY, &frame(pods), REPEAT)?];
    for (name, fate, frame) in XDP_CASES {
        xdp.push(turn(programs, XDP_OBSERVE, name, *fate, &frame(pods))?);
    }
    Ok(Round { tc, xdp })
}

/// One packet's turn: ns per run. Also checks that the program did what is being measured in every
/// run.
fn turn(
    programs: &mut Programs,
    program: &str,
    name: &str,
    fate: Fate,
    frame: &[u8],
) -> Result<f64> {
    let (counter, repeat, events) = match fate {
        Fate::Miss | Fate::FarMiss | Fate::LateMiss => (Counter::Miss, REPEAT, 0),
        Fate::Match => (Counter::Emitted, ROOM, u64::from(ROOM)),
    };
    let before = programs.counted(program, counter)?;
    let time = programs.time(program, frame, repeat)?;
    let counted = programs.counted(program, counter)? - before;
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
    /// The ratio of each time to the empty program's of the same round.
    ratio: Sample,
}

impl Times {
    /// The times in the order of a part of a [`Round`].
    fn of(rounds: &[Round], part: impl Fn(&Round) -> &[f64]) -> Vec<Self> {
        let times = |case: usize| rounds.iter().map(move |round| (case, round));
        let cases = 0..part(&rounds[0]).len();
        let of_case = |case| Self {
            ns: Sample::new(times(case).map(|(at, round)| part(round)[at]).collect()),
            ratio: Sample::new(
                times(case)
                    .map(|(at, round)| part(round)[at] / part(round)[0])
                    .collect(),
            ),
        };
        cases.map(of_case).collect()
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

fn table(report: &mut Report, [tc, xdp]: [&[Times]; 2], size: &[Size; 2]) {
    let ([empty, large, cases @ ..], [xdp_empty, xdp_cases @ ..]) = (tc, xdp) else {
        unreachable!("each round has these");
    };
    let mut table = Table::new(
        &["packet", "ns", "middle half", "× empty", "bound"],
        note(size),
    );
    let row = |name: &str, times: &Times, bound| {
        let [ns, half, ratio] = times.cells();
        [name.to_owned(), ns, half, ratio, bound]
    };
    table.row(row("(empty program)", empty, String::new()));
    let mut rows = |table: &mut Table, all: &[Case], times: &[Times]| {
        for ((name, fate, _), times) in all.iter().zip(times) {
            let most = fate.bound();
            let held = times.ratio.median() <= most;
            let bound = report.judge(name, held, &format!("≤ {most} × empty"));
            table.row(row(name, times, bound));
        }
    };
    rows(&mut table, CASES, cases);
    table.row(row("(empty XDP program)", xdp_empty, String::new()));
    rows(&mut table, XDP_CASES, xdp_cases);
    let name = format!("miss: TCP, {OTHERS} addresses more");
    let held = large.ns.median() <= OTHERS_BOUND * cases[0].ns.median();
    let bound = report.judge(&name, held, &format!("≤ {OTHERS_BOUND} × without them"));
    table.row(row(&name, large, bound));
    report.add(table);
}

fn note([glance, closer]: &[Size; 2]) -> String {
    let told = |size: &Size| {
        let Size {
            verified,
            translated,
            jited,
        } = size;
        format!(
            "{translated} instructions, {jited} bytes of machine code, of which the verifier followed \
             {verified}"
        )
    };
    format!(
        "BPF_PROG_TEST_RUN on one frame, {} address pairs in the filter; medians of {ROUNDS} rounds \
         in turn, × empty within each round; every miss counted by the program, every match's event \
         read. Program: {}. The one that it goes on in: {}.",
        2 * PODS,
        told(glance),
        told(closer)
    )
}

/// A payload to carry and to hash.
const PAYLOAD: [u8; 64] = [0x5a; 64];

fn tcp(ends: [Ipv4Addr; 2]) -> Vec<u8> {
    segment(ends, SERVICE_PORT)
}

fn segment([src, dst]: [Ipv4Addr; 2], port: u16) -> Vec<u8> {
    let segment = frames::tcp(40_000, port, 1, &PAYLOAD);
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

/// A frame in VXLAN, on its way between two nodes.
fn vxlan(frame: &[u8]) -> Vec<u8> {
    between_nodes(UDP, &frames::vxlan(VXLAN_PORT, 1, frame))
}

/// A frame without its Ethernet header, in an IP packet between two nodes.
fn ip_in_ip(frame: &[u8]) -> Vec<u8> {
    between_nodes(frames::IPV4_IN_IP, &frame[14..])
}

/// A frame in Geneve with options, on its way between two nodes.
fn geneve(options: &[u8], frame: &[u8]) -> Vec<u8> {
    let datagram = frames::geneve(GENEVE_PORT, 1, options, frames::FRAME, frame);
    between_nodes(UDP, &datagram)
}

/// A frame without its Ethernet header, in GRE between two nodes.
fn gre(frame: &[u8]) -> Vec<u8> {
    between_nodes(frames::GRE, &frames::gre([None; 3], IPV4, &frame[14..]))
}

/// A frame with a VLAN tag, as it goes out.
fn tagged(frame: &[u8]) -> Vec<u8> {
    frames::ethernet(frames::VLAN, &frames::vlan(5, IPV4, &frame[14..]))
}

fn between_nodes(proto: u8, payload: &[u8]) -> Vec<u8> {
    let [here, there] = [[172, 16, 0, 1], [172, 16, 0, 2]].map(Ipv4Addr::from);
    frames::ethernet(IPV4, &frames::ipv4(proto, here, there, payload))
}
