//! The plans that a follow's arguments lead to.

use clap::Parser as _;

use super::plan::{key, plan};
use crate::{
    cli::{Arguments, Command, Settings},
    collector::Plan,
};

fn planned(options: &str) -> Plan {
    let line = format!("tracer follow --src-ip 10.244.1.5 --dst-ip 10.244.2.7 {options}");
    let arguments = Arguments::try_parse_from(line.split(' ')).expect("arguments");
    let Command::Follow(args) = arguments.command else {
        panic!("a follow");
    };
    let settings = Settings::resolve(&args).expect("addresses need nothing else");
    plan(&settings, true, key(&settings))
}

#[test]
fn a_count_is_of_journeys_that_are_shown() {
    let all = planned("--count 7");
    assert_eq!((all.count, all.selection.is_none()), (Some(7), true));
    // The recording has no limit, because a replay may show all of it.
    let some = planned("--count 7 --where port:80");
    let most = some.selection.and_then(|selection| selection.most);
    assert_eq!((some.count, most), (None, Some(7)));
}
