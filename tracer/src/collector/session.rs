//! One live follow, from the first attachment to the summary.
//!
//! A session starts the agents, puts the filter into force, and passes agents' records through the
//! core and into the recording. It asks streams for watermarks and reports while a journey waits
//! for them, and reaches lost agents again. However it ends, everything is detached.

mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tracer_core::{
    collect::Core,
    input::Record,
    journal::{Reader, Standing, View},
    model::Hello,
    request::{Command, Filter},
    verdict::{Kind, explain_nothing},
};
use tracing::info;

use super::{
    Agents, Plan, SessionError, Update, Work,
    recorder::Recorder,
    run,
    sampling::Sampling,
    stalls::{self, Stalls},
};
use crate::{clock::unix_now, store::RecordError};

/// How often to ask slow streams for their watermark, and to look after open journeys. Nothing is
/// asked while no journey is open.
const TICK: Duration = Duration::from_millis(25);

/// How often to ask streams which events they lost, while a verdict waits for the answer.
const ASK: Duration = Duration::from_millis(200);

/// How often to tell a view the state of the follow, if the view shows it.
const STANDING: Duration = Duration::from_millis(500);

/// How long to wait for a match before saying why there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result of a follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Shown journeys, without ARP and neighbour discovery.
    pub matched: u64,
    /// Shown journeys by verdict, without those that the follow's start or end cut off.
    pub fates: BTreeMap<Kind, u64>,
}

/// Runs a follow until `stop`, its duration, or its count is reached, and detaches everything.
/// `notice` takes lines that are not data; `updates` are changes of the plan meanwhile.
///
/// # Errors
/// [`SessionError`]; everything is detached then, too.
pub async fn follow(
    plan: Plan,
    updates: Option<mpsc::Receiver<Update>>,
    view: &mut impl View,
    notice: &mut impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Outcome, SessionError> {
    // An unwritable file must fail before anything is attached.
    let recorder = plan.write.as_ref().map(Recorder::create).transpose()?;
    tokio::pin!(stop);
    let started = tokio::select! {
        started = Agents::start(plan.agents.clone()) => started?,
        () = &mut stop => return Err(SessionError::Stopped),
    };
    if let Some(updates) = updates {
        started.0.hear(updates);
    }
    follow_agents(plan, recorder, started, view, notice, stop).await
}

/// As [`follow`], with agents that have started.
pub(super) async fn follow_agents(
    plan: Plan,
    recorder: Option<Recorder>,
    (mut agents, hellos): (Agents, Vec<Hello>),
    view: &mut impl View,
    notice: &mut impl FnMut(&str),
    stop: impl Future<Output = ()>,
) -> Result<Outcome, SessionError> {
    let mut session = Session::new(plan, recorder, hellos, view, notice)?;
    session.arm(&mut agents);
    let ended = run(agents, &mut session, stop).await;
    let shown = ended.and_then(|()| Ok(session.core.end(&mut session.reader)?));
    // Finish the recording in any case, so that it can be read to its end.
    session.record(|recorder| recorder.end(unix_now()));
    shown?;
    session.sum_up()
}

struct Session<'a, V, N> {
    plan: Plan,
    core: Core,
    recorder: Option<Recorder>,
    /// Why the recording ended early.
    broken: Option<RecordError>,
    reader: Reader<'a, V>,
    /// Takes lines that are not data.
    notice: &'a mut N,
    /// Streams that do not answer with a watermark.
    stalls: Stalls,
    /// Streams that do not report which events they lost.
    silences: Stalls,
    /// Agents for which a message said that the follow no longer waits for them.
    stalled: Vec<bool>,
    /// Streams whose report is still missing, after all streams were asked.
    awaited: Vec<bool>,
    phase: Phase,
    /// Generation of the filter in force.
    generation: u32,
    /// Whether a message said that some pairs do not fit.
    is_crowded: bool,
    /// When to ask streams next.
    tick: Instant,
    /// When streams were last asked which events they lost.
    asked: Instant,
    sampling: Sampling,
    /// Agents that are out of reach.
    away: Vec<bool>,
    /// Nodes of which it was said that they have no agent yet.
    unreached: BTreeSet<String>,
    /// When to tell the view the state of the follow next.
    stand: Option<Instant>,
    /// When to say why nothing matched; `None` if that was said, or if something matched.
    wonder: Option<Wonder>,
    /// Whether any packet has matched. Until then, agents report why packets do not match.
    matched: bool,
}

/// The phase of a follow.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Waits until all points are observed, at most until this time.
    Arming(Instant),
    /// All points are observed from this Unix time on, ns. The follow waits for that time by every
    /// node's clock. Otherwise packets sent after the ready line could count as older.
    Armed(i64, Instant),
    /// Follows, until this time if there is a duration.
    Following(Option<Instant>),
}

