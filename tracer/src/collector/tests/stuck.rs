//! Follows with one agent that gets stuck: its watermark stays, it reports no losses, or it does
//! not end. Tokio's clock is paused, so time passes only while all tasks wait.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::mpsc,
    time::{Instant, interval, sleep},
};
use tracer_common::counters::{Counter, Counters};
use tracer_core::{
    input::{Batch, Change, DropReport, MAX_POINTS, Report},
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Limits, Scene},
    model::{Hop, Owner, OwnerKind, Packet, Point, Transport},
    request::{Command, Commander, Filter},
    verdict::{Kind, Parts, Summary, Verdict},
};

use super::{
    delivery::Shown,
    recorded::{Files, shown as replayed},
    world::{DROPS, FROM_POD, HOPS, IN, MS, NAMES, OUT, PODS, S, STREAMS, TO_POD, beginning, hop},
};
use crate::{
    collector::{
        Agents, Outcome, Plan, SessionError, Write,
        agents::{ENDING, Reached, Sent},
        recorder::Recorder,
        session::follow_agents,
        stalls::PATIENCE,
    },
    store::Rotation,
};

/// The hold time of the follow.
const HOLD: Duration = Duration::from_secs(1);

/// When the second node's agent gets stuck, after the beginning.
const STUCK: Duration = Duration::from_secs(5);

/// When that agent gets too many points: late, because each journey searches all points.
const CROWDED: Duration = Duration::from_secs(36);

/// Duration of the follow, until it is told to stop.
const FOLLOW: Duration = Duration::from_secs(40);

/// Another pod on the first node, and its point.
const BESIDE: [u8; 4] = [10, 244, 1, 6];
const TO_BESIDE: usize = 4;

/// The ways in which an agent is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    /// The stream of its hops sends nothing.
    Silent,
    /// The stream of its hops sends hops and watermarks, and no reports.
    Unreporting,
    /// The agent sends everything, and does not end.
    Unending,
    /// The agent never answers at all.
    Dead,
    /// The agent has more points than can be numbered, twice, and sees packets at the last point.
    Crowded,
}

/// Packets go in turn to the other pod of the first node, to the second node, and to the second
/// node without arriving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Beside,
    Across,
    Lost,
}

/// The time between two packets, ns.
const EVERY: i64 = 100 * MS;

fn way(number: i64) -> Way {
    [Way::Beside, Way::Across, Way::Lost][usize::try_from(number % 3).expect("small")]
}

/// The number of a journey's packet, which identifies it.
fn number(journey: &Journey) -> i64 {
    journey.packet.ip_id.expect("all have one").into()
}

struct Line(mpsc::UnboundedSender<Command>);

impl Commander for Line {
    fn send(&self, command: Command) {
        // An agent that is gone takes no commands.
        let _: Result<(), _> = self.0.send(command);
    }
}

/// An agent that sees the packets that pass its node's points.
struct Fake {
    node: usize,
    stuck: Option<Stuck>,
    begin: Instant,
    /// The number of packets that the agent has seen.
    seen: i64,
    /// The number of the node's points.
    points: usize,
    to: mpsc::Sender<(usize, Sent)>,
}

impl Fake {
    /// The agent's clock, ns. The node booted 5 s before the beginning.
    fn now(&self) -> i64 {
        5 * S + i64::try_from(self.begin.elapsed().as_nanos()).expect("small")
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut tick = interval(Duration::from_millis(50));
        loop {
            let report = tokio::select! {
                _ = tick.tick() => false,
                command = commands.recv() => match command {
                    Some(Command::Report) => true,
                    Some(Command::Flush) => false,
                    Some(Command::Stop) | None => break,
                    Some(_) => continue,
                }
            };
            self.send(report, false).await;
        }
        match self.stuck {
            Some(_) => std::future::pending().await,
            None => {
                self.send(true, true).await;
                let _: Result<(), _> = self.to.send((self.node, Sent::Ended)).await;
            }
        }
    }

    async fn send(&mut self, report: bool, last: bool) {
        let from = match self.stuck {
            Some(Stuck::Crowded) => CROWDED,
            _ => STUCK,
        };
        let stuck = self.stuck.filter(|_| self.begin.elapsed() >= from);
        if self.stuck == Some(Stuck::Dead) {
            return;
        }
        let now = self.now();
        let hops = self.hops(now);
        for (stream, hops) in [(HOPS, hops), (DROPS, Vec::new())] {
            let reports = match stuck.filter(|_| stream == HOPS) {
                Some(Stuck::Silent) => continue,
                Some(Stuck::Unreporting) => false,
                _ => report,
            };
            let now = u64::try_from(now).expect("later than the boot");
            let more = stuck == Some(Stuck::Crowded) && stream == HOPS && self.points < 120_000;
            let batch = Batch {
                stream,
                hops,
                change: more.then(|| self.more_points(now)),
                watermark: if last { u64::MAX } else { now },
                report: reports.then(|| self.report(stream, now)),
                ..Batch::default()
            };
            let sent = Sent::Batch(Box::new(batch));
            let _: Result<(), _> = self.to.send((self.node, sent)).await;
        }
    }

