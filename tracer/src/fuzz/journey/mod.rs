//! The journey engine, the judge and the views, in front of whatever agents
//! may tell.

mod scene;
mod script;

use std::{collections::BTreeSet, time::Duration};

use script::{Act, Script};
use tracer_core::{
    journal::View,
    journey::{Arrival, Engine, Journey, Scene, Step, arrival},
    verdict::{
        Accounting, Circumstances, Confidence, Kind, Parts, Pattern, Rises, Silence, Sort, Sums,
        Verdict, Where, classify, judge,
    },
};

use crate::view::{Json, Look, Text, evidence, outcome};

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// Plays a scene to the engine, judges each journey and shows it.
///
/// # Panics
/// - If the accounting misses a hop, or a journey comes twice.
/// - If memory exceeds the limits, or stays in use at the end.
/// - If a verdict has no evidence for its claim, or a view shows what it must not.
/// - If a second run gives another result.
pub fn journey(data: &[u8]) {
    let Ok(script) = Script::read(data) else {
        return;
    };
    let journeys = play(&script);
    assert_eq!(journeys, play(&script), "the same again is not the same");
    let judged = judged(&script, &journeys);
    if script.shown {
        show(&script.scene, &judged);
    }
}

/// The journeys, in the order in which they finished.
fn play(script: &Script) -> Vec<Journey> {
    let scene = &script.scene;
    let mut engine = Engine::new(script.limits);
    let (mut hops, mut freed) = (0, 0);
    let mut finished = Vec::new();
    for act in &script.acts {
        match act {
            Act::Hop(node, time, hop) => {
                hops += 1;
                engine.push(scene, *node, *time, hop);
            }
            Act::Freed(node, time, drop) => {
                freed += 1;
                engine.push_freed(scene, (*node, *time), drop, classify(drop));
            }
            Act::Pass(time) => engine.advance(scene, *time),
        }
        assert!(engine.open() <= script.limits.open, "too many are open");
        finished.extend(std::iter::from_fn(|| engine.next_finished()).map(|journey| *journey));
    }
    engine.end(scene);
    assert_eq!(engine.open(), 0);
    finished.extend(std::iter::from_fn(|| engine.next_finished()).map(|journey| *journey));

    let counts = engine.counts();
    assert_eq!(counts.joined + counts.late, hops, "{counts:?}");
    let drops = counts.drops_joined + counts.drops_late + counts.drops_alone;
    assert_eq!(drops, freed, "{counts:?}");
    engine.advance(scene, i64::MAX);
    assert!(
        engine.is_empty(),
        "something is never forgotten: {engine:?}"
    );
    finished
}

/// Judges journeys.
fn judged<'a>(script: &Script, journeys: &'a [Journey]) -> Vec<(&'a Journey, Verdict, Parts)> {
    let scene = &script.scene;
    let told = Told(script.circumstances);
    let mut ids = BTreeSet::new();
    let mut judged = Vec::new();
    for journey in journeys {
        assert!(ids.insert(journey.id), "#{} was there before", journey.id);
        holds_together(scene, journey);
        let (verdict, parts) = judge(scene, journey, &told);
        is_founded(scene, journey, &verdict, parts);
        judged.push((journey, verdict, parts));
    }
    judged
}

/// Shows journeys in all ways, and what they add up to.
fn show(scene: &Scene, judged: &[(&Journey, Verdict, Parts)]) {
    let mut sums = Sums::default();
    let (mut json, mut text) = (Vec::new(), Vec::new());
    let mut views: [&mut dyn View; 2] = [
        &mut Json::new(&mut json),
        &mut Text::new(&mut text, Look::plain()),
    ];
    for (journey, verdict, parts) in judged {
        sums.add(scene, journey, verdict);
        for view in &mut views {
            let shown = view.journey(scene, journey, verdict, parts);
            shown.expect("memory");
        }
    }
    let summary = sums.summary(scene, Accounting::default());
    for view in &mut views {
        view.summary(scene, &summary, None).expect("memory");
    }
    assert!(String::from_utf8(json).is_ok(), "no text");
    for line in String::from_utf8(text).expect("text").lines() {
        assert!(
            crate::terminal::columns(line) <= COLUMNS,
            "too wide: {line}"
        );
    }
}

