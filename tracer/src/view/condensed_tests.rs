//! Text on a terminal, at given times: what is shown, and that everything else is counted.

use std::cell::Cell;

use tracer_core::{
    journal::{Standing, View},
    journey::Journey,
    verdict::{Parts, Verdict},
};

use super::{
    Condensed, Look, Text,
    fixtures::{Case, all, summary},
    tests::{agree, named},
};
use crate::terminal::columns;

const SECOND: i64 = 1_000_000_000;

const ALL: &str = "To see all: --hops.";

type Judged = (Journey, Verdict, Parts);

/// The text of a case's journeys, which are shown one after the other, each at its time in ns.
fn shown(case: &Case, width: usize, journeys: &[(i64, &Judged)]) -> String {
    let shown = pieces(case, width, journeys);
    shown.into_iter().map(|(_, text)| text).collect()
}

/// The same text, by call, with the time of each call. The sums come last.
fn pieces(case: &Case, width: usize, journeys: &[(i64, &Judged)]) -> Vec<(i64, String)> {
    let now = Cell::new(0);
    let mut out = Vec::new();
    let look = Look::plain().on_columns(width);
    let mut all = Vec::new();
    let mut ends = vec![(0, 0)];
    {
        let mut view = Condensed::new(&mut out, look, |_| now.get(), ALL.to_owned());
        for (number, (time, judged)) in (1..).zip(journeys) {
            now.set(*time);
            let (mut journey, verdict, parts) = (*judged).clone();
            journey.id = number;
            let told = view.journey(&case.scene, &journey, &verdict, &parts);
            told.expect("memory");
            ends.push((*time, view.written().len()));
            all.push((journey, verdict, parts));
        }
        let told = view.summary(&case.scene, &summary(&case.scene, &all), None);
        told.expect("memory");
        ends.push((now.get(), view.written().len()));
    }
    let text = String::from_utf8(out).expect("text");
    let pieces = ends.windows(2);
    pieces
        .map(|pair| (pair[1].0, text[pair[0].1..pair[1].1].to_owned()))
        .collect()
}

/// A journey with a problem and one without, of one case.
fn problem_and_other(case: &Case) -> [&Judged; 2] {
    [true, false].map(|wanted| {
        let mut journeys = case.journeys.iter();
        let found = journeys.find(|(_, verdict, _)| verdict.is_problem() == wanted);
        found.expect("the case has both")
    })
}

/// A case with a drop and a delivery.
fn mixed() -> Case {
    let mut case = named("dropped");
    let ping = named("ping").journeys.swap_remove(0);
    case.journeys.push(ping);
    case
}

/// The text without line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The numbers in the conclusion: journeys that were shown, all journeys, and those left out.
fn totals(text: &str) -> [u64; 3] {
    let text = one_line(text);
    let (_, end) = text.split_once("Shown above: ").expect("it is told");
    let number = |text: &str| -> u64 { text.replace(',', "").parse().expect("a number") };
    let words: Vec<&str> = end.split(' ').collect();
    let left_out = end.split_once("Left out: ").map_or(0, |(_, left_out)| {
        number(left_out.split(' ').next().expect("a word"))
    });
    [number(words[0]), number(words[2]), left_out]
}

#[test]
fn a_burst_of_everything_is_as_recorded() {
    for width in [80, 120, 200] {
        let mut text = String::new();
        for name in ["ping", "tcp", "udp", "arp", "left", "unknown", "long"] {
            let case = named(name);
            // The first journeys of a second have their hops in any case.
            let few = [&case.journeys[0]; 3];
            let journeys = few.into_iter().chain(&case.journeys);
            let journeys: Vec<_> = journeys.map(|judged| (0, judged)).collect();
            let pieces = pieces(&case, width, &journeys);
            text.push_str(&format!("# {name}\n"));
            let written: String = pieces.into_iter().skip(3).map(|(_, text)| text).collect();
            // Leave out the sums, which are the same as in a pipe.
            let verdicts = format!("\n{} journeys: ", journeys.len());
            let (written, _) = written.split_once(&verdicts).expect("the sums");
            text.push_str(written);
            text.push_str("\n\n");
        }
        agree(&format!("src/view/testdata/condensed-{width}.txt"), &text);
    }
}

#[test]
fn a_calm_follow_is_as_in_a_pipe() {
    for case in all() {
        let journeys = case.journeys.iter();
        // No three journeys are within one second.
        let times = (0..).map(|number| number * SECOND);
        let journeys: Vec<_> = times.zip(journeys).collect();
        let mut out = Vec::new();
        let mut text = Text::new(&mut out, Look::plain());
        let mut all = Vec::new();
        for (id, (_, (journey, verdict, parts))) in (1..).zip(&journeys) {
            let journey = Journey {
                id,
                ..journey.clone()
            };
            let told = text.journey(&case.scene, &journey, verdict, parts);
            told.expect("memory");
            all.push((journey, verdict.clone(), *parts));
        }
        let told = text.summary(&case.scene, &summary(&case.scene, &all), None);
        told.expect("memory");
        let piped = String::from_utf8(out).expect("text");
        assert_eq!(shown(&case, 80, &journeys), piped, "{}", case.name);
    }
}

