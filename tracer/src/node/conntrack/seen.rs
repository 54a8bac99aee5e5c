//! Which connections were seen, and when their entries are requested.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use tracer_core::model::{Ends, Proto};

/// Limit of requests per report, so that a flood of connections does not keep an agent from its
/// other work. Each request takes some 10 µs.
const MOST: usize = 64;

/// Limit of connections that wait for their request. More connections begin to wait with a later
/// packet.
const WAITING: usize = 1024;

/// Limit of the connections in each half of the memory. Both halves take less than 2 MiB. A
/// forgotten connection is only requested once more.
const HALF: usize = 7 * 1024;

/// Time after which an entry is requested again: soon, if it was missing, because it may not
/// have been confirmed yet; later, if it was there.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(30);

/// Time after a connection's first packet until its entry is requested. By then, the packet has
/// left its node or reached a socket, which confirms the entry. The engine takes a hop only
/// `GRACE` (`worker`) after it was seen, so an entry that comes before joins the
/// connection's first packet as well.
const CONFIRMED: Duration = Duration::from_millis(5);

/// What makes a connection, as its packets show it.
pub(super) type Key = (Proto, Ends);

/// A request of entries that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::node) struct Due {
    pub(in crate::node) at: Instant,
    /// Time of the oldest hop that waits for it, the agent's monotonic clock, ns.
    pub(in crate::node) since: u64,
}

/// The seen connections.
#[derive(Default)]
pub(super) struct Seen {
    /// The connections that were remembered last.
    young: HashMap<Key, State>,
    /// Those before them. They are forgotten all at once when there is no more room.
    old: HashMap<Key, State>,
    /// The connections that wait for their request, and when it is due, in order.
    waiting: VecDeque<(Key, Instant)>,
    /// Time of the oldest hop that waits.
    since: Option<u64>,
    /// The connection of the last packet, if it need not be looked up again.
    last: Option<Key>,
}

/// The state of a connection.
#[derive(Clone, Copy)]
enum State {
    /// It waits for its request. Its oldest hop has this time.
    Waits(u64),
    /// Its entry is not requested again before this time.
    Asked(Instant),
}

impl Seen {
    /// Notes a packet that was seen at `time`, the agent's monotonic clock, ns; `now` is the
    /// approximate time.
    pub(super) fn saw(&mut self, key: Key, time: u64, now: Instant) {
        // Packets of a connection come in sequence, and each passes several points.
        if self.last == Some(key) {
            return;
        }
        match self.state(&key) {
            Some(State::Waits(since)) => {
                // Events of several CPUs are not in order.
                *since = time.min(*since);
                return self.hold(time);
            }
            Some(State::Asked(again)) if *again > now => {
                self.last = Some(key);
                return;
            }
            Some(State::Asked(_)) | None => {}
        }
        if self.waiting.len() < WAITING {
            self.remember(key, State::Waits(time));
            self.waiting.push_back((key, now + CONFIRMED));
            self.hold(time);
        }
    }

    /// A hop of this time waits.
    fn hold(&mut self, time: u64) {
        self.since = Some(self.since.map_or(time, |since| since.min(time)));
    }

    /// When the next requests are due; `None` if no connection waits.
    pub(super) fn due(&self) -> Option<Due> {
        let (_, at) = self.waiting.front()?;
        let since = self.since?;
        Some(Due { at: *at, since })
    }

