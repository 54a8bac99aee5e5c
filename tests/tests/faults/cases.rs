//! Goes through the faults of a group, and collects what is wrong with them:
//! one fault must not hide the others.

use std::env;

use anyhow::{Context, Result, ensure};
use tracer_tests::faults::{Expected, Fault, Sender, Stage, Table, Traffic, When, group};

/// A fault that is there, and traffic to show it.
pub(crate) struct Case<'a> {
    pub(crate) fault: &'a Fault,
    pub(crate) expected: &'a Expected,
    pub(crate) stage: &'a Stage,
}

/// Runs `check` on each fault of a group, with each family that it has.
pub(crate) fn each(name: &str, check: impl Fn(&Case<'_>) -> Result<()>) -> Result<()> {
    let table = Table::of_this_kernel()?;
    let mut wrong = Vec::new();
    for fault in group(name) {
        for &v6 in fault.v6 {
            let expected = table.expect(&fault.name, v6)?;
            let title = format!("{}, IPv{}", fault.name, if v6 { 6 } else { 4 });
            if env::var("TRACER_FAULTS").is_ok_and(|word| !title.contains(&word)) {
                continue;
            }
            for _ in 0..seeds()? {
                let stage = fault.stage(v6, None)?;
                if fault.when == When::Before {
                    fault.make(&stage).context(title.clone())?;
                }
                let case = Case {
                    fault: &fault,
                    expected,
                    stage: &stage,
                };
                let seed = stage.lab.seed();
                match check(&case) {
                    Ok(()) => eprintln!("{title}: right"),
                    Err(error) => wrong.push(format!("{title} (seed {seed:#x}): {error:#}")),
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn seeds() -> Result<usize> {
    match env::var("TRACER_FAULT_SEEDS") {
        Ok(text) => text.parse().context("TRACER_FAULT_SEEDS is a number"),
        Err(_) => Ok(1),
    }
}

impl Case<'_> {
    /// Sends what shows the fault, and what no fault may touch, before and
    /// after it is made. The two ports tell them apart.
    pub(crate) fn run(&self) -> Result<[Sender; 2]> {
        let [from, to] = self.fault.beside.ends(self.stage);
        let mut clean = Sender::between(self.stage, from, to, Traffic::datagrams())?;
        let mut faulty = Sender::new(self.stage, self.fault.traffic)?;
        if self.fault.when == When::During {
            self.fault.make(self.stage)?;
        }
        faulty.send()?;
        clean.send()?;
        Ok([faulty, clean])
    }
}
