//! Recordings with lost events, as with a full ring buffer.
//!
//! The tests take events out of every fixture, and the reports of the streams count these events as
//! the kernel programs would. The verdicts may then be less definite than those of the whole
//! recording, but never different.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    slice,
};

use tracer_common::{counters::Counter, drop::DropCounter};
use tracer_core::{
    collect::{Beginning, Core},
    input::{Batch, Record, Report},
    journal::{Reader, Selected, View},
    journey::{Class, Journey, Scene},
    model::{Ends, Flags, Packet, Proto, Transport},
    verdict::{Evidence, Kind, Parts, Summary, Verdict},
};

use super::{fixtures, packet};
use crate::store::Recordings;

/// A recording in memory.
struct Recording {
    beginning: Beginning,
    records: Vec<Record>,
}

/// The verdicts and the summary of a recording.
#[derive(Default)]
struct Said {
    journeys: Vec<(Journey, Verdict, Parts)>,
    summary: Summary,
}

impl View for Said {
    fn journey(
        &mut self,
        _: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        let judged = (journey.clone(), verdict.clone(), *parts);
        self.journeys.push(judged);
        Ok(())
    }

    fn summary(&mut self, _: &Scene, summary: &Summary, _: Option<&Selected>) -> io::Result<()> {
        self.summary = summary.clone();
        Ok(())
    }
}

impl Recording {
    fn read(path: &PathBuf) -> Self {
        let recordings = Recordings::open(slice::from_ref(path)).expect("a trace");
        let beginning = recordings.beginning();
        let records = recordings.map(|record| record.expect("a whole trace"));
        let records = records.collect();
        Self { beginning, records }
    }

    fn batches(&self) -> impl Iterator<Item = (usize, &Batch)> {
        self.records.iter().filter_map(|record| match record {
            Record::Batch { agent, batch } => Some((*agent, &**batch)),
            _ => None,
        })
    }

    /// The times of the first and the last event by the agents' clocks, ns.
    fn span(&self) -> (u64, u64) {
        let times = self.batches().flat_map(|(_, batch)| {
            let hops = batch.hops.iter().map(|hop| hop.time);
            hops.chain(batch.freed.iter().map(|freed| freed.time))
        });
        times.fold((u64::MAX, 0), |(first, last), time| {
            (first.min(time), last.max(time))
        })
    }

    /// Replays the recording without the events that are `lost`.
    fn said(&self, mut lost: impl FnMut(&Event<'_>) -> bool) -> Said {
        let mut losses: HashMap<(usize, usize), Lost> = HashMap::new();
        let mut records = self.records.clone();
        for record in &mut records {
            let Record::Batch { agent, batch } = record else {
                continue;
            };
            let stream = losses.entry((*agent, batch.stream)).or_default();
            let number = batch.stream;
            let mut event = |time, point, packet: Option<&Packet>| {
                let event = Event {
                    agent: *agent,
                    stream: number,
                    time,
                    packet,
                };
                let lost = lost(&event);
                if lost {
                    stream.0.push((time, point));
                }
                !lost
            };
            batch
                .hops
                .retain(|hop| event(hop.time, Some(hop.point), Some(&hop.packet)));
            batch
                .freed
                .retain(|freed| event(freed.time, None, freed.packet.as_ref()));
        }
        let mut core = Core::new(self.beginning.clone());
        let mut said = Said::default();
        let reader = &mut Reader::new(&mut said, None);
        for mut record in records {
            if let Record::Batch { agent, batch } = &mut record
                && let Some(report) = &mut batch.report
            {
                losses[&(*agent, batch.stream)].declare(report);
            }
            core.take(record);
            core.show(reader).expect("memory");
        }
        core.end(reader).expect("memory");
        core.sum_up(reader).expect("memory");
        let lost: usize = losses.values().map(|lost| lost.0.len()).sum();
        let accounting = &said.summary.accounting;
        let told = accounting.lost() + accounting.drops.lost();
        assert!(told >= lost as u64, "{accounting:?}");
        said
    }
}

/// An event that may be lost.
struct Event<'a> {
    agent: usize,
    stream: usize,
    time: u64,
    packet: Option<&'a Packet>,
}

