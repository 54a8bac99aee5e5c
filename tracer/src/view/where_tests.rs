//! The examples of docs/where.md for `--where`, tested with the journeys of the fixtures.

use jiff::tz::TimeZone;
use tracer_core::{
    journal::{Query, Selected, View as _},
    verdict::Summary,
};

use super::{Look, Text, fixtures::all};
use crate::terminal::columns;

const DOCUMENT: &str = include_str!("../../../docs/where.md");

/// The lines after a mark, up to the next empty line.
fn marked(mark: &str) -> impl Iterator<Item = &'static str> {
    let mark = format!("<!-- {mark} -->\n");
    let sections = DOCUMENT.split(&*mark.leak()).skip(1);
    sections.flat_map(|section| section.split("\n\n").next().expect("a part").lines())
}

/// The last column of a table's row.
fn last_column(row: &str) -> Option<&str> {
    let cells = row.strip_prefix("| ")?.strip_suffix(" |")?;
    cells.rsplit(" | ").next()
}

/// The texts in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn each_example_selects_some_journeys_and_leaves_others() {
    let mut examples = Vec::new();
    for line in marked("examples") {
        match last_column(line) {
            Some(column) => examples.extend(code(column)),
            None if line.starts_with(['|', '`']) => {}
            None => examples.push(line),
        }
    }
    assert!(examples.len() > 40, "{examples:?}");
    for example in examples {
        let query: Query = example.parse().expect(example);
        let mut selected = [0, 0];
        for case in all() {
            for (journey, verdict, _) in &case.journeys {
                let matches = query.matches(&case.scene, &TimeZone::UTC, journey, verdict);
                selected[usize::from(matches)] += 1;
            }
        }
        assert!(!selected.contains(&0), "{example}: {selected:?}");
    }
}

#[test]
fn each_refusal_is_as_documented() {
    let rows = marked("refusals").filter(|row| row.starts_with("| `"));
    let mut refused = 0;
    for row in rows {
        let example = code(row).next().expect("an example");
        let error = example.parse::<Query>().expect_err(example).to_string();
        assert_eq!(last_column(row), Some(&*error), "{example}");
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_summary_begins_with_how_many_match() {
    let case = all().into_iter().next().expect("a first one");
    let first_lines = |query: &str, matching, of| {
        let selected = Selected {
            query: query.to_owned(),
            matching,
            of,
        };
        let mut out = Vec::new();
        let mut view = Text::new(&mut out, Look::plain());
        let shown = view.summary(&case.scene, &Summary::default(), Some(&selected));
        shown.expect("memory");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        text.lines().take(2).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        first_lines("verdict:dropped", 12, 3_400),
        "12 of 3,400 journeys match --where 'verdict:dropped'.\nNo journeys."
    );
    assert_eq!(
        first_lines("port:1", 1, 1),
        "1 of 1 journey matches --where 'port:1'.\nNo journeys."
    );
    first_lines(&"pod:a-name ".repeat(30), 0, 9);
}
