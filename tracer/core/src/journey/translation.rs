//! Which ends a translation of addresses (NAT) turns into which.
//!
//! **The problem.** After the translation of a Service's address, a packet has other ends than
//! before. A node's masquerade gives it another source. Nothing in the packet says so.
//!
//! **Identity.** Within a node, the sk_buff identifies a packet across its translation. All fields
//! that translation does not change ([`Content::is_translated`](super::content::Content)) have to
//! agree, at a point where a packet cannot have begun. Only this evidence and conntrack's table
//! join ends, never a similarity.
//!
//! **Flows.** A translation that was seen of one packet holds for its whole connection, in both
//! directions, because conntrack translates all of it alike. So the engine keeps ends that belong
//! together as a chain, in the order in which packets pass through them. The first ends that a
//! packet was seen with stand for all: hops on other nodes are looked up under these ends.
//!
//! **What stays uncertain.** Later connections use the same ends again. The latest evidence counts.
//! If no translation of a packet was seen, the packet keeps its own ends, and its journey ends at
//! the translation.

use std::collections::VecDeque;

use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use super::{Translated, slab::Slab};
use crate::model::{Ends, Packet, Proto, Transport};

/// How long a flow without packets is remembered, ns. The next packet shows its translation again.
const IDLE: i64 = 300_000_000_000;

/// What is known of the ends that a packet was seen with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The ends that stand for the whole flow, in the packet's direction.
    pub(super) key: Ends,
    /// Time since when this is known: Unix time, ns.
    pub(super) since: i64,
}

/// Ends, by protocol.
type Key = (Proto, Ends);

/// A translated connection, or a translated exchange of packets without a connection.
#[derive(Clone, Debug)]
struct Flow {
    number: u64,
    proto: Proto,
    /// At least two, in the order in which packets of one direction pass through them.
    chain: SmallVec<[Ends; 2]>,
    /// The ends that stand for the whole flow.
    key: Ends,
    since: i64,
    last: i64,
    /// The agent whose node's conntrack table has the flow, and the time when the table was last
    /// read.
    told: Option<(usize, i64)>,
    /// Whether the connection's first packet goes against the direction of the chain, if that is
    /// known.
    begins_reversed: Option<bool>,
}

/// All flows with a known translation.
#[derive(Clone, Debug, Default)]
pub(super) struct Translations {
    flows: Slab<Flow>,
    /// The slot of a flow by each of its ends, in both directions. `true` if the direction is
    /// against the chain's.
    of: HashMap<Key, (u32, bool)>,
    /// When to check whether a flow is idle: time, slot and number of the flow.
    due: VecDeque<(i64, u32, u64)>,
    next: u64,
}

