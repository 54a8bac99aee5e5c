//! `tracer stats`: recordings, summed up.

use std::io::{self, Write as _};

use tracer_core::{
    journal::{Changed, Started, View},
    journey::{Journey, Scene},
    verdict::{Grouping, Parts, Stats, Summary, Verdict},
};

use crate::{
    cli::{Failure, GroupBy, Outcome, Output, StatsArgs},
    replay::through,
    terminal::look_of_stdout,
    view::{stats_json, stats_text},
};

/// Adds journeys up instead of showing them.
struct Sums(Stats);

impl View for Sums {
    fn started(&mut self, _: &Scene, _: &Started) -> io::Result<()> {
        Ok(())
    }

    fn changed(&mut self, _: &Scene, _: &Changed) -> io::Result<()> {
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        _: &Parts,
    ) -> io::Result<()> {
        self.0.add(scene, journey, verdict);
        Ok(())
    }

    fn summary(&mut self, _: &Scene, _: &Summary) -> io::Result<()> {
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
    let mut sums = Sums(Stats::new(Grouping {
        pod: by(GroupBy::Pod),
        leg: by(GroupBy::Leg),
        reason: by(GroupBy::Reason),
    }));
    let replayed = through(&args.files, &mut sums)?;
    let mut stdout = io::stdout().lock();
    match args.output {
        Output::Text => stats_text(&mut stdout, &look_of_stdout(true), &sums.0)?,
        Output::Json => stats_json(&mut stdout, &sums.0)?,
    }
    stdout.flush()?;
    replayed.outcome()
}
