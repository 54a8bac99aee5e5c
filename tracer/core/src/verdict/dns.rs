//! Sums of DNS: questions, answers, and times from question to answer.
//!
//! Events have the header of DNS over UDP: identifier, question or answer, return code. Names and
//! DNS over TCP are payload, which stays in the kernel.
//!
//! **Repeated questions.** A resolver that gets no answer sends the same bytes again, from the same
//! port. If it chooses another identifier, port or server, the question counts as a new one.
//!
//! **Unanswered questions** are counted by their verdicts. Questions that the follow's start or end
//! cut off do not count.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use hashbrown::HashMap;
use hdrhistogram::Histogram;
use tracer_common::event::DNS_PORT;

use super::{
    Kind, Verdict,
    latency::{GROWS, histogram},
};
use crate::{
    journey::{Journey, Scene},
    model::{Cause, Flags, Packet, Transport},
};

/// The return code of a name that does not exist (RFC 1035, 4.1.1).
const NXDOMAIN: u8 = 3;

/// This many NXDOMAIN in a row are a run: Kubernetes gives pods three search suffixes.
pub const RUN: u64 = 3;

/// How many unanswered questions, and how many askers, are remembered.
const REMEMBERED: usize = 65_536;

/// A run of NXDOMAIN that one asker got in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The asker: its pod's name, else its address.
    pub asker: Arc<str>,
    /// Number of such answers.
    pub answers: u64,
}

/// Sums of DNS.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Questions over UDP; a repeated question counts once.
    pub questions: u64,
    /// Packets that repeat a question.
    pub retries: u64,
    /// Answers over UDP, by return code.
    pub answers: BTreeMap<u8, u64>,
    /// Answers that were not delivered, by verdict.
    pub missing: BTreeMap<Kind, u64>,
    /// Answers to questions that were not seen.
    pub unasked: u64,
    /// Truncated answers, after which resolvers ask again over TCP.
    pub truncated: u64,
    /// Times from a question to its answer, at one node, ns. Answers that did not arrive are left
    /// out.
    pub took: Histogram<u64>,
    /// Connections over TCP that were opened.
    pub connections: u64,
    /// How often [`RUN`] or more NXDOMAIN came to one asker in a row.
    pub runs: u64,
    /// The longest run of NXDOMAIN, if any had [`RUN`] answers.
    pub longest: Option<Run>,
    /// Verdicts of unanswered questions, by journey. `None`: the follow's start or end cut the
    /// question off.
    unanswered: HashMap<u64, Option<Kind>>,
    /// The number of NXDOMAIN in a row that each asker has got so far.
    rows: HashMap<IpAddr, u64>,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            questions: 0,
            retries: 0,
            answers: BTreeMap::new(),
            missing: BTreeMap::new(),
            unasked: 0,
            truncated: 0,
            took: histogram(),
            connections: 0,
            runs: 0,
            longest: None,
            unanswered: HashMap::new(),
            rows: HashMap::new(),
        }
    }
}

impl Dns {
    /// Whether there was no DNS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.questions + self.retries + self.connections == 0 && self.answers.is_empty()
    }

    /// Unanswered questions, by their verdict.
    #[must_use]
    pub fn unanswered(&self) -> BTreeMap<Kind, u64> {
        let mut all = BTreeMap::new();
        for kind in self.unanswered.values().flatten() {
            *all.entry(*kind).or_default() += 1;
        }
        all
    }

    /// Questions whose answer the follow's start or end cut off.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.unanswered
            .values()
            .filter(|kind| kind.is_none())
            .count() as u64
    }

    /// Adds a finished journey, if it is one of DNS.
    pub fn add(&mut self, scene: &Scene, journey: &Journey, verdict: &Verdict) {
        match journey.packet.dns() {
            Some(dns) if !dns.is_answer => self.question(journey, verdict),
            Some(dns) => {
                *self.answers.entry(dns.code).or_default() += 1;
                self.truncated += u64::from(dns.truncated);
                self.unasked += u64::from(journey.answers.is_none());
                if verdict.kind != Kind::Delivered {
                    *self.missing.entry(verdict.kind).or_default() += 1;
                } else if let Some(took) = journey.took {
                    self.took.record(took).expect(GROWS);
                }
                self.run(scene, journey, dns.code);
            }
            None => {
                let opened = journey.answered_by.is_some() && opens(&journey.packet);
                self.connections += u64::from(opened);
            }
        }
    }

    fn question(&mut self, journey: &Journey, verdict: &Verdict) {
        let first = journey.retransmits.unwrap_or(journey.id);
        if first == journey.id {
            self.questions += 1;
        } else {
            self.retries += 1;
        }
        if journey.answered_by.is_some() {
            self.unanswered.remove(&first);
        } else if first == journey.id && self.unanswered.len() < REMEMBERED {
            let is_cut_off = verdict.is_cut_off() || verdict.cause == Some(Cause::StillOpen);
            let kind = Some(verdict.kind).filter(|_| !is_cut_off);
            self.unanswered.insert(first, kind);
        }
    }

    /// Counts an answer in its asker's row of NXDOMAIN, or ends that row.
    fn run(&mut self, scene: &Scene, answer: &Journey, code: u8) {
        let Some(asker) = answer.destination() else {
            return;
        };
        if code != NXDOMAIN {
            self.rows.remove(&asker);
            return;
        }
        if self.rows.len() >= REMEMBERED && !self.rows.contains_key(&asker) {
            return;
        }
        let row = self.rows.entry(asker).or_default();
        *row += 1;
        self.runs += u64::from(*row == RUN);
        if *row >= RUN && self.longest.as_ref().is_none_or(|run| run.answers < *row) {
            let pod = scene.pod(asker, answer.start());
            self.longest = Some(Run {
                asker: pod.map_or_else(|| asker.to_string().into(), Arc::from),
                answers: *row,
            });
        }
    }
}