    fn more_points(&mut self, now: u64) -> Change {
        let veth = beginning().nodes[1].points[TO_POD].clone();
        self.points += 40_000;
        Change {
            time: now,
            points: vec![Point { since: now, ..veth }; 40_000],
            ..Change::default()
        }
    }

    /// The hops at its points since the last call.
    fn hops(&mut self, now: i64) -> Vec<Hop> {
        let mut hops = Vec::new();
        while 5 * S + (self.seen + 1) * EVERY + 2 * MS < now {
            self.seen += 1;
            let sent = 5 * S + self.seen * EVERY;
            let way = way(self.seen);
            let points: &[usize] = match (self.node, way) {
                (0, Way::Beside) => &[FROM_POD, TO_BESIDE],
                (0, _) => &[FROM_POD, OUT],
                (_, Way::Across) if self.points > MAX_POINTS => &[IN, TO_POD, MAX_POINTS],
                (_, Way::Across) => &[IN, TO_POD],
                _ => &[],
            };
            let packet = Packet {
                src: PODS[0].into(),
                dst: if way == Way::Beside { BESIDE } else { PODS[1] }.into(),
                ttl: 64,
                ip_id: Some(u32::try_from(self.seen).expect("small")),
                fragment: None,
                len: 100,
                transport: Transport::Other(99),
                payload_hash: Some(0),
            };
            let clock = |time: i64| u64::try_from(time).expect("later than the boot");
            let later = if self.node == 0 { 0 } else { MS };
            hops.extend(points.iter().zip(0..).map(|(point, order)| Hop {
                time: clock(sent + later + order * MS / 10),
                ..hop(*point, clock(sent), 0, 1, &packet)
            }));
        }
        hops
    }

    fn report(&self, stream: usize, time: u64) -> Report {
        let mut some = Counters::default();
        some.packets[Counter::Emitted as usize] = 1;
        let points = if self.node == 0 { 5 } else { 4 };
        let mut report = Report {
            time,
            sample: u32::MAX,
            ..Report::default()
        };
        if stream == HOPS {
            report.counters = (0..points).map(|point| (point, some)).collect();
        } else {
            report.drops = Some(DropReport::default());
        }
        report
    }
}

/// What the view got, and when, after the beginning.
struct Timed {
    shown: Shown,
    begin: Instant,
    times: Vec<Duration>,
    started: usize,
    /// The notes on nodes.
    notes: Vec<String>,
}

impl View for Timed {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.started += 1;
        self.shown.started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.notes.extend(changed.notes.iter().cloned());
        self.shown.changed(scene, changed)
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.times.push(self.begin.elapsed());
        self.shown.journey(scene, journey, verdict, parts)
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        _: Option<&Selected>,
    ) -> io::Result<()> {
        self.shown.summary(scene, summary, None)
    }
}

/// The result of a follow.
struct Followed {
    result: Result<Outcome, SessionError>,
    view: Timed,
    notices: Vec<String>,
    /// When the follow ended, after the beginning.
    end: Duration,
}

/// Runs a follow for the time `long`, in which the second agent is stuck.
async fn followed(stuck: Stuck, long: Duration, write: Option<Write>) -> Followed {
    let begin = Instant::now();
    let (sender, batches) = mpsc::channel(2);
    let mut hellos = beginning().nodes;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("later");
    // Packets must pass after the follow has begun, and the follow begins by the real clock.
    let offset = i64::try_from(unix.as_nanos()).expect("this century") - 4 * S;
    let mut commands: Vec<Box<dyn Commander>> = Vec::new();
    for (node, hello) in hellos.iter_mut().enumerate() {
        hello.realtime_offset = offset;
        let (line, received) = mpsc::unbounded_channel();
        commands.push(Box::new(Line(line)));
        let fake = Fake {
            node,
            stuck: (node == 1).then_some(stuck),
            begin,
            seen: 0,
            points: hello.points.len(),
            to: sender.clone(),
        };
        tokio::spawn(fake.run(received));
    }
    let veth = hellos[0].points[TO_POD].clone();
    hellos[0].points.push(Point {
        interface: "veth1".to_owned(),
        addresses: vec![BESIDE.into()],
        ..veth
    });
    assert!(hellos.iter().all(|hello| hello.streams == STREAMS));
    let beginning = beginning();
    let mut owners = beginning.owners;
    let beside = Owner {
        name: format!("{}-beside", NAMES[0]),
        kind: OwnerKind::Pod,
        node: hellos[0].node.clone(),
    };
    owners.insert(BESIDE.into(), beside);
    let plan = Plan {
        source_nodes: Vec::new(),
        asked: Vec::new(),
        masqueraded: Vec::new(),
        node_addresses: BTreeMap::new(),
        description: String::new(),
        warnings: Vec::new(),
        agents: Vec::new(),
        filter: Filter::default(),
        sources: beginning.sources,
        owners,
        limits: Limits {
            hold: i64::try_from(HOLD.as_nanos()).expect("small"),
            ..Limits::default()
        },
        duration: None,
        count: None,
        selection: None,
        write,
    };
    let recorder = plan.write.as_ref().map(Recorder::create).transpose();
    let links = hellos.into_iter().zip(commands);
    let links = links.map(|(hello, commands)| Reached {
        again: None,
        hello,
        commands,
    });
    let agents = Agents::new(links.collect(), sender, batches);
    let mut view = Timed {
        shown: Shown::default(),
        begin,
        times: Vec::new(),
        started: 0,
        notes: Vec::new(),
    };
    let notices = Arc::new(Mutex::new(Vec::new()));
    let mut notice = |line: &str| notices.lock().expect("one thread").push(line.to_owned());
    let recorder = recorder.expect("a new file");
    let stop = sleep(long);
    let result = follow_agents(plan, recorder, agents, &mut view, &mut notice, stop).await;
    let notices = notices.lock().expect("one thread").clone();
    Followed {
        result,
        view,
        notices,
        end: begin.elapsed(),
    }
}

