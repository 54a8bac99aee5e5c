//! Files that `w` saves, compared with exports of the same journeys.

use std::{fs, path::Path};

use crossterm::event::{KeyCode, KeyModifiers};
use tracer_core::journal::{Selected, Standing};

use super::{
    SIZES,
    keys::{press, type_text},
    picture, replayed,
};
use crate::{
    cli::{ExportArgs, Format},
    export::{self, SAVER},
    view::live::{
        Kept,
        keys::Action,
        state::{Ask, State},
        tabs::Screen,
    },
};

const FIXTURE: &str = "invalid-state-4";

/// Types a name in place of the proposed one, and Enter.
fn save_as(state: &mut State, path: &Path) -> Ask {
    press(state, KeyCode::Char('w'), KeyModifiers::NONE);
    press(state, KeyCode::Char('u'), KeyModifiers::CONTROL);
    type_text(state, path.to_str().expect("UTF-8"));
    press(state, KeyCode::Enter, KeyModifiers::NONE)
}

/// The data that a save would write now.
fn kept(state: &mut State, folder: &Path) -> Kept {
    assert_eq!(save_as(state, &folder.join("kept.jsonl")), Ask::Save);
    let (_, kept) = state.to_save.take().expect("it is to be saved");
    kept
}

fn wrong(state: &State) -> &str {
    let typing = state.typing.as_ref().expect("one still types");
    typing.wrong.as_deref().expect("something is wrong")
}

#[test]
fn a_saved_file_is_an_export_of_what_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(format!("{FIXTURE}.arrows"));
    let mut state = replayed(FIXTURE);
    let mut saved = 0;
    for (filter, problems, query) in [
        ("", false, None),
        ("", true, Some("problem")),
        (
            "verdict:dropped or flags:syn",
            false,
            Some("verdict:dropped or flags:syn"),
        ),
        (
            "verdict:dropped or flags:syn",
            true,
            Some("(verdict:dropped or flags:syn) problem"),
        ),
    ] {
        state.list.query = (!filter.is_empty()).then(|| filter.parse().expect(filter));
        state.list.problems = problems;
        state.select_anew();
        for (format, end) in [
            (Format::Html, "html"),
            (Format::Jsonl, "jsonl"),
            (Format::Pcapng, "pcapng"),
        ] {
            saved += 1;
            let path = folder.path().join(format!("{saved}.{end}"));
            assert_eq!(save_as(&mut state, &path), Ask::Save, "{filter}");
            let (asked, kept) = state.to_save.take().expect("it is to be saved");
            assert_eq!(asked, path);
            (SAVER.write)(&path, &kept).expect("it is written");
            let exported = folder.path().join("exported");
            let args = ExportArgs {
                files: vec![file.clone()],
                format,
                output: exported.clone(),
                query: query.map(|query| query.parse().expect(query)),
                split: None,
                profile: false,
            };
            export::run(&args).expect("it is exported");
            let [saved, exported] = [&path, &exported].map(|file| fs::read(file).expect("a file"));
            // An export of everything as pcapng has the recording after the packets.
            let same = match format {
                Format::Pcapng => exported.starts_with(&saved),
                _ => saved == exported,
            };
            assert!(!saved.is_empty() && same, "{query:?} as {end}");
        }
    }
}

#[test]
fn a_name_is_proposed_and_none_that_is_taken_or_means_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = replayed(FIXTURE);
    let all = state.list.len();
    press(&mut state, KeyCode::Char('w'), KeyModifiers::NONE);
    let shown = picture(&mut state, SIZES[1]);
    assert!(
        shown.contains(&format!("save {all} journeys as tracer-20")),
        "{shown}"
    );
    assert!(shown.contains(".html"), "{shown}");
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    assert!(state.typing.is_none());

    let there = folder.path().join("there.html");
    fs::write(&there, "mine").expect("a file");
    assert_eq!(save_as(&mut state, &there), Ask::Nothing);
    assert!(
        wrong(&state).contains("is there already"),
        "{}",
        wrong(&state)
    );
    assert!(picture(&mut state, (200, 60)).contains("give another name"));
    // A person who continues to type has read the message.
    press(&mut state, KeyCode::Char('x'), KeyModifiers::NONE);
    assert!(
        state
            .typing
            .as_ref()
            .is_some_and(|typing| typing.wrong.is_none())
    );
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);

    assert_eq!(
        save_as(&mut state, &folder.path().join("a.txt")),
        Ask::Nothing
    );
    assert!(wrong(&state).contains(".pcapng"), "{}", wrong(&state));
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(state.list.len(), all, "a name is no filter");

    state.list.query = Some("id:999999".parse().expect("a query"));
    state.select_anew();
    assert_eq!(
        save_as(&mut state, &folder.path().join("a.html")),
        Ask::Nothing
    );
    assert!(
        wrong(&state).contains("no journey matches"),
        "{}",
        wrong(&state)
    );
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
    assert_eq!(fs::read_to_string(there).expect("a file"), "mine");

    let missing = folder.path().join("missing/a.html");
    state.list.query = None;
    state.select_anew();
    assert_eq!(save_as(&mut state, &missing), Ask::Save);
    let (path, kept) = state.to_save.take().expect("it is to be saved");
    let refused = (SAVER.write)(&path, &kept).expect_err("there is no such folder");
    assert!(refused.starts_with("cannot write "), "{refused}");
}

#[test]
fn an_open_journey_is_saved_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = replayed(FIXTURE);
    state.act(Action::NextProblem);
    state.act(Action::Open);
    assert_eq!(state.screen, Screen::Journey);
    let id = state.open.as_ref().expect("it is open").journey.id;
    let kept = kept(&mut state, folder.path());
    let ids: Vec<u64> = kept.entries.iter().map(|entry| entry.journey.id).collect();
    assert_eq!(ids, [id]);
    let all = state
        .known
        .summary
        .as_ref()
        .map(|summary| summary.journeys());
    let selected = Selected {
        query: format!("id:{id}"),
        matching: 1,
        of: all.expect("it has ended"),
    };
    assert_eq!(kept.selected, Some(selected));
}

/// A save before the end has only the sums of the journeys so far, and says so.
#[test]
fn what_is_saved_before_the_end_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut state = replayed(FIXTURE);
    let summary = state.known.summary.take().expect("it has ended");
    assert_eq!(
        save_as(&mut state, &folder.path().join("a.html")),
        Ask::Nothing
    );
    assert!(wrong(&state).contains("try again"), "{}", wrong(&state));
    press(&mut state, KeyCode::Esc, KeyModifiers::NONE);
    state.known.standing = Some(Standing {
        accounting: summary.accounting.clone(),
        ..Standing::default()
    });
    let kept = kept(&mut state, folder.path());
    assert_eq!(kept.summary.verdicts, summary.verdicts);
    assert_eq!(kept.summary.drops, summary.drops);
    let all = summary.journeys();
    let said = kept.started.warnings.last().expect("it is said");
    assert!(said.ends_with(&format!("of {all} so far")), "{said}");
    assert!(said.contains(&format!("the {all} journeys")), "{said}");
}
