//! The sums of DNS in the summary.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::verdict::{self, Kind};

use crate::view::words::rcode;

/// Sums of DNS questions and answers.
#[derive(JsonSchema, Serialize)]
pub(super) struct Dns<'a> {
    questions: u64,
    retries: u64,
    answers: BTreeMap<Cow<'static, str>, u64>,
    unanswered: BTreeMap<Kind, u64>,
    cut_off: u64,
    missing: BTreeMap<Kind, u64>,
    unasked: u64,
    truncated: u64,
    took: Option<Took>,
    nxdomain_runs: u64,
    longest_run: Option<Run<'a>>,
    tcp_connections: u64,
}

/// Times from a question to its answer, ns.
#[derive(JsonSchema, Serialize)]
struct Took {
    count: u64,
    p50_ns: u64,
    p99_ns: u64,
    max_ns: u64,
}

/// The longest run of NXDOMAIN answers to one asker.
#[derive(JsonSchema, Serialize)]
struct Run<'a> {
    asker: &'a str,
    answers: u64,
}

impl<'a> Dns<'a> {
    /// The sums; `None` without any DNS packet.
    pub(super) fn new(dns: &'a verdict::Dns) -> Option<Self> {
        let took = &dns.took;
        (!dns.is_empty()).then(|| Self {
            questions: dns.questions,
            retries: dns.retries,
            answers: dns
                .answers
                .iter()
                .map(|(code, answers)| (rcode(*code), *answers))
                .collect(),
            unanswered: dns.unanswered(),
            cut_off: dns.open(),
            missing: dns.missing.clone(),
            unasked: dns.unasked,
            truncated: dns.truncated,
            took: (!took.is_empty()).then(|| Took {
                count: took.len(),
                p50_ns: took.value_at_quantile(0.5),
                p99_ns: took.value_at_quantile(0.99),
                max_ns: took.max(),
            }),
            nxdomain_runs: dns.runs,
            longest_run: dns.longest.as_ref().map(|run| Run {
                asker: &run.asker,
                answers: run.answers,
            }),
            tcp_connections: dns.connections,
        })
    }
}
