//! JSON Schema of lines and documents, made from their types.

use std::io::{self, Write};

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::json;

use super::{
    contents,
    json::{drops, record},
    plan, stats,
};

/// Kinds of lines and documents, by the name in their `schema`.
pub(crate) const SCHEMAS: [&str; 10] = [
    "tracer.started/1",
    "tracer.points/1",
    "tracer.journey/2",
    "tracer.summary/1",
    "tracer.drops_started/1",
    "tracer.drop/2",
    "tracer.drops_summary/1",
    "tracer.stats/1",
    "tracer.contents/1",
    "tracer.plan/1",
];

/// The schema of a kind.
fn schema(generator: &mut SchemaGenerator, kind: &str) -> Option<Schema> {
    Some(match kind {
        "tracer.started/1" => generator.subschema_for::<record::Started<'_>>(),
        "tracer.points/1" => generator.subschema_for::<record::Changed<'_>>(),
        "tracer.journey/2" => generator.subschema_for::<record::Journey<'_>>(),
        "tracer.summary/1" => generator.subschema_for::<record::Summary<'_>>(),
        "tracer.drops_started/1" => generator.subschema_for::<drops::Started<'_>>(),
        "tracer.drop/2" => generator.subschema_for::<drops::Drop<'_>>(),
        "tracer.drops_summary/1" => generator.subschema_for::<drops::Summary>(),
        "tracer.stats/1" => generator.subschema_for::<stats::Sums<'_>>(),
        "tracer.contents/1" => generator.subschema_for::<contents::Recording<'_>>(),
        "tracer.plan/1" => generator.subschema_for::<plan::DryRun<'_>>(),
        _ => return None,
    })
}

/// Writes the schema of all kinds, or of one kind.
///
/// # Errors
/// Errors of the writer.
pub(crate) fn write_schema(mut out: impl Write, kind: Option<&str>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut out, &document(kind))?;
    out.write_all(b"\n")?;
    out.flush()
}

fn document(kind: Option<&str>) -> serde_json::Value {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let kinds = SCHEMAS
        .iter()
        .filter(|known| kind.is_none_or(|kind| kind == **known));
    let schemas: Vec<Schema> = kinds
        .filter_map(|kind| schema(&mut generator, kind))
        .collect();
    let title = kind.unwrap_or("tracer's JSON output");
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "anyOf": schemas,
        "$defs": generator.take_definitions(true),
    })
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;
    use serde_json::Value;

    use super::{SCHEMAS, document};
    use crate::view::{
        drops_tests,
        fixtures::all,
        recordings_tests,
        tests::{changed, json},
    };

    fn validator(kind: Option<&str>) -> Validator {
        jsonschema::validator_for(&document(kind)).expect("a schema")
    }

    /// Lines and documents of every kind, with everything that they can contain.
    fn lines() -> Vec<Value> {
        let mut lines: Vec<String> = all().iter().flat_map(json).collect();
        lines.extend(changed().into_iter().skip(1));
        lines.extend(drops_tests::lines());
        lines.extend(recordings_tests::documents());
        let lines = lines.iter().map(|line| serde_json::from_str(line));
        lines.collect::<Result<_, _>>().expect("JSON")
    }

    #[test]
    fn every_line_is_as_its_schema_says() {
        let of_any = validator(None);
        for kind in SCHEMAS {
            let of_kind = validator(Some(kind));
            let lines = lines();
            let of = |line: &&Value| line["schema"] == kind;
            assert!(lines.iter().any(|line| of(&line)), "no line is {kind}");
            for line in &lines {
                assert!(of_any.is_valid(line), "{line}");
                assert_eq!(of_kind.is_valid(line), of(&line), "{kind}: {line}");
                if of(&line) {
                    let wrong = of_kind.iter_errors(line).next();
                    assert!(wrong.is_none(), "{wrong:?}");
                }
            }
        }
    }

    /// Every key is always there, so a line without a key is invalid.
    #[test]
    fn a_line_without_a_key_or_with_another_type_is_refused() {
        for line in lines() {
            let kind = line["schema"].as_str().expect("a name");
            let validator = validator(Some(kind));
            for key in line.as_object().expect("an object").keys() {
                let mut without = line.clone();
                without.as_object_mut().expect("an object").remove(key);
                assert!(!validator.is_valid(&without), "{kind} without {key}");
                let mut other = line.clone();
                other[key] = Value::Bool(false);
                let allowed = line[key].is_boolean();
                assert_eq!(
                    validator.is_valid(&other),
                    allowed,
                    "{kind} with {key}: false"
                );
            }
        }
    }
}