/// The lost events of a stream: the time of each, and the point of each hop.
#[derive(Default)]
struct Lost(Vec<(u64, Option<usize>)>);

impl Lost {
    /// Counts the lost events as the programs would have done by the time of the report.
    fn declare(&self, report: &mut Report) {
        for (_, point) in self.0.iter().filter(|(time, _)| *time <= report.time) {
            let Some(point) = point else {
                let drops = report.drops.as_mut().expect("a stream of drops");
                let packets = &mut drops.counters.packets;
                let [emitted, full] = [DropCounter::Emitted, DropCounter::RingFull];
                count(packets, emitted as usize, full as usize);
                continue;
            };
            let mut counters = report.counters.iter_mut();
            let (_, counters) = counters
                .find(|(counted, _)| counted == point)
                .expect("in a laboratory no two points share a slot");
            let [emitted, full] = [Counter::Emitted, Counter::RingFull];
            count(&mut counters.packets, emitted as usize, full as usize);
        }
    }
}

/// Counts one packet as lost. A program reads the clock before it counts, so a report of a later
/// time may not include the packet.
fn count(packets: &mut [u64], emitted: usize, full: usize) {
    if let Some(rest) = packets[emitted].checked_sub(1) {
        packets[emitted] = rest;
        packets[full] += 1;
    }
}

/// A generator of random numbers that are the same every time (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A packet's content, whatever its encapsulation. Packets with the same content cannot be told
/// apart, so the tests compare only their numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Content {
    Packet(String),
    /// Bytes of a stream that were sent at the same time: the stream, and the start of the
    /// contiguous range.
    Bytes(String, i64),
}

/// The stream and time of stream data, its first byte, and its length.
fn bytes(packet: &Packet) -> Option<(String, u32, u32)> {
    let tcp = packet.stream_data()?;
    let stamp = tcp.timestamps.map(|(value, _)| value);
    let stream = (packet.src, packet.dst, tcp.src_port, tcp.dst_port, stamp);
    Some((format!("{stream:?}"), tcp.seq, tcp.payload_len))
}

/// The contents of packets.
struct Contents(HashMap<String, (u32, Vec<(i64, i64)>)>);

impl Contents {
    fn of<'a>(packets: impl Iterator<Item = &'a Packet>) -> Self {
        let mut streams: HashMap<String, (u32, Vec<(i64, i64)>)> = HashMap::new();
        for (stream, seq, len) in packets.filter_map(bytes) {
            let (first, ranges) = streams.entry(stream).or_insert((seq, Vec::new()));
            let start = offset(*first, seq);
            ranges.push((start, start + i64::from(len)));
        }
        for (_, ranges) in streams.values_mut() {
            ranges.sort_unstable();
            ranges.dedup_by(|next, before| {
                let overlap = next.0 < before.1;
                before.1 = before.1.max(if overlap { next.1 } else { before.1 });
                overlap
            });
        }
        Self(streams)
    }

    fn content(&self, packet: &Packet) -> Content {
        let Some((stream, seq, _)) = bytes(packet) else {
            let packet = Packet {
                ttl: 0,
                ..packet.clone()
            };
            return Content::Packet(format!("{packet:?}"));
        };
        let (first, ranges) = &self.0[&stream];
        let start = offset(*first, seq);
        let of = ranges.iter().rfind(|(from, _)| *from <= start);
        let (from, _) = of.expect("its range was taken");
        Content::Bytes(stream, *from)
    }
}

/// The first ends of packets, by the ends that a translation gave them.
fn first_ends(said: &Said) -> HashMap<(Proto, Ends), Ends> {
    let mut first = HashMap::new();
    for (journey, ..) in &said.journeys {
        let proto = journey.packet.proto();
        let translated = journey.steps.iter().filter_map(|step| step.ends.as_deref());
        for ends in translated {
            first.extend(journey.packet.ends().map(|own| ((proto, *ends), own)));
        }
    }
    first
}

