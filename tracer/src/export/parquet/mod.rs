//! Tables in Parquet files, for DuckDB, pyarrow and others.
//!
//! Hops, journeys and drops are sorted by time, and have a folder for each hour. Points and
//! owners are one file each, because a cluster has only so many. Journeys come in the order of
//! their verdicts, so rows are sorted on the way, in bounded memory. One file is open at a
//! time. docs/parquet.md documents every column.

mod column;
mod drops;
mod files;
mod hops;
mod journeys;
mod owners;
mod points;

use std::{io, path::Path};

use hashbrown::HashMap;
use tracer_core::{
    journal::{Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use self::{
    column::Column, drops::Freed, files::Table, hops::Hop, journeys::Judged, owners::Held,
    points::Numbered,
};
use super::{
    output::Output,
    sorted::{Key, Sorter},
};
use crate::view::Json;

/// Tables whose rows have times. Rows are sorted by the table's index here first.
const BY_TIME: [(&str, &[Column]); 3] = [
    ("hops", hops::COLUMNS),
    ("journeys", journeys::COLUMNS),
    ("drops", drops::COLUMNS),
];
const HOPS: u32 = 0;
const JOURNEYS: u32 = 1;
const DROPS: u32 = 2;

/// Writes the tables once all rows are known.
pub(super) struct Parquet<'a> {
    output: &'a Output,
    started: Started,
    points: Points,
    rows: Sorter,
    row: Vec<u8>,
}

/// Numbers of observation points, by node and point, in the order in which points were first
/// seen.
#[derive(Default)]
struct Points(HashMap<(usize, usize), i64>);

impl Points {
    /// The number of a point, from 1.
    fn number(&mut self, node: usize, point: usize) -> i64 {
        let next = i64::try_from(self.0.len() + 1).unwrap_or(i64::MAX);
        *self.0.entry((node, point)).or_insert(next)
    }

    /// All points of the scene, by number.
    fn all(mut self, scene: &Scene) -> Vec<(i64, usize, usize)> {
        for (node, hello) in scene.nodes.iter().enumerate() {
            for point in 0..hello.points.len() {
                self.number(node, point);
            }
        }
        let points = self.0.into_iter();
        let mut all: Vec<_> = points
            .map(|((node, point), number)| (number, node, point))
            .collect();
        all.sort_unstable();
        all
    }
}

impl<'a> Parquet<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self {
            rows: Sorter::new(output.directory()),
            output,
            started: Started {
                time: 0,
                follow: String::new(),
                warnings: Vec::new(),
            },
            points: Points::default(),
            row: Vec::new(),
        }
    }

    /// Adds the row in `self.row`.
    fn push(&mut self, group: u32, time: i64) -> io::Result<()> {
        self.rows.push(Key { group, time }, &self.row)?;
        self.row.clear();
        Ok(())
    }

    fn table(&self, name: &'static str, columns: &'static [Column]) -> Table<'a> {
        Table::new(self.output, name, columns, &self.started.follow)
    }

    fn by_time(&mut self) -> io::Result<()> {
        let sorted = std::mem::replace(&mut self.rows, Sorter::new(self.output.directory()));
        let mut tables = BY_TIME.map(|(name, columns)| Some(self.table(name, columns)));
        let begin = Some(self.started.time);
        let mut current = 0;
        sorted.each(|key, row| {
            // Tables before this one are complete, so their memory is released.
            let group = key.group as usize;
            for table in tables[current..group].iter_mut().filter_map(Option::take) {
                table.end(begin)?;
            }
            current = group;
            match &mut tables[group] {
                Some(table) => table.push(Some(key.time), row),
                None => Ok(()),
            }
        })?;
        tables
            .into_iter()
            .flatten()
            .try_for_each(|table| table.end(begin))
    }

    fn points(&mut self, scene: &Scene) -> io::Result<()> {
        let mut table = self.table("points", points::COLUMNS);
        for (number, node, point) in std::mem::take(&mut self.points).all(scene) {
            points::put(&Numbered::new(scene, node, point, number), &mut self.row);
            table.push(None, &self.row)?;
            self.row.clear();
        }
        table.end(None)
    }

    fn owners(&mut self, scene: &Scene) -> io::Result<()> {
        let mut table = self.table("owners", owners::COLUMNS);
        for (address, owned) in scene.owners.iter() {
            owners::put(&Held { address, owned }, &mut self.row);
            table.push(None, &self.row)?;
            self.row.clear();
        }
        table.end(None)
    }
}

impl View for Parquet<'_> {
    fn started(&mut self, _: &Scene, started: &Started) -> io::Result<()> {
        self.started.clone_from(started);
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        for (number, step) in journey.steps.iter().enumerate() {
            let point = self.points.number(step.node, step.point);
            hops::put(&Hop::new(scene, journey, number, point), &mut self.row);
            self.push(HOPS, step.time)?;
        }
        journeys::put(&Judged::new(scene, journey, verdict, parts)?, &mut self.row);
        self.push(JOURNEYS, journey.start())?;
        for (number, drop) in journey.drops.iter().enumerate() {
            let freed = Freed::new(scene, journey, verdict, number)?;
            drops::put(&freed, &mut self.row);
            self.push(DROPS, drop.time)?;
        }
        Ok(())
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.by_time()?;
        self.points(scene)?;
        self.owners(scene)?;
        // Sums and lost events are not rows of a table.
        let file = self.output.file_inside(Path::new("summary.json"))?;
        Json::new(file).summary(scene, summary, selected)
    }
}

#[cfg(test)]
mod tests;