/// The number of lines that contain `what`.
fn said(notices: &[String], what: &str) -> usize {
    notices.iter().filter(|line| line.contains(what)).count()
}

/// Checks what holds however the agent is stuck.
async fn goes_on_without(stuck: Stuck, is_unknown: impl Fn(Way) -> bool) {
    let files = Files::new();
    let path = files.0.join("a.arrows");
    let write = Write {
        path: path.clone(),
        rotation: Rotation::default(),
        anonymize: false,
    };
    let Followed {
        result,
        view,
        notices,
        end,
    } = followed(stuck, FOLLOW, Some(write)).await;
    result.expect("it goes on");
    assert!(end <= FOLLOW + ENDING + Duration::from_secs(1), "{end:?}");
    assert_eq!(said(&notices, "did not end"), 1, "{notices:?}");
    let passed = usize::from(matches!(stuck, Stuck::Silent | Stuck::Unreporting));
    assert_eq!(said(&notices, "stopped reporting"), passed, "{notices:?}");

    let mut judged = 0;
    for ((journey, verdict, _), shown) in view.shown.journeys.iter().zip(&view.times) {
        let number = number(journey);
        let sent = Duration::from_millis(u64::try_from(number).expect("small") * 100);
        if sent < FOLLOW - PATIENCE - HOLD * 2 {
            let most = sent + HOLD + PATIENCE + Duration::from_secs(1);
            assert!(*shown <= most, "{number} at {shown:?}: {verdict:?}");
        }
        let well = match way(number) {
            Way::Beside | Way::Across => Kind::Delivered,
            Way::Lost => Kind::Lost,
        };
        if sent + HOLD * 2 < STUCK || (passed == 0 && sent + HOLD * 2 < FOLLOW) {
            assert_eq!(verdict.kind, well, "{number}: {verdict:?}");
        } else if sent > STUCK && sent + HOLD * 2 < FOLLOW {
            let kind = if is_unknown(way(number)) {
                Kind::Unknown
            } else {
                well
            };
            assert_eq!(verdict.kind, kind, "{number}: {verdict:?}");
        } else {
            continue;
        }
        judged += 1;
    }
    assert!(judged > 300, "{judged}");

    let again = replayed(&[path]);
    assert_eq!(again.journeys.len(), view.shown.journeys.len());
    for (again, live) in again.journeys.iter().zip(&view.shown.journeys) {
        assert_eq!(format!("{again:?}"), format!("{live:?}"));
    }

    let crowded = usize::from(stuck == Stuck::Crowded);
    assert_eq!(
        said(&view.notes, "are not observed"),
        crowded,
        "{:?}",
        view.notes
    );
}

#[tokio::test(start_paused = true)]
async fn others_go_on_without_one_that_does_not_tell() {
    goes_on_without(Stuck::Silent, |way| way != Way::Beside).await;
}

#[tokio::test(start_paused = true)]
async fn others_go_on_without_one_that_does_not_report() {
    goes_on_without(Stuck::Unreporting, |way| way == Way::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_end_is_left() {
    goes_on_without(Stuck::Unending, |_| false).await;
}

#[tokio::test(start_paused = true)]
async fn more_points_than_have_numbers_are_left_out_and_it_is_said() {
    goes_on_without(Stuck::Crowded, |_| false).await;
}

/// A follow that is told to stop does not wait for an agent that never arms.
#[tokio::test(start_paused = true)]
async fn stop_is_heard_before_all_points_are_observed() {
    let soon = Duration::from_secs(3);
    let Followed {
        result, view, end, ..
    } = followed(Stuck::Dead, soon, None).await;
    result.expect("it was to stop");
    assert_eq!(view.started, 1);
    assert!(end <= soon + ENDING + Duration::from_secs(1), "{end:?}");
    assert!(!view.shown.journeys.is_empty());
    for (_, verdict, _) in &view.shown.journeys {
        assert_eq!(verdict.kind, Kind::Unknown, "{verdict:?}");
    }
}
