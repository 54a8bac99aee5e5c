//! A page for a browser, in one file that loads nothing.
//!
//! Recorded data is JSON in elements that no browser runs. The page's own script shows the data
//! as text, never as markup. The page's policy allows only that script, by its hash. Sums are
//! of all journeys. If there are more journeys than the limit, the page has all problems and a
//! sample of the rest, and says so.

mod path;
mod problems;
mod rows;
mod sums;

use std::{
    io::{self, Write},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use tracer_core::{
    journal::{Changed, Entry, Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Kind, Parts, Summary, Verdict},
};

use self::{
    problems::Problems,
    rows::{Row, Rows, Seen},
};
use super::names::Names;
use crate::view::{outcome, path::Tally};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Writes the page once all journeys are known.
pub(super) struct Html<W> {
    out: W,
    /// Start of the follow, and its description.
    started: Started,
    names: Names,
    seen: Seen,
    rows: Rows,
    problems: Problems,
    /// Counts by place, for the path.
    tally: Tally,
}

impl<W: Write> Html<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            started: Started {
                time: 0,
                follow: String::new(),
                warnings: Vec::new(),
            },
            names: Names::default(),
            seen: Seen::default(),
            rows: Rows::default(),
            problems: Problems::default(),
            tally: Tally::default(),
        }
    }

    /// Writes an element with JSON.
    fn data(out: &mut W, name: &str, value: &impl Serialize) -> io::Result<()> {
        let json = embedded(value)?;
        writeln!(
            out,
            "<script type=\"application/json\" id=\"{name}\">{json}</script>"
        )
    }
}

impl<W: Write> View for Html<W> {
    fn started(&mut self, _: &Scene, started: &Started) -> io::Result<()> {
        self.started.clone_from(started);
        Ok(())
    }

    fn changed(&mut self, _: &Scene, changed: &Changed) -> io::Result<()> {
        self.started.warnings.extend_from_slice(&changed.notes);
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.names.take(scene, journey);
        let number = self.tally.journeys();
        self.tally.add(scene, (journey, verdict), || {
            Arc::new(Entry {
                number,
                journey: Box::new(journey.clone()),
                verdict: verdict.clone(),
                parts: *parts,
            })
        });
        let text = outcome::text(scene, journey, verdict, parts);
        let is_problem = self.problems.take(scene, journey, verdict, &text);
        if self.rows.wants(is_problem) {
            let begin = self.started.time;
            let row = Row::new(scene, journey, verdict, &text, begin, &mut self.seen)?;
            self.rows.push(is_problem, row, &mut self.seen);
        }
        Ok(())
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.seen.all_points(scene);
        let meta = self.meta(scene, summary, selected)?;
        let hash = STANDARD.encode(digest(&SHA256, SCRIPT.as_bytes()));
        let page = PAGE.replace("{hash}", &format!("sha256-{hash}"));
        self.out
            .write_all(page.replace("{style}", STYLE).as_bytes())?;
        Self::data(&mut self.out, "meta", &meta)?;
        Self::data(&mut self.out, "strings", &self.seen.strings())?;
        self.out
            .write_all(b"<script type=\"application/json\" id=\"rows\">[")?;
        for (number, row) in self.rows.in_order().into_iter().enumerate() {
            if number > 0 {
                self.out.write_all(b",\n")?;
            }
            self.out.write_all(row.json.as_bytes())?;
        }
        self.out.write_all(b"]</script>\n<script>")?;
        self.out.write_all(SCRIPT.as_bytes())?;
        self.out.write_all(b"</script>\n</body>\n</html>\n")?;
        self.out.flush()
    }
}

/// JSON that can neither end its element nor begin another one.
fn embedded(value: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

/// Number of a verdict's kind in the page's script.
fn number_of(kind: Kind) -> usize {
    let mut kinds = Kind::ALL.iter();
    kinds.position(|other| *other == kind).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tracer_core::{
        journal::View as _,
        model::{Owner, OwnerKind},
    };

    use super::Html;
    use crate::view::fixtures::{all, started, summary};

    /// Number of script elements: those with data, and the script itself.
    const ELEMENTS: usize = 4;

    #[test]
    fn names_cannot_end_the_element_that_they_are_in() {
        let name = "</script><script>alert(1)</script><!--";
        for mut case in all() {
            let owner = Owner {
                name: name.to_owned(),
                kind: OwnerKind::Pod,
                node: String::new(),
            };
            for (journey, _, _) in &case.journeys {
                case.scene.owners.insert(journey.packet.src, owner.clone());
            }
            let scene = &case.scene;
            let mut started = started(scene);
            started.follow = name.to_owned();
            let mut page = Vec::new();
            let mut view = Html::new(&mut page);
            view.started(scene, &started).expect("memory");
            for (journey, verdict, parts) in &case.journeys {
                let shown = view.journey(scene, journey, verdict, parts);
                shown.expect("memory");
            }
            let sums = summary(scene, &case.journeys);
            view.summary(scene, &sums, None).expect("memory");
            let page = String::from_utf8(page).expect("text");
            assert_eq!(page.matches("<script").count(), ELEMENTS, "{}", case.name);
            assert_eq!(page.matches("</script").count(), ELEMENTS, "{}", case.name);
            assert!(!page.contains("<!--"), "{}", case.name);
            let escaped = name.replace('<', "\\u003c");
            assert!(page.contains(&escaped), "{}", case.name);
        }
    }
}
