//! `tracer stats`: recordings, summed up.

use std::io::{self, Write as _};

use tracer_core::{
    journal::{Selected, View},
    journey::{Journey, Scene},
    verdict::{Grouping, Parts, Stats, Summary, Verdict},
};

use crate::{
    cli::{Failure, GroupBy, Outcome, Output, StatsArgs, look_of_stdout, selection},
    playback::through,
    view::{stats_json, stats_text},
};

/// Adds journeys up instead of showing them.
struct Sums {
    stats: Stats,
    selected: Option<Selected>,
}

impl View for Sums {
    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        _: &Parts,
    ) -> io::Result<()> {
        self.stats.add(scene, journey, verdict);
        Ok(())
    }

    fn summary(&mut self, _: &Scene, _: &Summary, selected: Option<&Selected>) -> io::Result<()> {
        self.selected = selected.cloned();
        Ok(())
    }
}

/// Sums recordings up; of one that cannot be read to its end, what comes
/// before.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &StatsArgs) -> Result<Outcome, Failure> {
    let by = |what| args.group_by.contains(&what);
    let mut sums = Sums {
        stats: Stats::new(Grouping {
            pod: by(GroupBy::Pod),
            leg: by(GroupBy::Leg),
            reason: by(GroupBy::Reason),
        }),
        selected: None,
    };
    let selection = selection(args.query.as_ref(), args.output == Output::Json, None);
    let replayed = through(&args.files, &mut sums, selection)?;
    let selected = sums.selected.as_ref();
    let mut stdout = io::stdout().lock();
    match args.output {
        Output::Text => stats_text(&mut stdout, &look_of_stdout(true), &sums.stats, selected)?,
        Output::Json => stats_json(&mut stdout, &sums.stats, selected)?,
    }
    stdout.flush()?;
    replayed.outcome()
}
