//! Sampling: if events exceed the budget, fewer packets are followed completely, rather than
//! more of them in part.
//!
//! The kernel programs discard events over the budget, wherever a packet is on its path. As
//! soon as that happens, all agents take only packets whose content hash is below a limit,
//! which is the same at every hop. The limit rises again after some time without discarded
//! events.

use std::time::Duration;

use tokio::time::Instant;

/// Time without discarded events after which the limit rises.
const CALM: Duration = Duration::from_secs(2);

/// How long a change needs until it has an effect.
const SETTLE: Duration = Duration::from_millis(300);

/// The sampling limit for all agents.
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

    /// The present limit.
    pub(super) const fn bound(&self) -> u32 {
        self.bound
    }

    /// Takes the number of events discarded so far. Returns a new limit; `None` if it stays.
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
