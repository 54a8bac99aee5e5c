//! `--expect-file`: compares journeys with flows that must or must not pass.
//!
//! A test of a network policy is a list of flows with the expected fate of each. A flow is as
//! expected if packets of it were seen and all had this fate. Packets on their way at the
//! follow's start or end do not count, because their fate is unknown.

mod file;
mod junit;

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use jiff::tz::TimeZone;
use tracer_core::{
    journal::{Changed, Entry, Query, Selected, Standing, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

pub(crate) use file::ExpectError;

use crate::{
    cli::{ExpectArgs, Failure, Outcome},
    terminal::tell,
    view::outcome,
};

/// The expected flows, and the packets seen of each.
pub(crate) struct Expectations {
    flows: Vec<Flow>,
    /// Description of the follow.
    follow: String,
}

/// A flow with its expected fate.
struct Flow {
    /// Name of the flow in reports.
    name: String,
    /// Query for the flow's journeys.
    of: Query,
    /// Expected fate of the journeys; `None`: there must be no journey.
    fate: Option<Fate>,
    seen: Seen,
}

/// An expected fate of a packet.
struct Fate {
    /// The fate in words, for reports.
    text: String,
    /// Query for the verdict and its cause.
    verdict: Query,
    /// Place where the journey must end: a node, or `NODE/INTERFACE`.
    place: Option<String>,
}

/// Sums of a flow's packets.
#[derive(Default)]
struct Seen {
    as_expected: u64,
    /// Packets with another fate, by that fate, with the text of the first one.
    otherwise: BTreeMap<String, (u64, String)>,
    /// Number of packets whose fate the follow's start or end hides.
    cut_off: u64,
}

impl Expectations {
    /// Reads expectations from a file; `None` without a file.
    ///
    /// # Errors
    /// One sentence on what is wrong with the file.
    pub(crate) fn of(args: &ExpectArgs) -> Result<Option<Self>, ExpectError> {
        let Some(path) = &args.expect_file else {
            return Ok(None);
        };
        Ok(Some(Self {
            flows: file::read(path)?,
            follow: String::new(),
        }))
    }

    fn take(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict, parts: &Parts) {
        let zone = TimeZone::UTC;
        for flow in &mut self.flows {
            if !flow.of.matches(scene, &zone, journey, verdict) {
                continue;
            }
            let met = match &flow.fate {
                Some(_) if verdict.is_cut_off() => {
                    flow.seen.cut_off += 1;
                    continue;
                }
                Some(fate) => {
                    let place = || {
                        fate.place
                            .as_ref()
                            .is_none_or(|at| ended_at(scene, journey, verdict, at))
                    };
                    fate.verdict.matches(scene, &zone, journey, verdict) && place()
                }
                None => false,
            };
            if met {
                flow.seen.as_expected += 1;
                continue;
            }
            let cause = verdict.cause.map(|cause| format!(" ({})", cause.name()));
            let how = format!("{}{}", verdict.kind.name(), cause.unwrap_or_default());
            let first = || {
                let text = outcome::text(scene, journey, verdict, parts);
                (0, format!("#{}: {text}", journey.id))
            };
            flow.seen.otherwise.entry(how).or_insert_with(first).0 += 1;
        }
    }

    /// Prints a sentence for each flow that differs, and writes the report if one is requested.
    ///
    /// # Errors
    /// If the report cannot be written.
    pub(crate) fn outcome(&self, args: &ExpectArgs) -> Result<Outcome, Failure> {
        let differing: Vec<String> = self.flows.iter().filter_map(Flow::difference).collect();
        for sentence in &differing {
            tell(sentence);
        }
        if let Some(path) = &args.junit {
            junit::write(path, self).map_err(|error| unwritten(path, &error))?;
        }
        if differing.is_empty() {
            tell(&format!("as expected: all of {} flows", self.flows.len()));
            return Ok(Outcome::Done);
        }
        Ok(Outcome::Unexpected)
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot write {}: {error}", path.display()))
}

/// Whether a journey ended at a place: that of the drop that decided, or that of the last hop.
fn ended_at(scene: &Scene, journey: &Journey, verdict: &Verdict, place: &str) -> bool {
    let drop = verdict.drop.map(|index| &journey.drops[index]);
    let (node, interface) = match (drop, journey.steps.last()) {
        (Some(drop), _) => (drop.node, drop.device.as_deref()),
        (None, Some(step)) => (step.node, Some(&*scene.point(step).interface)),
        (None, None) => return false,
    };
    let node = &*scene.nodes[node].node;
    let rest = place.strip_prefix(node);
    rest.is_some_and(|rest| match rest.strip_prefix('/') {
        Some(name) => interface == Some(name),
        None => rest.is_empty(),
    })
}

impl Flow {
    /// A sentence on what is not as expected; `None` if everything is.
    fn difference(&self) -> Option<String> {
        let Seen {
            as_expected,
            otherwise,
            cut_off,
        } = &self.seen;
        let expected = self.fate.as_ref().map_or("no packet", |fate| &*fate.text);
        let name = &self.name;
        if !otherwise.is_empty() {
            let all = as_expected + otherwise.values().map(|(packets, _)| packets).sum::<u64>();
            let others = otherwise.iter();
            let others: Vec<String> = others
                .map(|(how, (packets, first))| {
                    let has = if *packets == 1 { "has" } else { "have" };
                    let of = if all == 1 { "packet" } else { "packets" };
                    format!("{packets} of {all} {of} {has} the verdict {how}, for example {first}")
                })
                .collect();
            return Some(format!(
                "{name}: expected {expected}, but {}",
                others.join("; ")
            ));
        }
        if self.fate.is_none() || *as_expected > 0 {
            return None;
        }
        Some(match cut_off {
            0 => format!("{name}: expected {expected}, but no packet of it was seen"),
            _ => format!(
                "{name}: expected {expected}, but no packet of it was seen from its first hop to \
                 its last"
            ),
        })
    }
}

/// A view that also compares all journeys with the expected flows.
pub(crate) struct Compared<'a, V> {
    pub(crate) view: V,
    pub(crate) expectations: &'a mut Option<Expectations>,
}

impl<V: View> View for Compared<'_, V> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        if let Some(expectations) = self.expectations {
            expectations.follow.clone_from(&started.follow);
        }
        self.view.started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.view.changed(scene, changed)
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.view.journey(scene, journey, verdict, parts)
    }

    fn entry(&mut self, scene: &Scene, entry: &Arc<Entry>, selected: bool) -> io::Result<()> {
        if let Some(expectations) = self.expectations {
            expectations.take(scene, &entry.journey, &entry.verdict, &entry.parts);
        }
        self.view.entry(scene, entry, selected)
    }

    fn shows_standing(&self) -> bool {
        self.view.shows_standing()
    }

    fn standing(&mut self, scene: &Scene, standing: &Standing) -> io::Result<()> {
        self.view.standing(scene, standing)
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.view.summary(scene, summary, selected)
    }
}
