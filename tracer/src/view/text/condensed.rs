//! Text on a terminal, where somebody reads it while it is written.
//!
//! With all hops, a `curl` is two hundred lines, and a flood half a million. So if more than a few
//! journeys come in a second, each is one line, except problems. Still more lines are left out, by
//! the rules of [`Pace`]. The view counts what it leaves out, by verdict: once a second while
//! packets pass, and at the end.
//!
//! Without a terminal, [`Text`] writes everything.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use tracer_core::{
    journal::{Changed, Selected, Standing, Started, View},
    journey::{Journey, Scene},
    verdict::{Kind, Parts, Summary, Verdict},
};

use super::{
    Text, changes,
    flow::Flow,
    journey, line,
    pace::{FEW, MOST, Pace, SECOND},
};
use crate::view::{
    Look,
    words::{self, grouped},
};

/// Writes text, but no more than a person can read.
#[derive(Debug)]
pub struct Condensed<W, C> {
    text: Text<W>,
    /// Returns the current time in ns, for something that happened at a time: Unix time, ns.
    clock: C,
    pace: Pace,
    /// A sentence that says how to see everything.
    all: String,
    /// Counts of all journeys, and of those since the last report.
    total: Count,
    new: Count,
    /// When the first journey, or a problem's hops, were left out and not reported yet.
    since: Option<i64>,
}

/// How journeys were shown.
#[derive(Debug, Default)]
struct Count {
    with_hops: u64,
    in_a_line: u64,
    /// Problems among these.
    without_hops: u64,
    left_out: BTreeMap<Kind, u64>,
    /// Problems among these.
    left_problems: u64,
}

/// The form of a journey.
#[derive(Clone, Copy)]
enum Form {
    Hops,
    Line,
    Nothing,
}

impl Count {
    fn add(&mut self, verdict: &Verdict, form: Form) {
        let problem = u64::from(verdict.is_problem());
        match form {
            Form::Hops => self.with_hops += 1,
            Form::Line => {
                self.in_a_line += 1;
                self.without_hops += problem;
            }
            Form::Nothing => {
                *self.left_out.entry(verdict.kind).or_default() += 1;
                self.left_problems += problem;
            }
        }
    }

    /// Whether all journeys were shown with their hops.
    fn is_whole(&self) -> bool {
        self.in_a_line == 0 && self.left_out.is_empty()
    }

    /// Whether something that matters was left out.
    fn is_short(&self) -> bool {
        self.without_hops > 0 || !self.left_out.is_empty()
    }

    fn left_out(&self) -> u64 {
        self.left_out.values().sum()
    }

    /// A sentence about problems that were not shown with all their lines, if there are any.
    fn problems(&self) -> Option<String> {
        let parts = [
            (self.left_problems, "left out"),
            (self.without_hops, "without hops"),
        ];
        let parts = parts.iter().filter(|(problems, _)| *problems > 0);
        let parts: Vec<String> = parts
            .map(|(problems, how)| format!("{} {how}", grouped(*problems)))
            .collect();
        (!parts.is_empty()).then(|| {
            format!(
                "{MOST} lines a second are too few for all problems: {}.",
                parts.join(", ")
            )
        })
    }
}

impl<W: Write, C: FnMut(i64) -> i64> Condensed<W, C> {
    /// Writes to `out`, at the pace of `clock`. That function gets the Unix time in ns of what is
    /// shown, and returns the current time in ns. `all` is a sentence that says how to see what is
    /// left out.
    pub fn new(out: W, look: Look, clock: C, all: String) -> Self {
        Self {
            text: Text::new(out, look),
            clock,
            pace: Pace::default(),
            all,
            total: Count::default(),
            new: Count::default(),
            since: None,
        }
    }

    /// The text that was written so far.
    #[cfg(test)]
    pub(in crate::view) const fn written(&self) -> &W {
        &self.text.out
    }

    fn show(&mut self, flow: Flow) -> io::Result<()> {
        self.pace.write(flow.height());
        self.text.show(flow)
    }

