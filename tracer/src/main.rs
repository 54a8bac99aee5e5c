//! The `tracer` program.

use std::process::ExitCode;

use tracer::{
    agent,
    cli::{
        self, AgentArgs, BundleArgs, DropsSettings, ExportArgs, Failure, ImportArgs, Outcome,
        Program, ReplayArgs, SchemaArgs, Settings, ShowArgs, StatsArgs,
    },
    drops, export, follow, import, link, replay, schema, show, stats,
};

struct Tracer;

impl Program for Tracer {
    fn follow(settings: Settings) -> Result<Outcome, Failure> {
        follow::run(&settings)
    }

    fn record(settings: Settings) -> Result<Outcome, Failure> {
        follow::record(&settings)
    }

    fn drops(settings: DropsSettings) -> Result<Outcome, Failure> {
        drops::run(settings)
    }

    fn agent(args: &AgentArgs) -> Result<Outcome, Failure> {
        agent::run(args)
    }

    fn replay(args: &ReplayArgs) -> Result<Outcome, Failure> {
        replay::run(args)
    }

    fn export(args: &ExportArgs) -> Result<Outcome, Failure> {
        export::run(args)
    }

    fn import(args: &ImportArgs) -> Result<Outcome, Failure> {
        import::run(args)
    }

    fn bundle(args: &BundleArgs) -> Result<Outcome, Failure> {
        export::bundle(args)
    }

    fn schema(args: &SchemaArgs) -> Result<Outcome, Failure> {
        schema::run(args)
    }

    fn show(args: &ShowArgs) -> Result<Outcome, Failure> {
        show::run(args)
    }

    fn stats(args: &StatsArgs) -> Result<Outcome, Failure> {
        stats::run(args)
    }
}

fn main() -> ExitCode {
    let code = cli::run::<Tracer>();
    // Of agents that did not come, or that are stuck.
    link::end_all();
    code
}
