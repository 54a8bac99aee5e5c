//! Goes through the faults of a group, and collects all errors, so that one fault does not hide the
//! others.

use std::{
    env, fmt,
    io::{Write as _, stdout},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::faults::expected::Place;
use tracer_tests::faults::{
    Beside, Expected, Fault, Named, Sender, Stage, Table, Traffic, When, group, role,
};
use tracer_tests::faults::{
    NAMED_VARIABLE, OF_POD, SEEDS_VARIABLE, TURN_VARIABLE, WIRINGS_VARIABLE,
};
use tracer_tests::program::{FIXTURES_VARIABLE, LIMIT};
use tracer_tests::{Pod, Wiring};

use crate::watch::name;

/// A fault in a lab, and the traffic that shows it.
pub(crate) struct Case<'a> {
    pub(crate) group: &'a str,
    pub(crate) fault: &'a Fault,
    pub(crate) expected: &'a Expected,
    pub(crate) stage: &'a Stage,
}

/// An error's context: the kernel's drops of the affected packets were not seen.
#[derive(Debug)]
pub(crate) struct Unseen;

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a drop was not seen")
    }
}

/// Runs `check` on each fault of a group, in each of its families.
pub(crate) fn each(named: &str, check: impl Fn(&Case<'_>) -> Result<()>) -> Result<()> {
    let all = Wiring::all_here()?;
    let faults = group(named);
    let mut made = Vec::new();
    for (number, fault) in faults.iter().enumerate() {
        for &v6 in fault.v6 {
            let wirings = chosen(number, fault, v6, &all)?;
            made.extend(wirings.into_iter().map(|wiring| (fault, v6, wiring)));
        }
    }
    check_each(named, &made, check)
}

/// Runs `check` on some faults of a group.
pub(crate) fn check_each(
    group: &str,
    made: &[(&Fault, bool, Wiring)],
    check: impl Fn(&Case<'_>) -> Result<()>,
) -> Result<()> {
    let table = Table::of_this_kernel()?;
    let mut wrong = Vec::new();
    for (fault, v6, wiring) in made.iter().copied() {
        let expected = table.expect(&fault.name, v6, wiring)?;
        let title = format!("{}, IPv{}, {wiring:?}", fault.name, if v6 { 6 } else { 4 });
        if env::var(NAMED_VARIABLE).is_ok_and(|word| !title.contains(&word)) {
            continue;
        }
        for _ in 0..number_of(SEEDS_VARIABLE)?.unwrap_or(1) {
            let check = || {
                let stage = fault.stage(wiring, v6)?;
                if fault.when == When::Before {
                    fault.make(&stage)?;
                }
                let case = Case {
                    group,
                    fault,
                    expected: &expected,
                    stage: &stage,
                };
                check(&case).with_context(|| format!("seed {:#x}", stage.lab.seed()))
            };
            let mut checked = check();
            // The timer interrupts any task, and a program sees none of its drops if the same
            // program was running there, or if it is a task in which the kernel runs no program
            // (docs/kernel-facts.md).
            if let Err(error) = &checked
                && fault.by_timer
                && error.downcast_ref::<Unseen>().is_some()
            {
                // The test runner hides what passing tests print by other ways.
                writeln!(stdout(), "{title}: once more, because {error:#}")?;
                checked = check();
            }
            match checked {
                Ok(()) => eprintln!("{title}: right"),
                Err(error) => {
                    let text = format!("{title}: wrong: {error:#}");
                    eprintln!("{text}");
                    wrong.push(text);
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// The wirings in which to make a fault. Every fault is made in the usual one. Every second fault
/// is also made in one other wiring, in one of its families; the turn ([`TURN_VARIABLE`]) decides
/// which. Otherwise [`WIRINGS_VARIABLE`] names the wirings. `number` counts all faults.
pub(crate) fn chosen(
    number: usize,
    fault: &Fault,
    v6: bool,
    all: &[Wiring],
) -> Result<Vec<Wiring>> {
    let fits = |wiring: &Wiring| fault.fits(*wiring, v6);
    let fitting: Vec<Wiring> = all.iter().copied().filter(fits).collect();
    let is_usual = |wiring: &Wiring| *wiring == Wiring::Flannel;
    let (usual, others): (Vec<_>, Vec<_>) = fitting.iter().partition(|wiring| is_usual(wiring));
    let asked = env::var(WIRINGS_VARIABLE).unwrap_or_default();
    let turn = number_of(TURN_VARIABLE)?.unwrap_or(0);
    // In time, both halves, both families and all wirings get their turn, in any sequence of turns.
    let (half, family, place) = (number + turn, number + turn / 2, number + turn / 4);
    let is_its_family = fault.v6.len() == 1 || v6 == (family % 2 == 1);
    let is_its_turn = asked == "turns" || half.is_multiple_of(2);
    let by_turns = others.get(place % others.len().max(1)).copied();
    let by_turns = by_turns.filter(|_| is_its_family && is_its_turn);
    Ok(match &*asked {
        "" => usual.into_iter().chain(by_turns).collect(),
        "turns" => by_turns.into_iter().collect(),
        "all" => fitting,
        names => {
            let names: Vec<&str> = names.split(',').collect();
            let is_known = |name: &&str| Wiring::ALL.iter().any(|one| format!("{one:?}") == *name);
            let unknown = names.iter().find(|name| !is_known(name));
            ensure!(
                unknown.is_none(),
                "{WIRINGS_VARIABLE}: no wiring {unknown:?}"
            );
            let is_asked = |wiring: &Wiring| names.contains(&&*format!("{wiring:?}"));
            fitting.into_iter().filter(is_asked).collect()
        }
    })
}

/// The number in an environment variable, if it is set.
fn number_of(variable: &str) -> Result<Option<usize>> {
    let Ok(text) = env::var(variable) else {
        return Ok(None);
    };
    let number = text.parse();
    number
        .map(Some)
        .with_context(|| format!("{variable} is a number, but it is {text}"))
}

/// The sent packets. Their two ports distinguish them.
pub(crate) struct Running {
    /// The traffic that the fault affects.
    pub(crate) faulty: Sender,
    /// The number of its packets, without retransmissions.
    pub(crate) sent: usize,
    /// The traffic that the fault must not affect.
    pub(crate) clean: Sender,
    /// The number of its packets.
    pub(crate) clean_sent: usize,
}

impl Case<'_> {
    /// The file for a recording, if `cargo xtask fixtures` wants one.
    pub(crate) fn fixture(&self) -> Option<String> {
        let directory = env::var(FIXTURES_VARIABLE).ok()?;
        // One recording is enough for faults that look alike: a filter's drop in both families, a
        // Service's fault by either name, and most faults in all wirings.
        let told_twice =
            self.stage.v6 && (self.group == "filters" || self.fault.name.ends_with(OF_POD));
        if told_twice || self.stage.lab.wiring != Wiring::Flannel {
            return None;
        }
        let family = if self.stage.v6 { 6 } else { 4 };
        Some(format!("{directory}/{}-{family}.arrows", self.fault.name))
    }

    /// The ends of the affected traffic, as arguments.
    pub(crate) fn ends(&self) -> Result<Vec<String>> {
        self.named([self.stage.a(), self.stage.target()], self.fault.named)
    }

    /// The ends of the unaffected traffic, as arguments.
    pub(crate) fn ends_beside(&self) -> Result<Vec<String>> {
        let beside = self.fault.beside;
        let named = match beside {
            Beside::Service => self.fault.named,
            _ => Named::Pod,
        };
        self.named(beside.ends(self.stage), named)
    }

    fn named(&self, [from, to]: [&Pod; 2], named: Named) -> Result<Vec<String>> {
        let source = ["--src-pod".to_owned(), name(from)];
        let ends = source.into_iter().chain(named.destination(self.stage, to)?);
        Ok(ends.collect())
    }

    /// Makes the fault, sends the affected traffic, and then the unaffected traffic.
    pub(crate) fn run(&self) -> Result<Running> {
        let mut clean = self.fault.beside.sender(self.stage)?;
        let mut faulty = Sender::new(self.stage, self.fault.traffic)?;
        if self.fault.when == When::During {
            prove_life(self.stage)?;
            self.fault.make(self.stage)?;
        }
        let sent = faulty.send()?.packets;
        let clean_sent = clean.send()?.packets;
        Ok(Running {
            faulty,
            sent,
            clean,
            clean_sent,
        })
    }
}

/// Sends packets from node to node. Without any packet, there is no proof that the far uplink's
/// programs work.
fn prove_life(stage: &Stage) -> Result<()> {
    let mut sender = Sender::between(stage, stage.a2(), stage.b2(), Traffic::datagrams())?;
    let sent = sender.send()?.packets;
    all_arrive(&sender, sent)
}

/// Waits until this number of datagrams has arrived.
fn all_arrive(sender: &Sender, sent: usize) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let mut arrived = 0;
    while arrived < sent {
        ensure!(
            Instant::now() < deadline,
            "only {arrived} of {sent} clean packets arrived"
        );
        arrived += sender.arrived()?;
        thread::yield_now();
    }
    Ok(())
}

impl Running {
    /// Whether the fault must affect the packet. Other packets of the same connections do not
    /// count, such as a reset by a client that has forgotten the connection.
    pub(crate) fn is_faulty(&self, packet: &Value) -> bool {
        let tcp = &packet["tcp"];
        let number = |key| tcp[key].as_u64().unwrap_or(0);
        let flags = tcp["flags"].as_str().unwrap_or_default();
        packet["dst_port"] == self.faulty.port()
            && (tcp.is_null()
                || self
                    .faulty
                    .sends(flags, number("seq"), number("payload_len")))
    }

    /// Waits until all unaffected traffic has arrived.
    pub(crate) fn clean_arrives(&self) -> Result<()> {
        all_arrive(&self.clean, self.clean_sent)
    }
}

/// Whether a drop has the place and the reason of the table.
pub(crate) fn is_at(stage: &Stage, drop: &Value, place: &Place) -> bool {
    let pods: [(&str, &Pod); 4] = [
        ("a", stage.a()),
        ("b", stage.b()),
        ("a2", stage.a2()),
        ("b2", stage.b2()),
    ];
    let pod = pods.iter().find(|(name, _)| *name == place.netns);
    let netns = pod.map_or("host".to_owned(), |(_, pod)| name(pod));
    let is_one = |field: &Value, words: &[String]| {
        let is = field.as_str().unwrap_or_default();
        words.iter().any(|word| word == is || word == "*")
    };
    let interface = match drop["interface"].as_str() {
        None => place.interfaces.is_empty(),
        Some(interface) => match pod {
            Some((_, pod)) if interface == pod.interface => place.interfaces == ["pod"],
            Some(_) => place.interfaces == [interface],
            None => {
                let role = role(&stage.lab, place.node, interface);
                role.is_some_and(|role| place.interfaces == [role])
            }
        },
    };
    drop["node"] == *stage.lab.nodes[place.node].name
        && drop["netns"] == *netns
        && (interface || place.interfaces == ["*"])
        && is_one(&drop["reason"], &place.reasons)
        && is_one(&drop["function"], &place.functions)
}
