//! Sums of DNS questions and answers, in sentences.

use tracer_core::verdict::{Dns, RUN};

use super::{
    moment::Span,
    words::{Weight, count, grouped, kinds, rcode},
};

/// The sums, one sentence each. Empty without any DNS packet.
pub(super) fn sentences(dns: &Dns) -> Vec<(Weight, String)> {
    if dns.is_empty() {
        return Vec::new();
    }
    let sentences = [
        Some((Weight::Plain, sums(dns))),
        took(dns).map(|text| (Weight::Plain, text)),
        missing(dns).map(|text| (Weight::Odd, text)),
        again(dns).map(|text| (Weight::Odd, text)),
        runs(dns).map(|text| (Weight::Odd, text)),
        connections(dns).map(|text| (Weight::Plain, text)),
    ];
    sentences.into_iter().flatten().collect()
}

fn sums(dns: &Dns) -> String {
    let questions = count(dns.questions, "question");
    let mut text = format!("DNS: {questions}");
    let answers: u64 = dns.answers.values().sum();
    if answers > 0 {
        let codes = dns.answers.iter();
        let codes: Vec<String> = codes
            .map(|(code, answers)| format!("{} {}", grouped(*answers), rcode(*code)))
            .collect();
        text += &format!(", {} ({})", count(answers, "answer"), codes.join(", "));
    }
    let unanswered = dns.unanswered();
    let without: u64 = unanswered.values().sum();
    if without > 0 {
        text += &format!(
            ", {} without an answer that was seen ({})",
            grouped(without),
            kinds(&unanswered)
        );
    }
    let open = dns.open();
    if open > 0 {
        let cut_off = "cut off by the beginning or the end of the follow";
        text += &format!(", {} {cut_off}", grouped(open));
    }
    text + "."
}

fn took(dns: &Dns) -> Option<String> {
    let took = &dns.took;
    let at = |quantile| Span(i64::try_from(took.value_at_quantile(quantile)).unwrap_or(i64::MAX));
    (!took.is_empty()).then(|| {
        let max = Span(i64::try_from(took.max()).unwrap_or(i64::MAX));
        format!(
            "From question to answer: p50 {}, p99 {}, max {max}.",
            at(0.5),
            at(0.99)
        )
    })
}

/// Answers that did not arrive, that have no question, or that are truncated.
fn missing(dns: &Dns) -> Option<String> {
    let missing: u64 = dns.missing.values().sum();
    let mut parts = Vec::new();
    if missing > 0 {
        let kinds = kinds(&dns.missing);
        parts.push(format!("{} did not arrive ({kinds})", grouped(missing)));
    }
    if dns.unasked > 0 {
        parts.push(format!(
            "{} answered a question that was not seen",
            grouped(dns.unasked)
        ));
    }
    if dns.truncated > 0 {
        parts.push(format!(
            "{} were truncated (the rest takes TCP)",
            grouped(dns.truncated)
        ));
    }
    (!parts.is_empty()).then(|| format!("Of the answers, {}.", parts.join(", and ")))
}

fn again(dns: &Dns) -> Option<String> {
    (dns.retries > 0).then(|| {
        let packets = count(dns.retries, "packet");
        let s = if dns.retries == 1 { "s" } else { "" };
        format!("{packets} repeat{s} a question.")
    })
}

fn runs(dns: &Dns) -> Option<String> {
    let longest = dns.longest.as_ref()?;
    Some(format!(
        "{} of {RUN} or more NXDOMAIN answers in a row, the longest of {} to {}: resolvers try \
         every suffix of a search path (ndots).",
        count(dns.runs, "run"),
        grouped(longest.answers),
        longest.asker
    ))
}

fn connections(dns: &Dns) -> Option<String> {
    (dns.connections > 0).then(|| {
        format!(
            "{} over TCP: tracer does not read the payload, and so not the questions.",
            count(dns.connections, "connection")
        )
    })
}
