//! The sums of DNS in the summary.

use std::{borrow::Cow, collections::BTreeMap};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::verdict::{self, Kind};

use crate::view::words::rcode;

/// Sums of DNS questions and answers.
#[derive(JsonSchema, Serialize)]
pub(super) struct Dns<'a> {
    /// Questions over UDP; a repeated question counts once.
    questions: u64,
    /// Packets that repeat a question with the same identifier, port and first bytes.
    retries: u64,
    /// Answers over UDP by return code, such as `NOERROR` or `NXDOMAIN`.
    answers: BTreeMap<Cow<'static, str>, u64>,
    /// Questions without an answer, by the verdict on each.
    unanswered: BTreeMap<Kind, u64>,
    /// Questions without an answer, because the follow began or ended in between.
    cut_off: u64,
    /// Answers that did not arrive, by the verdict on each.
    missing: BTreeMap<Kind, u64>,
    /// Answers to questions that were not seen.
    unasked: u64,
    /// Answers that are marked as truncated, so that resolvers ask again by TCP.
    truncated: u64,
    /// Times from a question to its answer, of the answers that arrived; null if none did.
    took: Option<Took>,
    /// How often three or more NXDOMAIN came to one asker in a row.
    nxdomain_runs: u64,
    /// The longest of these runs; null without any.
    longest_run: Option<Run<'a>>,
    /// Connections that were opened to TCP port 53, whose questions are not known.
    tcp_connections: u64,
}

/// Times from a question to its answer, ns.
#[derive(JsonSchema, Serialize)]
struct Took {
    /// Number of answers.
    count: u64,
    /// Time that half of the answers took at most, in ns, with three significant figures.
    p50_ns: u64,
    /// Time that 99 % of the answers took at most, in ns, with three significant figures.
    p99_ns: u64,
    /// Longest time of an answer, in ns, with three significant figures.
    max_ns: u64,
}

/// The longest run of NXDOMAIN answers to one asker.
#[derive(JsonSchema, Serialize)]
struct Run<'a> {
    /// `namespace/name` of the pod that asked, else its address.
    asker: &'a str,
    /// Number of NXDOMAIN answers in the run.
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