/// A packet with its ends before a translation.
fn as_first(first: &HashMap<(Proto, Ends), Ends>, packet: &Packet) -> Packet {
    let own = packet
        .ends()
        .and_then(|ends| first.get(&(packet.proto(), ends)));
    unchanged(own.map_or_else(|| packet.clone(), |own| packet.with_ends(own)))
}

/// A packet without the parts that differ between its hops. tracer reads DNS on its port alone,
/// which a translation may change, and rules change a SYN's options.
fn unchanged(mut packet: Packet) -> Packet {
    match &mut packet.transport {
        Transport::Udp { dns, .. } => *dns = None,
        Transport::Tcp(tcp) if tcp.flags.has(Flags::SYN) => tcp.options_hash = 0,
        _ => {}
    }
    packet
}

fn offset(first: u32, seq: u32) -> i64 {
    i64::from(seq.wrapping_sub(first).cast_signed())
}

/// The journeys with the same content.
#[derive(Default)]
struct Alike<'a> {
    whole: Vec<&'a (Journey, Verdict, Parts)>,
    lossy: Vec<&'a (Journey, Verdict, Parts)>,
}

/// Whether a verdict claims no more than another one does.
///
/// An unanswered packet was delivered. A refused packet may have been dropped, and its sender told.
/// If hops come `late`, after the verdict on their journey, and the journey's other hops are lost,
/// the late hops get their own verdict.
fn is_less(verdict: Kind, whole: Kind, is_stream: bool, late: bool) -> bool {
    // A super-packet may be seen first as the segments that arrive. The numbers of bytes by verdict
    // are compared separately.
    let part = is_stream && whole == Kind::Partial;
    match verdict {
        Kind::Unknown => true,
        // The packet left the nodes, and its further fate is open.
        Kind::Left => !matches!(whole, Kind::Unknown | Kind::Dropped | Kind::Lost),
        Kind::Delivered => {
            let late = late && whole == Kind::Unknown;
            matches!(whole, Kind::Delivered | Kind::Unanswered) || part || late
        }
        Kind::Dropped => matches!(whole, Kind::Dropped | Kind::Refused) || part,
        Kind::Lost => whole == Kind::Lost || part,
        Kind::Partial => matches!(whole, Kind::Delivered | Kind::Dropped | Kind::Lost) || part,
        Kind::Refused | Kind::Unanswered => whole == verdict,
    }
}

/// The ends that packets were sent with, by protocol and by the ends that translation gave the
/// packets. If its first hops are lost, a journey begins with the translated ends.
fn ends_when_sent(whole: &Said) -> HashMap<(Proto, Ends), Ends> {
    let journeys = whole.journeys.iter().map(|(journey, ..)| journey);
    let known = journeys.filter_map(|journey| Some((journey, journey.packet.ends()?)));
    known
        .flat_map(|(journey, first)| {
            let proto = journey.packet.proto();
            let steps = journey.steps.iter();
            let later = steps.filter_map(|step| step.ends.as_deref().copied());
            later.map(move |ends| ((proto, ends), first))
        })
        .collect()
}

/// A packet with the ends that its sender gave it.
fn as_sent(sent: &HashMap<(Proto, Ends), Ends>, packet: &Packet) -> Packet {
    let first = packet
        .ends()
        .and_then(|ends| sent.get(&(packet.proto(), ends)));
    unchanged(first.map_or_else(|| packet.clone(), |first| packet.with_ends(first)))
}