/// Whether a packet asks for a connection to DNS's port.
fn opens(packet: &Packet) -> bool {
    matches!(&packet.transport, Transport::Tcp(tcp)
        if tcp.dst_port == DNS_PORT && tcp.flags.has(Flags::SYN) && !tcp.flags.has(Flags::ACK))
}

#[cfg(test)]
mod tests {
    use super::{Dns, RUN};
    use crate::{
        by_hand::{A, FROM_POD, TO_POD, journey, scene, verdict},
        journey::{Closed, Journey},
        model::{Ends, Transport},
        verdict::Kind,
    };

    /// A DNS packet from `src`, with the second 16 bits of its header.
    fn packet(id: u64, (src, dst): ([u8; 4], [u8; 4]), flags: [u8; 2]) -> Journey {
        let mut journey = journey(&[(0, FROM_POD), (1, TO_POD)], Closed::Known);
        journey.id = id;
        let mut header = [0; 12];
        header[2..4].copy_from_slice(&flags);
        journey.packet.transport = Transport::Udp {
            src_port: 0,
            dst_port: 0,
            len: 40,
            dns: Some(header),
        };
        journey.packet = journey.packet.with_ends(&Ends {
            src: src.into(),
            dst: dst.into(),
            src_port: 40_000,
            dst_port: 53,
        });
        journey
    }

    const SERVER: [u8; 4] = [10, 96, 0, 10];

    fn question(id: u64) -> Journey {
        packet(id, (A, SERVER), [1, 0])
    }

    fn answer(id: u64, to: u64, code: u8) -> Journey {
        Journey {
            answers: Some(to),
            took: Some(1_000_000),
            ..packet(id, (SERVER, A), [0x81, code])
        }
    }

    #[test]
    fn a_question_that_is_answered_late_is_no_question_without_an_answer() {
        let (scene, mut dns) = (scene(), Dns::default());
        let mut add = |journey: &Journey, kind| dns.add(&scene, journey, &verdict(kind));
        add(&question(1), Kind::Unanswered);
        add(&question(2), Kind::Lost);
        let again = Journey {
            retransmits: Some(1),
            answered_by: Some(4),
            ..question(3)
        };
        add(&again, Kind::Delivered);
        add(&answer(4, 3, 0), Kind::Delivered);
        add(&answer(5, 9, 2), Kind::Dropped);
        assert_eq!((dns.questions, dns.retries), (2, 1));
        assert_eq!(dns.unanswered(), [(Kind::Lost, 1)].into());
        assert_eq!(dns.answers, [(0, 1), (2, 1)].into());
        assert_eq!(dns.missing, [(Kind::Dropped, 1)].into());
        assert_eq!((dns.took.len(), dns.open(), dns.unasked), (1, 0, 0));
    }

    #[test]
    fn names_that_do_not_exist_are_a_run_from_three_on() {
        let (scene, mut dns) = (scene(), Dns::default());
        for codes in [&[3, 3, 0][..], &[3, 3, 3, 0], &[3, 3, 3, 3, 3]] {
            for code in codes {
                dns.add(&scene, &answer(2, 1, *code), &verdict(Kind::Delivered));
            }
        }
        assert_eq!(dns.runs, 2);
        let longest = dns.longest.expect("a run");
        assert_eq!((&*longest.asker, longest.answers), ("default/a", RUN + 2));
    }
}
