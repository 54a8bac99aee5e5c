//! Counters of the nodes' kernels over time.

use super::Ledger;
use crate::{
    input::Health,
    verdict::{Rises, Silence},
};

/// How late a NIC's counters may be, ns: drivers read them from the device now and then, some
/// only every two seconds.
const LATE: i64 = 2_000_000_000;

impl Ledger {
    /// Counters on an agent's node that rose between the last reading before `from` and now.
    pub(in crate::collect) fn rises(&self, agent: usize, from: i64) -> Option<Rises> {
        let history = &self.health[agent];
        let (_, after) = history.back()?;
        let (_, before) = history
            .iter()
            .rfind(|(time, _)| *time <= from)
            .or(history.front())?;
        Some(Rises::between(before, after))
    }

    /// Whether an interface of an agent's node received nothing between `from` and `to`: its
    /// counter was the same before and after.
    pub(in crate::collect) fn silence(
        &self,
        agent: usize,
        interface: &str,
        from: i64,
        to: i64,
    ) -> Option<Silence> {
        let received = |health: &Health| {
            let mut devices = health.devices.iter();
            devices
                .find(|device| *device.interface == *interface)?
                .rx_packets
        };
        let (from, to) = self.widened(from, to);
        let history = &self.health[agent];
        let (latest, health) = history.back()?;
        let now = received(health)?;
        let same = |(_, health): &&(i64, Health)| received(health) == Some(now);
        let (since, _) = history.iter().rev().take_while(same).last()?;
        (*since <= from && *latest >= to.saturating_add(LATE)).then_some(Silence {
            since: *since,
            counts: now > 0,
        })
    }
}
