//! Keeping within the event budget by following fewer packets whole, rather
//! than more of them in part.
//!
//! The kernel cuts off at the budget, wherever a packet is on its way. So as
//! soon as it does, all agents are told to take only packets whose content
//! hash is below a bound, the same at every hop; the bound rises again when
//! nothing was cut off for a while.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing must be cut off before more is taken again.
const CALM: Duration = Duration::from_secs(2);

/// How long a change needs to show.
const SETTLE: Duration = Duration::from_millis(300);

/// The bound for all agents.
#[derive(Debug)]
pub(super) struct Sampling {
    bound: u32,
    limited: u64,
    changed: Instant,
}

impl Sampling {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bound: u32::MAX,
            limited: 0,
            changed: now,
        }
    }

    /// The bound in force.
    pub(super) const fn bound(&self) -> u32 {
        self.bound
    }

    /// Takes how many events were cut off so far. Returns a new bound, if
    /// there is to be one.
    pub(super) fn update(&mut self, limited: u64, now: Instant) -> Option<u32> {
        let cut_off = limited > self.limited;
        self.limited = limited;
        let since = now.duration_since(self.changed);
        let bound = if cut_off && since >= SETTLE {
            (self.bound / 2).max(1 << 12)
        } else if !cut_off && since >= CALM {
            self.bound.saturating_mul(2).saturating_add(1)
        } else {
            return None;
        };
        if bound == self.bound {
            return None;
        }
        self.bound = bound;
        self.changed = now;
        Some(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_while_events_are_cut_off_and_recovers() {
        let start = Instant::now();
        let mut sampling = Sampling::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(sampling.update(0, at(1000)), None);
        assert_eq!(sampling.update(10, at(1100)), Some(u32::MAX / 2));
        assert_eq!(sampling.update(20, at(1200)), None, "not settled yet");
        assert_eq!(sampling.update(30, at(1500)), Some(u32::MAX / 4));
        assert_eq!(sampling.update(30, at(2000)), None, "not calm yet");
        assert_eq!(sampling.update(30, at(4000)), Some(u32::MAX / 2));
        assert_eq!(sampling.update(30, at(7000)), Some(u32::MAX));
        assert_eq!(sampling.update(30, at(10000)), None);
    }
}