impl Translations {
    /// Approximate memory of a clone, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.flows.slots() * size_of::<Option<Flow>>()
            + self.of.capacity() * size_of::<(Key, (u32, bool))>()
    }

    /// What is known of the ends of a packet. `None` if nothing is known.
    pub(super) fn known(&mut self, packet: &Packet, time: i64) -> Option<Known> {
        if self.of.is_empty() {
            return None;
        }
        let (slot, reversed) = self.find(packet)?;
        let flow = self.flows.get_mut(slot)?;
        flow.last = flow.last.max(time);
        Some(Known {
            key: turned(flow.key, reversed),
            since: flow.since,
        })
    }

    /// The ends that the packets of this packet's flow pass through.
    pub(super) fn way(&self, packet: &Packet) -> Option<Translated> {
        let (slot, reversed) = self.find(packet)?;
        let flow = self.flows.get(slot)?;
        let (chain, told) = (&flow.chain, flow.told);
        let is_reply = flow.begins_reversed.map(|begins| begins != reversed);
        let (first, last) = (*chain.first()?, *chain.last()?);
        Some(if reversed {
            Translated {
                first: last.reversed(),
                last: first.reversed(),
                told,
                is_reply,
            }
        } else {
            Translated {
                first,
                last,
                told,
                is_reply,
            }
        })
    }

    fn find(&self, packet: &Packet) -> Option<(u32, bool)> {
        if self.of.is_empty() || is_error(packet) {
            return None;
        }
        self.of.get(&(packet.proto(), packet.ends()?)).copied()
    }

    /// The ends that stand for the flow of a packet that an ICMP error quotes.
    pub(super) fn key_of(&self, proto: Proto, ends: Ends) -> Option<Ends> {
        let (slot, reversed) = *self.of.get(&(proto, ends))?;
        Some(turned(self.flows.get(slot)?.key, reversed))
    }

    /// Notes that a packet had the ends `from`, and then `to`. The engine remembers at most `most`
    /// flows.
    pub(super) fn learn(&mut self, proto: Proto, from: Ends, to: Ends, time: i64, most: usize) {
        match (self.at(proto, from), self.at(proto, to)) {
            (Some((one, _)), Some((other, _))) if one == other => {}
            // One direction is translated in one step, and the other direction in two.
            (Some((one, reversed)), None)
                if self.insert(
                    one,
                    [from, to].map(|ends| turned(ends, reversed)),
                    !reversed,
                ) => {}
            (None, Some((one, reversed)))
                if self.insert(one, [to, from].map(|ends| turned(ends, reversed)), reversed) => {}
            (Some((one, reversed)), other) => {
                // A later connection uses these ends.
                if let Some((other, _)) = other {
                    self.forget(other);
                }
                if self.is_last(one, turned(from, reversed), reversed) {
                    self.extend(one, turned(to, reversed), reversed, time);
                } else {
                    self.forget(one);
                    self.begin(proto, from, to, time);
                }
            }
            (None, Some((other, reversed))) => {
                if self.is_last(other, turned(to, reversed), !reversed) {
                    self.extend(other, turned(from, reversed), !reversed, time);
                } else {
                    self.forget(other);
                    self.begin(proto, from, to, time);
                }
            }
            (None, None) => self.begin(proto, from, to, time),
        }
        self.forget_idle(time, most);
    }

    /// Notes that the first packet of a connection has these ends.
    pub(super) fn begins_with(&mut self, proto: Proto, ends: Ends) {
        if let Some((slot, reversed)) = self.at(proto, ends)
            && let Some(flow) = self.flows.get_mut(slot)
        {
            flow.begins_reversed = Some(reversed);
        }
    }

    /// Notes that an agent's conntrack table, as read at a time, has the translation of these ends.
    pub(super) fn told(&mut self, proto: Proto, ends: Ends, (agent, time): (usize, i64)) {
        let slot = self.at(proto, ends).map(|(slot, _)| slot);
        if let Some(flow) = slot.and_then(|slot| self.flows.get_mut(slot)) {
            flow.told = Some((agent, time));
        }
    }

    fn at(&self, proto: Proto, ends: Ends) -> Option<(u32, bool)> {
        self.of.get(&(proto, ends)).copied()
    }

    /// Whether these ends are the last ones of the chain. With `reversed`, whether they are the
    /// first ones.
    fn is_last(&self, slot: u32, ends: Ends, reversed: bool) -> bool {
        let Some(flow) = self.flows.get(slot) else {
            return false;
        };
        let last = if reversed {
            flow.chain.first()
        } else {
            flow.chain.last()
        };
        last == Some(&ends)
    }

    fn begin(&mut self, proto: Proto, from: Ends, to: Ends, time: i64) {
        self.next += 1;
        let number = self.next;
        let slot = self.flows.insert(Flow {
            number,
            proto,
            chain: smallvec![from, to],
            key: from,
            since: time,
            last: time,
            told: None,
            begins_reversed: None,
        });
        self.list(proto, from, slot);
        self.list(proto, to, slot);
        self.due
            .push_back((time.saturating_add(IDLE), slot, number));
    }

    /// Adds ends after the last ends of a chain, or before the first ones.
    fn extend(&mut self, slot: u32, ends: Ends, in_front: bool, time: i64) {
        let Some(flow) = self.flows.get_mut(slot) else {
            return;
        };
        let at = if in_front { 0 } else { flow.chain.len() };
        flow.chain.insert(at, ends);
        flow.since = time;
        let proto = flow.proto;
        self.list(proto, ends, slot);
    }

    /// Adds ends to a chain, next to known ones. They have to be on the way to the next ends there:
    /// one end is translated already, the other is not. Returns whether they are.
    fn insert(&mut self, slot: u32, [known, new]: [Ends; 2], behind: bool) -> bool {
        let Some(flow) = self.flows.get_mut(slot) else {
            return false;
        };
        let Some(at) = flow.chain.iter().position(|ends| *ends == known) else {
            return false;
        };
        let next = if behind {
            Some(at + 1)
        } else {
            at.checked_sub(1)
        };
        let Some(next) = next.and_then(|next| flow.chain.get(next)).copied() else {
            return false;
        };
        let is_mixed = |one: &Ends, other: &Ends| {
            (new.src, new.src_port) == (one.src, one.src_port)
                && (new.dst, new.dst_port) == (other.dst, other.dst_port)
        };
        if !is_mixed(&known, &next) && !is_mixed(&next, &known) {
            return false;
        }
        flow.chain.insert(if behind { at + 1 } else { at }, new);
        let proto = flow.proto;
        self.list(proto, new, slot);
        true
    }

    fn list(&mut self, proto: Proto, ends: Ends, slot: u32) {
        self.of.insert((proto, ends), (slot, false));
        self.of.insert((proto, ends.reversed()), (slot, true));
    }

    fn forget(&mut self, slot: u32) {
        let Some(flow) = self.flows.remove(slot) else {
            return;
        };
        for ends in flow.chain {
            for ends in [ends, ends.reversed()] {
                self.of.remove(&(flow.proto, ends));
            }
        }
    }

    fn forget_idle(&mut self, now: i64, most: usize) {
        while let Some((at, slot, number)) = self.due.front().copied() {
            let is_over = self.due.len() > most;
            if at > now && !is_over {
                break;
            }
            self.due.pop_front();
            let flow = self.flows.get(slot).filter(|flow| flow.number == number);
            let Some(flow) = flow else {
                continue;
            };
            let due = flow.last.saturating_add(IDLE);
            if due > now && !is_over {
                self.due.push_back((due, slot, number));
            } else {
                self.forget(slot);
            }
        }
    }
}

