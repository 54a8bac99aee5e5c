//! A query that is written and read again is the same query.

mod strategies;

use proptest::prelude::*;

use super::{
    Query,
    model::{Expr, KEYS},
    parse::DEPTH,
};

fn same(one: &str, other: &str) {
    let [one, other] = [one, other].map(|text| text.parse::<Query>().expect(text));
    assert_eq!(one, other);
}

fn refusal(text: &str) -> String {
    text.parse::<Query>().expect_err(text).to_string()
}

#[test]
fn negation_binds_closest_and_or_least() {
    same(
        "-port:1 port:2 or port:3 port:4",
        "((-port:1) port:2) or (port:3 port:4)",
    );
    same("-(port:1 or port:2)", "!(port:1 OR port:2)");
    same("(((port:1)))", "port:1");
    same("port:1(port:2)", "port:1 port:2");
}

#[test]
fn a_value_can_be_written_in_several_ways() {
    same("len:>80", "len:81..");
    same("len:<80", "len:..79");
    same(">1.5ms", ">1500us");
    same("<2µs", "<2000ns");
    same("proto:6,proto-47", "PROTO:TCP,47");
    same("ip:10.1.2.3/8", "ip:10.0.0.0/8");
    same("time:12:34..", "time:12:34:00..23:59:59.999999999");
    same(r#"pod:"a"b"#, "pod:ab");
    same("src:=10.0.0.1", "src:10.0.0.1");
}

#[test]
fn quotes_take_the_meaning_of_what_is_in_them() {
    for (quoted, plain) in [
        (r#"pod:"=a""#, "pod:=a"),
        (r#"pod:"a,b""#, "pod:a,b"),
        (r#"at:"a*""#, "at:a*"),
        (r#"leg:"a>1ms""#, "leg:a>1ms"),
    ] {
        let [quoted, plain] = [quoted, plain].map(|text| text.parse::<Query>().expect(text));
        assert_ne!(quoted, plain);
    }
    same(r#"pod:"\"\\""#, r#"pod:"\"""\\""#);
}

#[test]
fn each_key_is_known_and_the_nearest_is_offered() {
    for key in KEYS {
        let said = refusal(&format!("port:80 {key}:"));
        let expected = format!("`{key}:` at character 9 has no value: give one such as ");
        let example = said.strip_prefix(&expected).expect(&said);
        let example = example.split(" or ").next().expect("a first one");
        let query = format!("{key}:{example}").parse::<Query>();
        assert!(query.is_ok(), "{key}:{example}: {query:?}");
        let slip = format!("{key}x:1");
        assert!(refusal(&slip).ends_with(&format!("did you mean {key}:?")));
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for text in [
        "",
        " ",
        ")",
        "()",
        "(",
        "-",
        "port:1 -",
        "or",
        "port:1 or or port:2",
        "-or port:1",
        "(port:1))",
        "\"",
        "pod:\"",
        "pod:\"\\",
        "pod:=",
        "pod:,a",
        "pod:a,",
        ":",
        ":80",
        "port:",
        "port:65536",
        "port:+1",
        "port:..",
        "port:>",
        "port:1..2..3",
        "len:<0",
        "len:>18446744073709551615",
        ">",
        ">1",
        ">ms",
        ">.5ms",
        ">1.ms",
        ">1e3ms",
        ">99999999999999999999h",
        "<-1ms",
        "at:/eth0",
        "at:node-a/",
        "leg:>1ms",
        "leg:a>",
        "leg:a>1ms>2ms",
        "time:..",
        "time:12:34",
        "time:12..13",
        "time:12:34..2026-03-01T00:00Z",
        "time:2026-03-01T12:34:00..",
        "time:2026-03-02T00:00Z..2026-03-01T00:00Z",
        "ip:cart",
        "src:10.0.0.1:80",
        "src:10.0.0.300",
        "src:1234",
        "conversation:+5",
        "conversation:xyz",
        "conversation:11111111111111111",
        "proto:256",
        "proto:proto-tcp",
        "flags:synfin",
        "retransmission:1",
        "retransmissions",
        "problem:1",
        "problems",
        "80",
        "a b c",
    ] {
        assert!(text.parse::<Query>().is_err(), "{text}");
    }
}

#[test]
fn only_so_many_levels_are_read() {
    let nested = |levels: usize| {
        let (open, close) = ("(".repeat(levels), ")".repeat(levels));
        format!("{open}port:1{close}").parse::<Query>()
    };
    assert_eq!(nested(DEPTH), "port:1".parse());
    assert!(nested(DEPTH + 1).is_err());
    assert!(nested(1 << 20).is_err());
    assert!("-".repeat(1 << 20).parse::<Query>().is_err());
}

proptest! {
    #[test]
    fn what_is_displayed_is_read_as_the_same(expr in strategies::expr()) {
        let query = Query(expr);
        prop_assert_eq!(query.to_string().parse(), Ok(query.clone()), "{}", query);
    }

    #[test]
    fn any_text_is_read_or_refused(text in strategies::text()) {
        if let Ok(query) = text.parse::<Query>() {
            prop_assert_eq!(query.to_string().parse(), Ok(query));
        }
    }

    #[test]
    fn a_refusal_names_what_was_typed(text in strategies::text()) {
        if let Err(error) = text.parse::<Query>() {
            prop_assert!((1..=text.chars().count().max(1)).contains(&error.at), "{}", error);
        }
    }
}

/// Whether a query was made of the parser's own shapes.
#[test]
fn a_single_term_is_not_wrapped() {
    let query: Query = "(port:1)".parse().expect("a term");
    assert!(matches!(query.0, Expr::Term(_)));
}