/// The state of a follow in which nothing has matched yet.
#[derive(Clone, Copy, Debug)]
struct Wonder {
    /// When to ask agents, and once they were asked, when to go on without their answers.
    at: Instant,
    /// Whether agents were asked what their points have seen.
    asked: bool,
}

impl<'a, V: View, N: FnMut(&str)> Session<'a, V, N> {
    /// Starts the recording.
    fn new(
        plan: Plan,
        mut recorder: Option<Recorder>,
        hellos: Vec<Hello>,
        view: &'a mut V,
        notice: &'a mut N,
    ) -> Result<Self, SessionError> {
        let now = Instant::now();
        let agents = hellos.len();
        let beginning = plan.beginning(hellos, unix_now());
        if let Some(recorder) = &mut recorder {
            recorder.begin(&plan, beginning.clone())?;
        }
        let core = Core::new(beginning);
        let reader = Reader::new(view, plan.selection.clone());
        Ok(Self {
            stand: reader.shows_standing().then_some(now),
            stalls: Stalls::new(core.streams(), now),
            silences: Stalls::new(core.streams(), now),
            awaited: vec![false; core.streams()],
            stalled: vec![false; agents],
            away: vec![false; agents],
            unreached: BTreeSet::new(),
            core,
            generation: plan.filter.generation,
            is_crowded: false,
            recorder,
            broken: None,
            reader,
            plan,
            notice,
            phase: Phase::Arming(now + stalls::PATIENCE),
            tick: now,
            asked: now,
            sampling: Sampling::new(now),
            matched: false,
            wonder: Some(Wonder {
                at: now + PATIENCE,
                asked: false,
            }),
        })
    }

    /// Waits until all points are observed, with the filter that includes all next hops. Packets
    /// that programs saw before this moment were sent before the start.
    fn arm(&mut self, agents: &mut Agents) {
        self.send_filter(agents);
        // Agents execute commands in order, so a report proves that the filter before it is in
        // force.
        self.ask_all(agents);
    }

    /// Says that all points are observed since `armed`, Unix time, ns.
    fn begin(&mut self, armed: i64) -> Result<(), SessionError> {
        if let Some(recorder) = &mut self.recorder {
            recorder.armed(armed);
        }
        info!("all points are observed");
        let begin = Instant::now();
        self.phase = Phase::Following(self.plan.duration.map(|duration| begin + duration));
        if let Some(wonder) = &mut self.wonder {
            wonder.at = begin + PATIENCE;
        }
        self.core.take(Record::Armed(armed));
        Ok(self.core.show(&mut self.reader)?)
    }

    /// Puts the filter into force, with all next hops known by now.
    fn send_filter(&mut self, agents: &mut Agents) {
        let filter = self.next_filter();
        info!(
            "filter {}: {} pairs of addresses, ARP and ND of {} next hops",
            self.generation,
            filter.pairs.len(),
            filter.next_hops.len()
        );
        agents.send(&Command::Arm(filter));
    }

    /// The filter that comes after the one in force.
    fn next_filter(&mut self) -> Filter {
        let nodes = self.core.scene().nodes.iter();
        let mut next_hops: Vec<_> = nodes
            .flat_map(|hello| hello.next_hops.iter().copied())
            .collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        self.generation += 1;
        let (masqueraded, left_out) = self.plan.masqueraded_pairs(&self.core.scene().nodes);
        if left_out > 0 && !std::mem::replace(&mut self.is_crowded, true) {
            (self.notice)(&format!(
                "{left_out} pairs of a node's address and an endpoint do not fit: packets that come \
                 with a node's address may be missing"
            ));
        }
        let mut filter = Filter {
            generation: self.generation,
            next_hops,
            ..self.plan.filter.clone()
        };
        filter.pairs.extend(masqueraded);
        filter
    }

    /// Asks every stream for a report.
    fn ask_all(&mut self, agents: &mut Agents) {
        agents.send(&Command::Report);
        for (stream, awaited) in self.awaited.iter_mut().enumerate() {
            // A stream that has ended sends no reports.
            *awaited = self.core.reported_of(stream).is_some();
        }
    }

    /// Asks streams for watermarks and reports, and goes on without streams that do not answer.
    fn hurry(&mut self, agents: &mut Agents, now: Instant) -> Result<(), SessionError> {
        self.tick = now + TICK;
        if self.core.waits_for_reports() && self.asked.elapsed() >= ASK {
            self.asked = now;
            agents.send(&Command::Report);
        } else {
            agents.send(&Command::Flush);
        }
        let told = self.by_stream(Core::watermark_of);
        let nodes = self.core.scene().nodes.iter();
        let snaplen = nodes.map(|hello| hello.snaplen).max().unwrap_or(0);
        let waiting = self.core.waiting() * stalls::weight(snaplen);
        let late = self.stalls.overdue(&told, waiting, now);
        self.pass(agents, late)?;
        // Streams are asked for reports only while a verdict waits for them.
        if self.core.waits_for_reports() {
            let told = self.by_stream(Core::reported_of);
            let late = self.silences.overdue(&told, 0, now);
            self.pass(agents, late)?;
        }
        Ok(())
    }