/// The claims about a recording with losses that contradict the whole recording.
fn contradictions(scene: &Beginning, whole: &Said, lossy: &Said) -> String {
    let sent = ends_when_sent(whole);
    let journeys = || whole.journeys.iter().chain(&lossy.journeys);
    let packets: Vec<Packet> = journeys()
        .map(|(journey, ..)| as_sent(&sent, &journey.packet))
        .collect();
    let contents = Contents::of(packets.iter());
    let of = |said: &Said| -> HashMap<u64, Content> {
        let journeys = said.journeys.iter().map(|(journey, ..)| journey);
        journeys
            .map(|journey| {
                (
                    journey.id,
                    contents.content(&as_sent(&sent, &journey.packet)),
                )
            })
            .collect()
    };
    let (whole_of, lossy_of) = (of(whole), of(lossy));
    let mut groups: BTreeMap<&Content, Alike<'_>> = BTreeMap::new();
    for judged in &whole.journeys {
        let group = groups.entry(&whole_of[&judged.0.id]).or_default();
        group.whole.push(judged);
    }
    for judged in &lossy.journeys {
        let group = groups.entry(&lossy_of[&judged.0.id]).or_default();
        group.lossy.push(judged);
    }
    let late = whole.summary.accounting.late > 0;
    let mut text = String::new();
    for (content, group) in &groups {
        let is_stream = matches!(content, Content::Bytes(..));
        let mut wrong = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Unknown) {
            let said = group.lossy.iter().filter(|(_, one, _)| one.kind == kind);
            let may = group
                .whole
                .iter()
                .filter(|(_, one, _)| is_less(kind, one.kind, is_stream, late));
            let (said, may) = (said.count(), may.count());
            if said > may && !(is_stream && may > 0) {
                wrong.push(format!("{said} {}, {may} may be", kind.name()));
            }
        }
        let sum = |judged: &[&(Journey, Verdict, Parts)]| {
            let sum = |of: fn(&Parts) -> u64| judged.iter().map(|(.., parts)| of(parts)).sum();
            let parts: [u64; 3] = [
                sum(|parts| parts.delivered),
                sum(|parts| parts.dropped),
                sum(|parts| parts.lost),
            ];
            parts
        };
        let (said, may) = (sum(&group.lossy), sum(&group.whole));
        if !late && said.iter().zip(may).any(|(said, may)| *said > may) {
            wrong.push(format!(
                "delivered, dropped, lost: {said:?}, of the whole {may:?}"
            ));
        }
        // If packets look the same to an ICMP error, it may belong to any of them.
        let answers = group.lossy.iter().filter(|(one, ..)| {
            !matches!(&one.packet.transport, Transport::Icmp(icmp) if icmp.quote.is_some())
        });
        for (journey, ..) in answers {
            let Some(question) = journey.answers.and_then(|id| lossy_of.get(&id)) else {
                continue;
            };
            let same = |(whole, ..): &&(Journey, Verdict, Parts)| {
                let answers = whole.answers.and_then(|id| whole_of.get(&id));
                answers == Some(question)
            };
            if !group.whole.iter().copied().any(|one| same(&one)) {
                wrong.push(format!("answers another packet: {question:?}"));
            }
        }
        if wrong.is_empty() {
            continue;
        }
        let scene = Scene {
            nodes: scene.nodes.clone().into(),
            owners: scene.owners.clone(),
            ..Scene::default()
        };
        let what = |text: &mut String, which: &str, judged: &[&(Journey, Verdict, Parts)]| {
            for (journey, verdict, parts) in judged {
                let points = journey.steps.iter().map(|step| (step.node, step.point));
                let points: Vec<_> = points.collect();
                let (packet, drops) = (
                    packet(&scene, &journey.packet, journey.start()),
                    journey.drops.len(),
                );
                writeln!(
                    text,
                    "  {which} {packet}: {points:?}, {drops} drops, {:?} {:?}, {parts:?}: {:?}; {:?}",
                    journey.closed,
                    verdict.confidence,
                    verdict.outcome,
                    verdict.evidence
                )
                .expect("a string takes all");
            }
        };
        writeln!(text, " {}", wrong.join("; ")).expect("a string takes all");
        what(&mut text, "whole", &group.whole);
        what(&mut text, "lossy", &group.lossy);
    }
    text
}

fn each_fixture(mut test: impl FnMut(&Path, &Recording, &Said)) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .expect("there are fixtures")
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|is| is == "arrows"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no fixture is there");
    for path in &paths {
        let recording = Recording::read(path);
        let whole = recording.said(|_| false);
        test(path, &recording, &whole);
    }
}

/// The rates of single losses in all streams: one event of this many.
const RATES: [u64; 2] = [2, 12];

/// How often a stream loses all events for a while, for each recording.
const BURSTS: u64 = 1;

