//! Tests that docs/json.md shows what the program writes. With `UPDATE_EXPECT=1` in the
//! environment, they rewrite its examples.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;
use tracer_core::model::Cause;

use super::{
    fixtures::{
        self, all,
        evidence::{KINDS, given, kind},
    },
    json::{dropped::Fact, evidence::Evidence, line},
    tests::{agree, changed, json, named},
};

/// The examples in the documentation are the program's output.
#[test]
fn documented_examples_are_real() {
    let ping = json(&named("ping"));
    let of = |name| json(&named(name)).swap_remove(1);
    let examples = [
        ("started", spread(&ping[0])),
        ("journey", spread(&ping[1])),
        ("points", spread(changed()[1].trim_end())),
        ("summary", spread(&ping[3])),
        ("dropped", spread(&of("dropped"))),
        ("tcp", spread(packet(&of("tcp")))),
        ("arp", spread(packet(&of("arp")))),
        ("nd", spread(packet(&of("nd")))),
        ("facts", spread(&facts())),
        ("evidence", spread(&evidence())),
    ];
    let document = document();
    let mut blocks = document.split("<!-- example: ");
    let mut actual = blocks.next().unwrap_or_default().to_owned();
    let mut shown = BTreeSet::new();
    for block in blocks {
        let (name, rest) = block
            .split_once(" -->\n```json\n")
            .expect("a block follows");
        let (_, rest) = rest.split_once("\n```\n").expect("the block ends");
        let example = examples.iter().find(|(example, _)| *example == name);
        let (name, example) = example.expect("an example of this name");
        shown.insert(name);
        actual += &format!("<!-- example: {name} -->\n```json\n{example}\n```\n{rest}");
    }
    assert_eq!(shown.len(), examples.len(), "only {shown:?} are shown");
    agree("../docs/json.md", &actual);
}

#[test]
fn every_field_is_documented() {
    let document = document();
    let mut keys = BTreeSet::new();
    let [_, changed] = changed();
    for line in all()
        .iter()
        .flat_map(json)
        .chain([changed, facts(), evidence()])
    {
        collect_keys(&serde_json::from_str(&line).expect("JSON"), &mut keys);
    }
    for key in keys {
        let names = ["`", "."].map(|before| format!("{before}{key}`"));
        let documented = names.iter().any(|name| document.contains(name));
        assert!(documented, "{key} is not documented");
    }
}

#[test]
fn every_cause_is_documented() {
    let all: Vec<&str> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(rows("causes"), all);
}

#[test]
fn every_kind_of_evidence_is_documented() {
    let all: Vec<String> = KINDS.iter().map(|kind| kebab(kind)).collect();
    assert_eq!(rows("evidence"), all);
}

/// The name of an evidence's kind follows from its variant. All evidence of a kind has the same
/// keys.
#[test]
fn evidence_of_a_kind_has_its_name_and_its_keys() {
    let line: Value = serde_json::from_str(&evidence()).expect("JSON");
    let told = line["evidence"].as_array().expect("a list");
    let mut shapes = BTreeMap::new();
    for (given, told) in fixtures::evidence::all().iter().zip(told) {
        assert_eq!(told["kind"], kebab(kind(given)));
        let told = told.as_object().expect("an object");
        let keys: Vec<&String> = told.keys().collect();
        let shape = shapes.entry(kind(given)).or_insert_with(|| keys.clone());
        assert_eq!(*shape, keys, "{}", kind(given));
    }
    assert_eq!(shapes.len(), KINDS.len());
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json.md");
    fs::read_to_string(path).expect("the documentation")
}

/// A line with facts of all kinds.
fn facts() -> String {
    let facts = fixtures::facts::all();
    let object = BTreeMap::from([("facts", Fact::all(&facts))]);
    let line = line(&object).expect("memory");
    String::from_utf8(line).expect("text").trim_end().to_owned()
}

/// A line with evidence of all kinds.
fn evidence() -> String {
    let (scene, journey, _, _) = given();
    let evidence = fixtures::evidence::all();
    let object = BTreeMap::from([("evidence", Evidence::all(&scene, &journey, &evidence))]);
    let line = line(&object).expect("memory");
    String::from_utf8(line).expect("text").trim_end().to_owned()
}

/// The names in the first column of a table in the documentation.
fn rows(table: &str) -> Vec<String> {
    let document = document();
    let begin = format!("<!-- {table} -->");
    let (_, rows) = document.split_once(&begin).expect("a table");
    let (rows, _) = rows.split_once("<!-- end -->").expect("its end");
    let rows = rows.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned()))
        .collect()
}

/// Converts `LastSeen` to `last-seen`.
fn kebab(variant: &str) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// The packet's object in the line of a journey.
fn packet(line: &str) -> &str {
    let (_, rest) = line.split_once("\"packet\":").expect("a packet");
    rest.split_once(",\"src_pod\"").expect("more").0
}

fn collect_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                keys.insert(key.clone());
                collect_keys(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_keys(value, keys)),
        _ => {}
    }
}

/// Spreads a JSON line for people: one line per field, and per element of a field's list.
fn spread(line: &str) -> String {
    let mut text = String::new();
    let (mut open, mut quoted) = (Vec::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let empty = characters.peek().is_some_and(|next| "]}".contains(*next));
        if character == '"' {
            quoted = !quoted;
        }
        let broken = |open: &[char]| matches!(open, ['{'] | ['{', '[']);
        match character {
            _ if quoted => text.push(character),
            '{' | '[' => {
                text.push(character);
                open.push(character);
                if broken(&open) && !empty {
                    text += &format!("\n{}", "  ".repeat(open.len()));
                }
            }
            '}' | ']' => {
                if broken(&open) && !text.ends_with(['{', '[']) {
                    text += &format!("\n{}", "  ".repeat(open.len() - 1));
                }
                open.pop();
                text.push(character);
            }
            ',' if broken(&open) => text += &format!(",\n{}", "  ".repeat(open.len())),
            ',' => text.push_str(", "),
            ':' => text.push_str(": "),
            other => text.push(other),
        }
    }
    text
}