/// Thousands of journeys a second, some of them problems.
#[test]
fn in_a_flood_no_second_has_more_than_100_lines_and_all_are_counted() {
    const MANY: i64 = 5000;

    let case = mixed();
    let [problem, other] = problem_and_other(&case);
    for (every, width) in [(2, 80), (100, 80), (1000, 200), (i64::MAX, 120)] {
        let journeys: Vec<_> = (0..MANY)
            .map(|number| {
                let is_problem = number % every == every / 2;
                let judged = if is_problem { problem } else { other };
                (number * SECOND / 1000, judged)
            })
            .collect();
        let mut pieces = pieces(&case, width, &journeys);
        let (_, sums) = pieces.pop().expect("the sums");
        let lines: Vec<i64> = pieces
            .iter()
            .flat_map(|(time, text)| text.lines().map(|_| *time))
            .collect();
        for (at, first) in lines.iter().enumerate() {
            let until = lines.partition_point(|line| *line < first + SECOND);
            assert!(until - at <= 100, "{} lines in a second", until - at);
        }
        let [shown, of, left_out] = totals(&sums);
        assert_eq!((of, shown + left_out), (5000, 5000), "{sums}");
        // Each journey that is shown begins with its time.
        let begins = |line: &str| line.starts_with("12:34:56.");
        let text: String = pieces.iter().map(|(_, text)| &**text).collect();
        let begun = text.lines().filter(|line| begins(line)).count();
        assert_eq!(begun as u64, shown, "{sums}");
        // The reports in between cover a part of the journeys.
        let told: u64 = text
            .lines()
            .filter_map(|line| line.strip_prefix("… ")?.split_once(" journeys left out"))
            .map(|(number, _)| number.replace(',', "").parse::<u64>().expect("a number"))
            .sum();
        assert!(0 < told && told <= left_out, "{told} of {left_out}: {text}");
        // As many problems as fit have their hops, whatever the number of deliveries.
        let problems = text.matches("✘ dropped (").count();
        let with_hops = text.matches("✘ NETFILTER_DROP in").count();
        match every {
            2 => assert!(
                one_line(&sums).contains("are too few for all problems: "),
                "{sums}"
            ),
            100 => assert!(with_hops >= 5, "{with_hops} of {problems}: {text}"),
            1000 => assert_eq!((problems, with_hops), (5, 5), "{text}"),
            _ => assert_eq!(problems, 0),
        }
    }
}

#[test]
fn what_was_left_out_is_told_though_nothing_comes_any_more() {
    let case = named("ping");
    let now = Cell::new(0);
    let mut out = Vec::new();
    let mut view = Condensed::new(&mut out, Look::plain(), |_| now.get(), ALL.to_owned());
    let (journey, verdict, parts) = &case.journeys[0];
    for _ in 0..500 {
        let told = view.journey(&case.scene, journey, verdict, parts);
        told.expect("memory");
    }
    let before = view.written().len();
    for (time, tells) in [(SECOND / 2, false), (SECOND, true), (2 * SECOND, false)] {
        now.set(time);
        let length = view.written().len();
        let told = view.standing(&case.scene, &Standing::default());
        told.expect("memory");
        assert_eq!(view.written().len() > length, tells, "at {time}");
    }
    let told = String::from_utf8(out.split_off(before)).expect("text");
    let (number, _) = told
        .strip_prefix("… ")
        .and_then(|told| told.split_once(" journeys left out: "))
        .expect(&told);
    let number: usize = number.parse().expect("a number");
    let shown = String::from_utf8(out).expect("text");
    let shown = shown.lines().filter(|line| line.starts_with("12:34:56."));
    assert_eq!(number + shown.count(), 500, "{told}");
    assert!(told.ends_with(&format!(" {number} delivered. --hops shows all.\n")));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for case in all() {
        for width in [80, 81, 100, 160] {
            let journeys: Vec<_> = case.journeys.iter().cycle().take(60).collect();
            let journeys: Vec<_> = journeys.into_iter().map(|judged| (0, judged)).collect();
            for line in shown(&case, width, &journeys).lines() {
                assert!(columns(line) <= width, "{}: {line}", case.name);
                assert_eq!(line, line.trim_end(), "{}", case.name);
            }
        }
    }
}

/// Each line has its verdict, whatever else is left out.
#[test]
fn each_line_has_its_verdict() {
    for case in all() {
        let journeys: Vec<_> = case.journeys.iter().map(|judged| (0, judged)).collect();
        for width in [80, 200] {
            let pieces = pieces(&case, width, &journeys);
            for ((_, (_, verdict, _)), (_, text)) in journeys.iter().zip(pieces) {
                let is_there = text.is_empty() || text.contains(verdict.kind.name());
                assert!(is_there, "{}: {text}", case.name);
            }
        }
    }
}