/// Whether a journey's parts fit each other and the scene.
fn holds_together(scene: &Scene, journey: &Journey) {
    let size = journey.size();
    assert!(size > 0, "{journey:?}");
    assert!(
        !journey.steps.is_empty() || !journey.drops.is_empty(),
        "nothing was ever seen of {journey:?}"
    );
    for step in &journey.steps {
        let points = &scene.nodes[step.node].points;
        assert!(step.point < points.len(), "{step:?}");
        let mut end = 0;
        for (index, (from, to)) in step.parts.iter().enumerate() {
            assert!(from < to && *to <= size, "{step:?} of {size}");
            assert!(index == 0 || *from > end, "{step:?} of {size}");
            end = *to;
        }
        let seen: u32 = step.parts.iter().map(|(from, to)| to - from).sum();
        assert_eq!(step.seen, seen, "{step:?}");
    }
    for drop in &journey.drops {
        assert!(drop.node < scene.nodes.len(), "{drop:?}");
        let (from, to) = drop.part;
        assert!(from < to && to <= size, "{drop:?} of {size}");
    }
    let before = [journey.answers, journey.retransmits];
    assert!(
        before.iter().flatten().all(|id| *id < journey.id),
        "{journey:?}"
    );
}

/// Whether something speaks for a verdict.
fn is_founded(scene: &Scene, journey: &Journey, verdict: &Verdict, parts: Parts) {
    let Parts {
        sent,
        delivered,
        dropped,
        lost,
        unknown,
    } = parts;
    assert_eq!(sent, u64::from(journey.size()));
    assert_eq!(sent, delivered + dropped + lost + unknown, "{verdict:?}");
    let arrived = |least| {
        let address = journey.destination();
        journey.steps.iter().any(|step| {
            let at = |address| {
                let point = scene.point(step);
                arrival(scene, step.node, point, address, step.encap.is_some())
            };
            address.is_some_and(|address| at(address) >= least)
        })
    };
    let told = !journey.acked.is_empty() || journey.answered_by.is_some();
    assert!(delivered == 0 || told || arrived(Arrival::HostSide));
    assert!(verdict.drop.is_none_or(|index| index < journey.drops.len()));
    match verdict.kind {
        Kind::Delivered => assert_eq!(delivered, sent, "{verdict:?}"),
        Kind::Unanswered => assert_eq!(delivered + unknown, sent, "{verdict:?}"),
        Kind::Dropped => assert!(verdict.drop.is_some() && dropped > 0, "{verdict:?}"),
        Kind::Refused => assert!(journey.refusal.is_some(), "{verdict:?}"),
        Kind::Lost => assert_eq!(lost, sent, "{verdict:?}"),
        Kind::Left => assert!(!journey.steps.is_empty() && delivered < sent, "{verdict:?}"),
        Kind::Partial => assert!(parts.dropped + parts.lost < sent, "{verdict:?}"),
        Kind::Unknown => {}
    }
    if verdict.confidence == Confidence::Confirmed {
        assert!(told || arrived(Arrival::There), "{verdict:?}");
    }
    assert!(!outcome::text(scene, journey, verdict, &parts).is_empty());
    let mut evidence = evidence::sentences(scene, journey, verdict).into_iter();
    assert!(evidence.all(|sentence| !sentence.is_empty()));
}

/// What the judge is told of the agents, in bits.
struct Told(u8);

impl Told {
    const fn is(&self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }
}

impl Circumstances for Told {
    fn hops_lost(&self, _: Where, _: i64, _: i64) -> bool {
        self.is(0)
    }

    fn drops_lost(&self, _: Option<usize>, _: i64, _: i64) -> bool {
        self.is(1)
    }

    fn agent_gone(&self, _: i64, _: i64) -> Option<usize> {
        self.is(0).then_some(0)
    }

    fn uneven(&self, _: i64, _: i64) -> bool {
        self.is(6)
    }

    fn sampled(&self, _: i64) -> bool {
        self.is(7)
    }

    fn hold(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn packets(&self, _: usize, _: usize, _: i64) -> Option<u64> {
        (!self.is(2)).then_some(u64::from(self.0 >> 4))
    }

    fn rises(&self, _: usize, _: i64) -> Option<Rises> {
        None
    }

    fn silence(&self, _: usize, _: &str, from: i64, _: i64) -> Option<Silence> {
        let counts = self.is(5);
        self.is(6).then_some(Silence {
            since: from,
            counts,
        })
    }

    fn came_in(&self, _: &Step, _: usize) -> Option<bool> {
        Some(self.is(4))
    }

    fn pattern(&self, _: usize, _: usize, _: &Sort, len: u32) -> Option<Pattern> {
        self.is(3).then_some(Pattern::TooLarge(len / 2))
    }
}
