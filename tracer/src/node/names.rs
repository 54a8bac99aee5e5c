//! The names in DNS answers that a thread's programs captured (`--dns-names`).

use std::{collections::HashMap, net::IpAddr, time::Instant};

use tracer_core::model::Named;

use super::conntrack::Due;

/// Limits of the names that wait for a report, and of the addresses whose last name is remembered.
const WAITING: usize = 1024;
const REMEMBERED: usize = 4096;

/// The seen names. An answer passes several points, and is often the same as the one before, so
/// only a change of an address's name is reported.
#[derive(Default)]
pub(super) struct Names {
    last: HashMap<IpAddr, String>,
    waiting: Vec<Named>,
    due: Option<Due>,
}

impl Names {
    /// Notes an answer that was seen at `time`, the agent's monotonic clock, ns; `now` is the
    /// approximate time.
    pub(super) fn saw(&mut self, name: &str, addresses: &[IpAddr], time: u64, now: Instant) {
        for address in addresses {
            let is_known = self.last.get(address).is_some_and(|last| last == name);
            if is_known || self.waiting.len() >= WAITING {
                continue;
            }
            if self.last.len() >= REMEMBERED {
                self.last.clear();
            }
            self.last.insert(*address, name.to_owned());
            self.waiting.push(Named {
                time,
                address: *address,
                name: name.to_owned(),
            });
            let due = self.due.get_or_insert(Due {
                at: now,
                since: time,
            });
            due.since = due.since.min(time);
        }
    }

    /// When the names are due: at once, so that they come before the packets to their addresses.
    pub(super) const fn due(&self) -> Option<Due> {
        self.due
    }

    /// The names since the last report.
    pub(super) fn take(&mut self) -> Vec<Named> {
        self.due = None;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_once_until_another_one_leads_to_its_address() {
        let now = Instant::now();
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let mut names = Names::default();
        names.saw("a.example.com", &[one, other], 5, now);
        names.saw("a.example.com", &[other, one], 3, now);
        assert_eq!(names.due(), Some(Due { at: now, since: 5 }));
        let told = |names: &mut Names| {
            names
                .take()
                .into_iter()
                .map(|named| (named.address, named.name))
                .collect::<Vec<_>>()
        };
        let named = |address, name: &str| (address, name.to_owned());
        assert_eq!(
            told(&mut names),
            [named(one, "a.example.com"), named(other, "a.example.com")]
        );
        assert_eq!(names.due(), None);
        names.saw("b.example.com", &[one], 7, now);
        names.saw("a.example.com", &[one, other], 9, now);
        assert_eq!(
            told(&mut names),
            [named(one, "b.example.com"), named(one, "a.example.com")]
        );
    }

    #[test]
    fn many_names_take_bounded_memory() {
        let mut names = Names::default();
        for number in 0..10_000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from_bits(number));
            names.saw("a.example.com", &[address], 1, Instant::now());
            if number % 2000 == 0 {
                names.take();
            }
        }
        assert!(names.waiting.len() <= WAITING && names.last.len() <= REMEMBERED);
    }
}
