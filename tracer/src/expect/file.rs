//! Reads flows from a file of expectations.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tracer_core::journal::{Query, QueryError};

use super::{Fate, Flow, Seen};

/// Errors of a file of expectations.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpectError {
    /// The file cannot be read.
    #[error("cannot read {p}: {source}", p = path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has another format.
    #[error(
        "{p} is no file of expectations ({why}): give `flows:`, and `from`, `to` and `expect` for each, \
         as docs/expectations.md shows",
        p = path.display()
    )]
    Shape {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The file is empty.
    #[error("{p} expects nothing: give at least one flow", p = .0.display())]
    Empty(PathBuf),
    /// A value is invalid.
    #[error("{p}, {flow}: {key} `{value}` {wrong}", p = path.display())]
    Value {
        /// Path of the file.
        path: PathBuf,
        /// Name of the flow.
        flow: String,
        /// Key of the value.
        key: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it.
        wrong: String,
    },
}

/// Path of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    flows: Vec<Entry>,
}

/// A flow as in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Option<String>,
    from: String,
    to: String,
    proto: Option<String>,
    port: Option<u16>,
    expect: String,
    cause: Option<String>,
    at: Option<String>,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<Flow>, ExpectError> {
    let text = fs::read_to_string(path).map_err(|source| ExpectError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Flow>, ExpectError> {
    let parsed = serde_saphyr::from_str::<File>(text);
    let file = parsed.map_err(|error| ExpectError::Shape {
        path: path.to_owned(),
        // The lines after the first one show the file.
        why: error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    })?;
    if file.flows.is_empty() {
        return Err(ExpectError::Empty(path.to_owned()));
    }
    let flows = file.flows.into_iter().enumerate();
    let flows = flows.map(|(index, entry)| {
        let flow = format!("flow {}", index + 1);
        entry.flow(|key, value, wrong| ExpectError::Value {
            path: path.to_owned(),
            flow: flow.clone(),
            key,
            value: value.to_owned(),
            wrong,
        })
    });
    flows.collect()
}

impl Entry {
    fn flow(
        self,
        wrong: impl Fn(&'static str, &str, String) -> ExpectError,
    ) -> Result<Flow, ExpectError> {
        // Each value is put after a key of `--where`, and must stay a single value there.
        let term = |key: &'static str, of: &str, value: &str| {
            if value.contains(|c: char| c.is_whitespace() || "\"()".contains(c)) {
                let said = "has a character that no name has".to_owned();
                return Err(wrong(key, value, said));
            }
            let term = format!("{of}:{value}");
            let read: Result<Query, QueryError> = term.parse();
            match read {
                Ok(_) => Ok(term),
                Err(error) => Err(wrong(key, value, error.wrong.to_string())),
            }
        };
        let mut terms = vec![
            term("from", "src", &self.from)?,
            term("to", "dst", &self.to)?,
        ];
        let mut name = format!("{} to {}", self.from, self.to);
        if let Some(proto) = &self.proto {
            terms.push(term("proto", "proto", proto)?);
            name += &format!(" {proto}");
        }
        if let Some(port) = self.port {
            terms.push(format!("dport:{port}"));
            name += &format!(" port {port}");
        }
        let of = terms
            .join(" ")
            .parse()
            .map_err(|error: QueryError| wrong("from", &self.from, error.wrong.to_string()))?;
        Ok(Flow {
            name: self.name.clone().unwrap_or(name),
            of,
            fate: self.fate(term, &wrong)?,
            seen: Seen::default(),
        })
    }

    fn fate(
        &self,
        term: impl Fn(&'static str, &str, &str) -> Result<String, ExpectError>,
        wrong: impl Fn(&'static str, &str, String) -> ExpectError,
    ) -> Result<Option<Fate>, ExpectError> {
        let (cause, at) = (self.cause.as_deref(), self.at.as_deref());
        if self.expect == "none" {
            return match (cause, at) {
                (Some(cause), _) => Err(wrong("cause", cause, NOTHING.to_owned())),
                (_, Some(at)) => Err(wrong("at", at, NOTHING.to_owned())),
                (None, None) => Ok(None),
            };
        }
        let mut text = self.expect.replace(',', " or ");
        let mut verdict = term("expect", "verdict", &self.expect)?;
        if let Some(cause) = cause {
            verdict += &format!(" {}", term("cause", "cause", cause)?);
            text += &format!(" ({cause})");
        }
        if let Some(at) = at {
            text += &format!(" at {at}");
        }
        let verdict = verdict
            .parse()
            .map_err(|error: QueryError| wrong("expect", &self.expect, error.wrong.to_string()))?;
        Ok(Some(Fate {
            text,
            verdict,
            place: at.map(str::to_owned),
        }))
    }
}

const NOTHING: &str = "goes with a packet, and `expect: none` is for none: leave it out";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Flow, parse};

    fn flows(text: &str) -> Result<Vec<Flow>, String> {
        parse(Path::new("f.yaml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_flow_is_called_by_its_name_or_by_its_ends() {
        let text = "flows:\n\
                    - {from: default/web, to: shop/cart, proto: tcp, port: 80, expect: delivered}\n\
                    - {name: not the database, from: 10.0.0.0/8, to: fd00::1, expect: none}\n\
                    - {from: a, to: b, expect: 'dropped,refused', cause: netfilter, at: node-b/eth0}\n";
        let flows = flows(text).expect("three flows");
        let names: Vec<&str> = flows.iter().map(|flow| &*flow.name).collect();
        assert_eq!(
            names,
            [
                "default/web to shop/cart tcp port 80",
                "not the database",
                "a to b"
            ]
        );
        assert_eq!(
            flows[0].of.to_string(),
            "src:default/web dst:shop/cart proto:tcp dport:80"
        );
        assert!(flows[1].fate.is_none());
        let fate = flows[2].fate.as_ref().expect("a fate");
        assert_eq!(fate.text, "dropped or refused (netfilter) at node-b/eth0");
        assert_eq!(
            fate.verdict.to_string(),
            "verdict:dropped,refused cause:netfilter"
        );
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_place() {
        let flow = |rest: &str| format!("flows:\n- {{from: a, to: b, {rest}}}\n");
        for (text, told) in [
            (
                flow("expect: droped"),
                "flow 1: expect `droped` is not a verdict: did you mean dropped?",
            ),
            (
                flow("expect: dropped, cause: netfiltr"),
                "flow 1: cause `netfiltr` is not a cause: did you mean netfilter?",
            ),
            (
                flow("expect: none, cause: ttl"),
                "cause `ttl` goes with a packet",
            ),
            (
                flow("expect: none, at: node-b"),
                "at `node-b` goes with a packet",
            ),
            (
                flow("proto: tpc, expect: none"),
                "flow 1: proto `tpc` is not a protocol",
            ),
            (
                flow("port: 70000, expect: none"),
                "f.yaml is no file of expectations (",
            ),
            (
                flow("prot: tcp, expect: none"),
                "f.yaml is no file of expectations (",
            ),
            (flow("proto: tcp"), "missing field `expect`"),
            (
                "flows: []".to_owned(),
                "f.yaml expects nothing: give at least one flow",
            ),
            (
                String::new(),
                "give `flows:`, and `from`, `to` and `expect` for each",
            ),
            ("- a".to_owned(), "as docs/expectations.md shows"),
            ("\u{0}".to_owned(), "f.yaml is no file of expectations ("),
            (
                "flows:\n- {from: a or b, to: c, expect: none}".to_owned(),
                "flow 1: from `a or b` has a character that no name has",
            ),
            (
                "flows:\n- {from: 10.0.0.0/33, to: c, expect: none}".to_owned(),
                "flow 1: from `10.0.0.0/33` ",
            ),
        ] {
            let error = flows(&text).err().unwrap_or_default();
            assert!(error.contains(told), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