const fn turned(ends: Ends, reversed: bool) -> Ends {
    if reversed { ends.reversed() } else { ends }
}

/// Whether a packet is an ICMP error. Its ends follow from those of the packet that it quotes.
pub(super) fn is_error(packet: &Packet) -> bool {
    matches!(&packet.transport, Transport::Icmp(icmp) if icmp.quote.is_some())
}

#[cfg(test)]
mod tests {
    use super::{IDLE, Translations};
    use crate::model::{Ends, Proto};

    const TCP: Proto = Proto::Ip(6);

    fn ends(src: u8, dst: u8) -> Ends {
        Ends {
            src: [10, 0, 0, src].into(),
            dst: [10, 0, 0, dst].into(),
            src_port: 40_000,
            dst_port: 80,
        }
    }

    fn chain(translations: &Translations, of: Ends) -> Vec<Ends> {
        let (slot, _) = translations.at(TCP, of).expect("it is known");
        let flow = translations.flows.get(slot).expect("a flow");
        flow.chain.to_vec()
    }

    #[test]
    fn both_directions_have_one_key() {
        let mut translations = Translations::default();
        translations.learn(TCP, ends(1, 9), ends(1, 2), 0, 8);
        assert_eq!(translations.key_of(TCP, ends(1, 2)), Some(ends(1, 9)));
        let answer = ends(1, 2).reversed();
        assert_eq!(
            translations.key_of(TCP, answer),
            Some(ends(1, 9).reversed())
        );
        assert_eq!(translations.key_of(TCP, ends(1, 3)), None);
        assert_eq!(translations.key_of(Proto::Ip(17), ends(1, 2)), None);
    }

    #[test]
    fn a_chain_grows_at_either_end_and_keeps_its_key() {
        let mut translations = Translations::default();
        // An answer showed the translation first, so the chain is in the answer's direction.
        translations.learn(TCP, ends(5, 1), ends(9, 1), 0, 8);
        translations.learn(TCP, ends(6, 4), ends(5, 1), 1, 8);
        let whole = [ends(6, 4), ends(5, 1), ends(9, 1)];
        assert_eq!(chain(&translations, ends(9, 1)), whole);
        // The second translation of a question, seen on its way.
        let (from, to) = (ends(6, 4).reversed(), ends(7, 4).reversed());
        translations.learn(TCP, from, to, 2, 8);
        assert_eq!(chain(&translations, ends(9, 1))[0], ends(7, 4));
        assert_eq!(translations.key_of(TCP, ends(9, 1)), Some(ends(5, 1)));
    }

    /// A packet to a NodePort: both ends are rewritten in one step, and back in two.
    #[test]
    fn a_step_in_between_belongs_to_the_flow() {
        for back in [[ends(3, 4), ends(1, 4)], [ends(3, 4), ends(3, 2)]] {
            let mut translations = Translations::default();
            let (first, last) = (ends(1, 2), ends(3, 4));
            translations.learn(TCP, first, last, 0, 8);
            translations.learn(TCP, back[0].reversed(), back[1].reversed(), 1, 8);
            let all = [first, back[1], last];
            assert_eq!(chain(&translations, first), all);
            assert_eq!(translations.key_of(TCP, last), Some(first));
            // The rest of the way is known already.
            translations.learn(TCP, back[1].reversed(), first.reversed(), 2, 8);
            assert_eq!(chain(&translations, last), all);
            // Ends that are not between two known ones begin another flow.
            translations.learn(TCP, first, ends(1, 9), 3, 8);
            assert_eq!(translations.key_of(TCP, last), None);
        }
    }

    #[test]
    fn ends_that_are_used_again_lead_elsewhere() {
        let mut translations = Translations::default();
        translations.learn(TCP, ends(1, 9), ends(1, 2), 0, 8);
        translations.learn(TCP, ends(1, 9), ends(1, 3), 1, 8);
        assert_eq!(chain(&translations, ends(1, 9)), [ends(1, 9), ends(1, 3)]);
        assert_eq!(translations.key_of(TCP, ends(1, 2)), None);
    }

    #[test]
    fn what_is_idle_is_forgotten_and_so_is_the_oldest_of_too_many() {
        let mut translations = Translations::default();
        translations.learn(TCP, ends(1, 9), ends(1, 2), 0, 2);
        translations.learn(TCP, ends(3, 9), ends(3, 2), IDLE, 2);
        assert_eq!(translations.key_of(TCP, ends(1, 9)), None);
        translations.learn(TCP, ends(4, 9), ends(4, 2), IDLE, 2);
        translations.learn(TCP, ends(5, 9), ends(5, 2), IDLE, 2);
        assert_eq!(translations.key_of(TCP, ends(3, 9)), None);
        assert!(translations.key_of(TCP, ends(5, 2)).is_some());
        assert_eq!(translations.of.len(), 8);
    }
}
