//! The program takes the command lines of the documentation and of the help.

use std::{collections::BTreeSet, fs};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use tracer_tests::examples;

use super::super::args::Arguments;

fn check(words: &[String], place: &str) {
    if let Err(said) = Arguments::try_parse_from(words) {
        let is_help = matches!(
            said.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
        );
        assert!(is_help, "{place} has {words:?}: {said}");
    }
}

#[test]
fn of_the_documentation() {
    let mut commands = BTreeSet::new();
    for page in examples::pages().expect("the docs") {
        for words in examples::of_page(&fs::read_to_string(&page).expect("a page")).expect("quotes")
        {
            check(&words, &page.display().to_string());
            commands.insert(words[1].clone());
        }
    }
    for command in ["follow", "drops", "record", "import"] {
        assert!(commands.contains(command), "no page shows {command}");
    }
}

#[test]
fn of_the_help() {
    let mut tracer = Arguments::command();
    tracer.build();
    let commands = [&tracer].into_iter().chain(tracer.get_subcommands());
    for command in commands.filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        let end = command.get_after_help().map(ToString::to_string);
        let found = examples::of_help(&end.unwrap_or_default()).expect("quotes");
        assert!(!found.is_empty(), "{name} has no examples");
        for words in found {
            check(&words, &format!("the help of {name}"));
        }
    }
}