    /// The connections whose entries are to be requested now.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Key> {
        let due = self.waiting.iter().take_while(|(_, at)| *at <= now);
        let due = due.count().min(MOST);
        let keys: Vec<Key> = self.waiting.drain(..due).map(|(key, _)| key).collect();
        for key in &keys {
            self.remember(*key, State::Asked(now + SOON));
        }
        let waiting = self.waiting.iter();
        let since = waiting.filter_map(|(key, _)| match self.known(key)? {
            State::Waits(since) => Some(*since),
            State::Asked(_) => None,
        });
        self.since = since.min();
        self.last = None;
        keys
    }

    /// Notes that a connection has an entry.
    pub(super) fn found(&mut self, key: Key, now: Instant) {
        self.remember(key, State::Asked(now + LATER));
    }

    fn known(&self, key: &Key) -> Option<&State> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    fn state(&mut self, key: &Key) -> Option<&mut State> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    fn remember(&mut self, key: Key, state: State) {
        if let Some(known) = self.young.get_mut(&key) {
            *known = state;
            return;
        }
        if self.young.len() >= HALF {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, state);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The connection with this number.
    fn key(number: u32) -> Key {
        let ends = Ends {
            src: Ipv4Addr::from_bits(0x0af4_0000 | number >> 14).into(),
            dst: [10, 96, 0, 10].into(),
            src_port: 10_000 + u16::try_from(number & 0x3fff).expect("14 bits"),
            dst_port: 80,
        };
        (Proto::Ip(6), ends)
    }

    #[test]
    fn a_connection_is_asked_for_once_and_not_too_many_at_a_time() {
        let now = Instant::now();
        let mut seen = Seen::default();
        seen.saw(key(0), 1, now);
        seen.saw(key(0), 2, now);
        assert_eq!(seen.take(now), [], "the entry may not be confirmed yet");
        let due = now + CONFIRMED;
        assert_eq!(seen.due(), Some(Due { at: due, since: 1 }));
        assert_eq!(seen.take(due), [key(0)]);
        assert_eq!(seen.due(), None);
        seen.saw(key(0), 3, due);
        assert_eq!(seen.due(), None);
        assert_eq!(seen.take(due), []);
        // The entry was missing.
        seen.saw(key(0), 4, due + SOON);
        assert!(seen.due().is_some());
        assert_eq!(seen.take(due + SOON + CONFIRMED), [key(0)]);
        seen.found(key(0), due + SOON);
        seen.saw(key(0), 5, due + SOON + SOON);
        assert_eq!(seen.due(), None);
        assert_eq!(seen.take(due), []);

        for number in 1..=2000 {
            seen.saw(key(number), 6, due);
        }
        let mut asked = Vec::new();
        while let Some(next) = seen.due() {
            let keys = seen.take(next.at);
            assert!(keys.len() <= MOST);
            asked.extend(keys);
        }
        let expected: Vec<Key> = (1..).map(key).take(WAITING).collect();
        assert_eq!(asked, expected);
        // The others are asked for when their next packets come.
        seen.saw(key(2000), 7, due);
        assert!(seen.due().is_some());
    }

    #[test]
    fn each_connection_is_due_by_itself_and_holds_back_its_oldest_hop() {
        let now = Instant::now();
        let later = now + Duration::from_millis(3);
        let mut seen = Seen::default();
        seen.saw(key(0), 100, now);
        seen.saw(key(1), 300, later);
        // Another CPU saw a packet of that connection earlier.
        seen.saw(key(1), 200, later);
        let at = now + CONFIRMED;
        assert_eq!(seen.due(), Some(Due { at, since: 100 }));
        assert_eq!(seen.take(at), [key(0)]);
        let at = later + CONFIRMED;
        assert_eq!(seen.due(), Some(Due { at, since: 200 }));
        assert_eq!(seen.take(at), [key(1)]);
    }

    /// Each new connection is requested, however many there were, and the memory is bounded.
    #[test]
    fn many_connections_are_each_asked_for_in_bounded_memory() {
        let mut now = Instant::now();
        let mut seen = Seen::default();
        for number in 0..100_000 {
            seen.saw(key(number), 1, now);
            let due = seen.due().expect("it waits");
            now = due.at;
            assert_eq!(seen.take(now), [key(number)]);
            seen.found(key(number), now);
        }
        assert!(seen.young.len() + seen.old.len() <= 2 * HALF);
        let memory = seen.young.allocation_size() + seen.old.allocation_size();
        assert!(memory <= 2 << 20, "{memory} bytes");
        // The latest are remembered.
        seen.saw(key(99_000), 2, now);
        assert_eq!(seen.due(), None);
    }
}