#[test]
fn lost_events_make_verdicts_less_definite_and_never_others() {
    let mut wrong = String::new();
    let mut seed = 0;
    each_fixture(|path, recording, whole| {
        let mut check = |how: String, said: &Said| {
            let text = contradictions(&recording.beginning, whole, said);
            if !text.is_empty() {
                writeln!(wrong, "{}, {how}:\n{text}", path.display()).expect("a string takes all");
            }
        };
        for rate in RATES {
            seed += 1;
            let mut random = Random(seed);
            let said = recording.said(|_| random.below(rate) == 0);
            check(format!("one of {rate} lost"), &said);
        }
        let (first, last) = recording.span();
        for _ in 0..BURSTS {
            seed += 1;
            let mut random = Random(seed);
            let agents = recording.beginning.nodes.len() as u64;
            let agent = usize::try_from(random.below(agents)).expect("few");
            let streams = recording.beginning.nodes[agent].streams as u64;
            let stream = usize::try_from(random.below(streams)).expect("few");
            let from = first + random.below(last - first + 1);
            let to = from + random.below(last - first + 1);
            let said = recording.said(|event| {
                (event.agent, event.stream) == (agent, stream) && (from..to).contains(&event.time)
            });
            check(format!("all of {agent}/{stream} lost for a while"), &said);
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// A verdict rests on the packet's own hops and drops, if there are any.
#[test]
fn lost_hops_of_other_packets_change_no_delivery_and_no_drop() {
    let mut wrong = String::new();
    each_fixture(|path, recording, whole| {
        let packets = || {
            let batches = recording.batches();
            batches.flat_map(|(_, batch)| {
                let freed = batch.freed.iter().filter_map(|one| one.packet.as_ref());
                batch.hops.iter().map(|hop| &hop.packet).chain(freed)
            })
        };
        let first = first_ends(whole);
        let untranslated: Vec<Packet> = packets().map(|packet| as_first(&first, packet)).collect();
        let contents = Contents::of(untranslated.iter());
        let content = |packet: &Packet| contents.content(&as_first(&first, packet));
        let mut all: Vec<Content> = packets().map(content).collect();
        all.sort();
        all.dedup();
        // All hops of every other content are lost.
        let of_others = |packet: &Packet| {
            let index = all.binary_search(&content(packet));
            index.is_ok_and(|index| index % 2 == 0)
        };
        let is_drop = |event: &Event<'_>| {
            let mut hellos = recording.beginning.nodes.iter();
            hellos
                .nth(event.agent)
                .is_some_and(|hello| event.stream + 1 == hello.streams)
        };
        let said = recording.said(|event| !is_drop(event) && event.packet.is_some_and(of_others));
        let kinds = |said: &Said| {
            let mut kinds: BTreeMap<(Content, Kind), Vec<String>> = BTreeMap::new();
            for (journey, verdict, _) in &said.journeys {
                // If its question may be unseen, a reply may belong to another question. A packet
                // that a bridge hands to a port may be a copy.
                let mut evidence = verdict.evidence.iter();
                let is_seen = match verdict.drop.map(|index| &journey.drops[index]) {
                    Some(drop) => {
                        let is_copy = drop.judgement.class == Class::Flooded;
                        drop.same_buffer && &*drop.netns == "host" && !is_copy
                    }
                    None => evidence.any(|one| matches!(one, Evidence::Seen(_))),
                };
                if is_seen && !of_others(&journey.packet) {
                    let key = (content(&journey.packet), verdict.kind);
                    let text = format!("{:?} {:?}", verdict.outcome, verdict.evidence);
                    kinds.entry(key).or_default().push(text);
                }
            }
            kinds
        };
        let (before, after) = (kinds(whole), kinds(&said));
        for ((content, kind), texts) in &before {
            let kept = after.get(&(content.clone(), *kind)).map_or(0, Vec::len);
            if matches!(kind, Kind::Delivered | Kind::Dropped) && kept != texts.len() {
                let mut now = after.range((content.clone(), Kind::Delivered)..);
                let now = now.next().filter(|((of, _), _)| of == content);
                writeln!(wrong, "{}: {texts:?}, and then {now:?}", path.display())
                    .expect("a string takes all");
            }
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
}