    /// Notes that nothing more comes from an agent's streams, and that their last events may be
    /// missing.
    fn end_streams(&mut self, agent: usize) {
        let time = unix_now();
        self.record(|recorder| {
            recorder.gone(agent, time);
            Ok(())
        });
        self.core.take(Record::Gone { agent, time });
        for stream in self.core.streams_of(agent) {
            self.awaited[*stream] = false;
        }
    }

    /// The state of streams that have not ended.
    fn by_stream(&self, what: impl Fn(&Core, usize) -> Option<i64>) -> Vec<(usize, i64)> {
        let streams = 0..self.core.streams();
        streams
            .filter_map(|stream| Some((stream, what(&self.core, stream)?)))
            .collect()
    }

    /// Goes on without these streams until a time, Unix time, ns.
    fn pass(
        &mut self,
        agents: &mut Agents,
        late: Option<(Vec<usize>, i64)>,
    ) -> Result<(), SessionError> {
        let Some((late, until)) = late else {
            return Ok(());
        };
        for stream in late {
            let (agent, batch) = self.core.without(stream, until);
            if !std::mem::replace(&mut self.stalled[agent], true) {
                let node = &self.core.scene().nodes[agent].node;
                (self.notice)(&format!(
                    "the agent of {node} stopped reporting: tracer no longer waits for it, and packets \
                     there are unknown until it reports again"
                ));
            }
            self.stalls.passed(stream, until);
            self.silences.passed(stream, until);
            self.take(agents, agent, batch)?;
        }
        Ok(())
    }

    /// Goes on once all streams have answered, and shows finished journeys.
    fn after(&mut self) -> Result<(), SessionError> {
        let all_told = !self.awaited.contains(&true);
        if all_told && matches!(self.phase, Phase::Arming(_)) {
            let armed = unix_now();
            match u64::try_from(self.core.skew()) {
                Ok(skew @ 1..) => {
                    let until = Instant::now() + Duration::from_nanos(skew);
                    self.phase = Phase::Armed(armed, until);
                }
                _ => self.begin(armed)?,
            }
        }
        if all_told && self.wonder.is_some_and(|wonder| wonder.asked) {
            self.explain_silence();
        }
        Ok(self.core.show(&mut self.reader)?)
    }

    /// Records something. On failure, the recording so far stays, and the follow has to end.
    fn record(&mut self, what: impl FnOnce(&mut Recorder) -> Result<(), RecordError>) {
        if let Some(recorder) = &mut self.recorder
            && let Err(error) = what(recorder)
        {
            self.recorder = None;
            self.broken = Some(error);
        }
    }

    /// Tells the view the state of the follow.
    fn tell_standing(&mut self) -> Result<(), SessionError> {
        let standing = Standing {
            accounting: self.core.accounting(),
            away: self.away.clone(),
            sample: self.sampling.bound(),
        };
        Ok(self.reader.standing(self.core.scene(), &standing)?)
    }

    /// Asks agents what their points have seen, and says why nothing matched once all have
    /// answered, or had time to.
    fn wonder(&mut self, agents: &mut Agents) {
        let Some(wonder) = &mut self.wonder else {
            return;
        };
        if std::mem::replace(&mut wonder.asked, true) {
            self.explain_silence();
        } else {
            wonder.at += stalls::PATIENCE;
            self.ask_all(agents);
        }
    }

    /// Says why nothing matched yet.
    fn explain_silence(&mut self) {
        self.wonder = None;
        (self.notice)("nothing matched yet; still waiting");
        self.why_nothing();
    }

    fn why_nothing(&mut self) {
        for line in explain_nothing(self.core.scene(), &self.core.reports()) {
            (self.notice)(&line);
        }
    }

    /// Shows the summary.
    fn sum_up(mut self) -> Result<Outcome, SessionError> {
        if self.core.matched() == 0 {
            (self.notice)("nothing matched");
            self.why_nothing();
        }
        self.core.sum_up(&mut self.reader)?;
        if let Some(recorder) = &self.recorder {
            (self.notice)(&recorder.to_string());
        }
        if let Some(error) = self.broken {
            return Err(error.into());
        }
        Ok(Outcome {
            matched: self.core.matched(),
            fates: self.core.fates().clone(),
        })
    }
}