    /// Reports what was left out, at most once a second. The pace keeps room for this.
    fn tell(&mut self, now: i64) -> io::Result<()> {
        if self.since.is_none_or(|since| now - since < SECOND) {
            return Ok(());
        }
        self.since = None;
        let new = std::mem::take(&mut self.new);
        let left_out = new.left_out();
        let palette = self.text.look.palette;
        let mut flow = Flow::new(self.text.look.width);
        flow.indent(2);
        flow.put(palette.odd, "…");
        if left_out > 0 {
            let text = format!(
                "{} left out: {}.",
                words::count(left_out, "journey"),
                words::kinds(&new.left_out)
            );
            flow.words(palette.odd, &text);
        }
        if let Some(problems) = new.problems() {
            flow.words(palette.alarm, &problems);
        }
        flow.words(palette.dim, "--hops shows all.");
        flow.line();
        self.text.show(flow)
    }

    /// Says once that from now on each journey is one line.
    fn announce(&mut self) -> io::Result<()> {
        if !self.total.is_whole() {
            return Ok(());
        }
        let palette = self.text.look.palette;
        let mut flow = Flow::new(self.text.look.width);
        flow.indent(2);
        flow.put(palette.odd, "…");
        flow.words(
            palette.odd,
            &format!(
                "more than {FEW} journeys a second: each is one line now, only problems have \
                 their hops."
            ),
        );
        flow.words(palette.dim, "--hops shows all.");
        flow.line();
        self.text.show(flow)
    }

    /// A report of what was shown, at the end. `None` if everything was.
    fn conclude(&self) -> Option<Flow> {
        let total = &self.total;
        if total.is_whole() {
            return None;
        }
        let palette = self.text.look.palette;
        let mut flow = Flow::new(self.text.look.width);
        flow.indent(2);
        let left_out = total.left_out();
        let shown = total.with_hops + total.in_a_line;
        let text = format!(
            "Shown above: {} of {}, {} with hops, {} in one line.",
            grouped(shown),
            words::count(shown + left_out, "journey"),
            grouped(total.with_hops),
            grouped(total.in_a_line),
        );
        flow.words(palette.strong, &text);
        if left_out > 0 {
            let text = format!(
                "Left out: {} ({}).",
                grouped(left_out),
                words::kinds(&total.left_out)
            );
            flow.words(palette.odd, &text);
        }
        if let Some(problems) = total.problems() {
            flow.words(palette.alarm, &problems);
        }
        flow.words(palette.plain, &self.all);
        flow.line();
        Some(flow)
    }
}

impl<W: Write, C: FnMut(i64) -> i64> View for Condensed<W, C> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.text.started(scene, started)
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        let now = (self.clock)(changed.time);
        let now = self.pace.is(now);
        self.tell(now)?;
        // Such changes are few, and explain why journeys end where they do.
        self.show(changes::show(&self.text.look, scene, changed))
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        let now = (self.clock)(journey.last());
        let now = self.pace.is(now);
        self.tell(now)?;
        let room = self.pace.room(now, verdict.is_problem());
        let look = &self.text.look;
        let fitting =
            |flow: Flow, room: usize, form| (flow.height() <= room).then_some((flow, form));
        let with_hops = || {
            let flow = journey::show(look, scene, journey, verdict, *parts);
            fitting(flow, room.hops, Form::Hops)
        };
        let in_a_line = || {
            let flow = line::show(look, scene, journey, verdict, *parts);
            fitting(flow, room.line, Form::Line)
        };
        // Lay out only what has room: there may be very many journeys.
        let fits = (room.hops > 0).then(with_hops).flatten();
        let fits = fits.or_else(|| (room.line > 0).then(in_a_line).flatten());
        let form = fits.as_ref().map_or(Form::Nothing, |(_, form)| *form);
        if !matches!(form, Form::Hops) {
            self.announce()?;
        }
        for count in [&mut self.total, &mut self.new] {
            count.add(verdict, form);
        }
        if self.new.is_short() {
            self.since.get_or_insert(now);
        }
        match fits {
            Some((flow, _)) => self.show(flow),
            None => Ok(()),
        }
    }

    /// Time passes also without journeys.
    fn shows_standing(&self) -> bool {
        true
    }

    fn standing(&mut self, _: &Scene, _: &Standing) -> io::Result<()> {
        let now = (self.clock)(i64::MIN);
        let now = self.pace.is(now);
        self.tell(now)
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        if let Some(flow) = self.conclude() {
            self.text.show(flow)?;
        }
        self.text.summary(scene, summary, selected)
    }
}
