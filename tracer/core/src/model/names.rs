//! Names that DNS answers gave to addresses, in time.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// Limits of the remembered addresses, and of an address's names. The oldest is forgotten.
const ADDRESSES: usize = 16_384;
const EACH: usize = 4;

/// A name that a DNS answer gave to an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Time when the answer was seen, the agent's monotonic clock, ns.
    pub time: u64,
    /// The address.
    pub address: IpAddr,
    /// The name that was asked for, without the last dot.
    pub name: String,
}

/// Names of an address, with the times of their answers, Unix time, ns. The latest is the last.
type InTime = SmallVec<[(i64, Arc<str>); 1]>;

/// Names of addresses. Several names may lead to one address; then the latest answer counts.
#[derive(Clone, Debug, Default)]
pub struct Names {
    of: HashMap<IpAddr, InTime>,
    /// The addresses, in the order in which they got a name.
    order: VecDeque<IpAddr>,
}

impl Names {
    /// Notes that an answer at `time`, Unix time, ns, gave a name to an address.
    pub fn learn(&mut self, address: IpAddr, name: &str, time: i64) {
        if !self.of.contains_key(&address) {
            if self.order.len() >= ADDRESSES
                && let Some(oldest) = self.order.pop_front()
            {
                self.of.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let names = self.of.entry(address).or_default();
        let at = names.partition_point(|(since, _)| *since <= time);
        let before = at.checked_sub(1).map(|before| &*names[before].1);
        if before == Some(name) {
            return;
        }
        names.insert(at, (time, name.into()));
        if names.len() > EACH {
            names.remove(0);
        }
    }

    /// The name that an address had at `time`, Unix time, ns.
    #[must_use]
    pub fn at(&self, address: IpAddr, time: i64) -> Option<&str> {
        let names = self.of.get(&address)?;
        let mut names = names.iter().rev();
        let (_, name) = names.find(|(since, _)| *since <= time)?;
        Some(name)
    }

    /// Number of addresses with a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no address has a name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn the_latest_answer_before_a_packet_names_its_address() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut names = Names::default();
        names.learn(address, "one.example.com", 100);
        names.learn(address, "two.example.com", 200);
        // Agents report in any order.
        names.learn(address, "zero.example.com", 50);
        names.learn(address, "two.example.com", 300);
        let at = |time| names.at(address, time);
        assert_eq!([at(49), at(50)], [None, Some("zero.example.com")]);
        assert_eq!(at(150), Some("one.example.com"));
        assert_eq!(at(250), Some("two.example.com"));
        assert_eq!(names.at([192, 0, 2, 2].into(), 250), None);
    }

    #[test]
    fn many_names_take_bounded_memory() {
        let address =
            |number: usize| IpAddr::from(Ipv4Addr::from_bits(u32::try_from(number).expect("few")));
        let mut names = Names::default();
        for number in 0..=ADDRESSES {
            names.learn(address(number), "a.example.com", 1);
        }
        for time in 0..100 {
            names.learn(address(9), &format!("{time}.example.com"), time);
        }
        assert_eq!(names.len(), ADDRESSES);
        assert_eq!(names.of.len(), ADDRESSES);
        assert!(names.of.values().all(|names| names.len() <= EACH));
        assert_eq!(names.at(address(0), 1), None);
        assert_eq!(names.at(address(9), 1000), Some("99.example.com"));
    }
}
