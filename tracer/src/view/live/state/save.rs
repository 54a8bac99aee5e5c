//! Saving what the screen shows.

use std::{path::PathBuf, sync::Arc};

use tracer_core::{
    journal::{Entry, Selected},
    verdict::{Accounting, Summary, Sums},
};
use tui_input::Input;

use super::{Ask, Screen, State, Typing, What};
use crate::view::{
    live::Kept,
    words::{count, grouped},
};

impl State {
    /// Asks for the name of a file, and proposes one.
    pub(super) fn ask_for_name(&mut self) {
        let time = self.zone.file_name(crate::view::Moment(self.known.now));
        self.typing = Some(Typing {
            input: Input::new(format!("tracer-{time}.html")),
            wrong: None,
            what: What::Name,
        });
    }

    /// The open journey, while it is on the screen.
    fn only(&self) -> Option<&Arc<Entry>> {
        self.open
            .as_ref()
            .filter(|_| self.screen == Screen::Journey)
    }

    /// What would be saved, in words.
    pub(in crate::view::live) fn what_is_saved(&self) -> String {
        match self.only() {
            Some(entry) => format!("#{}", entry.journey.id),
            None => count(self.list.len(), "journey"),
        }
    }

    /// Saves what is shown to the file with the typed name, if possible.
    pub(super) fn save(&mut self) -> Ask {
        let Some(typing) = &self.typing else {
            return Ask::Nothing;
        };
        let path = PathBuf::from(typing.input.value().trim());
        let kept = (self.source.saver.check)(&path).and_then(|()| self.kept());
        match kept {
            Ok(kept) => {
                self.typing = None;
                self.to_save = Some((path, kept));
                Ask::Save
            }
            Err(wrong) => {
                if let Some(typing) = &mut self.typing {
                    typing.wrong = Some(wrong);
                }
                Ask::Nothing
            }
        }
    }

    /// The data to save: what is shown, with its scene and sums.
    fn kept(&self) -> Result<Kept, String> {
        let known = &self.known;
        let accounting = match (&known.summary, &known.standing) {
            (Some(summary), _) => &summary.accounting,
            (None, Some(standing)) => &standing.accounting,
            (None, None) => return Err("not all of it is read yet: try again".to_owned()),
        };
        let mut started = known
            .started
            .clone()
            .ok_or_else(|| "it has not begun yet: try again".to_owned())?;
        let (entries, query) = match self.only() {
            Some(entry) => (
                vec![Arc::clone(entry)],
                Some(format!("id:{}", entry.journey.id)),
            ),
            None => (self.list.entries(&self.journal), self.list.wanted()),
        };
        if entries.is_empty() {
            return Err("no journey matches, so there is nothing to save".to_owned());
        }
        let forgotten = self.journal.evicted();
        let is_all = self.count() == self.journal.next() && forgotten == 0;
        let (summary, of) = match &known.summary {
            Some(summary) if is_all => (Arc::clone(summary), summary.journeys()),
            _ => {
                let summary = self.sums(accounting);
                started.warnings.push(self.how_much(&summary));
                let of = summary.journeys();
                (Arc::new(summary), of)
            }
        };
        let selected = query.map(|query| Selected {
            query,
            matching: entries.len() as u64,
            of,
        });
        Ok(Kept {
            started,
            scene: Arc::clone(&known.scene),
            entries,
            summary,
            selected,
        })
    }

    /// The sums of the entries that the journal has and that a pause does not hide.
    fn sums(&self, accounting: &Accounting) -> Summary {
        let mut sums = Sums::default();
        let scene = &self.known.scene;
        for entry in self.journal.since(0) {
            if entry.number < self.until() {
                sums.add(scene, &entry.journey, &entry.verdict);
            }
        }
        sums.summary(scene, accounting.clone())
    }

    /// How much of the follow these sums cover.
    fn how_much(&self, summary: &Summary) -> String {
        let all = self.count();
        let end = if self.known.summary.is_some() {
            "in all"
        } else {
            "so far"
        };
        format!(
            "saved from the live view, whose sums here are of the {} that it had then, of {} {end}",
            count(
                usize::try_from(summary.journeys()).unwrap_or(usize::MAX),
                "journey"
            ),
            grouped(all),
        )
    }
}
