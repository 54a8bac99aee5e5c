//! The journal's index: lists of entries' numbers, each in rising order.

use std::{
    collections::{BTreeSet, VecDeque},
    ops::Bound,
};

use hashbrown::{HashMap, hash_map};

use super::Entry;
use crate::verdict::Kind;

/// Numbers of entries, in rising order.
pub(super) type Numbers = VecDeque<u64>;

/// Entries by their properties.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    verdicts: [Numbers; Kind::ALL.len()],
    /// Entries by conversation.
    conversations: HashMap<u64, Numbers>,
    /// Entries by node and point of their hops.
    points: Vec<Vec<Numbers>>,
    /// Entries with drops, which may be at interfaces without a point.
    dropped: Numbers,
    /// Entries by the time of the first hop or drop, Unix time, ns.
    times: BTreeSet<(i64, u64)>,
    /// Entries by the journey's own number.
    ids: HashMap<u64, u64>,
}

impl Index {
    /// Adds the newest entry.
    pub(super) fn add(&mut self, entry: &Entry) {
        let Entry {
            number,
            journey,
            verdict,
            ..
        } = entry;
        self.verdicts[verdict.kind as usize].push_back(*number);
        let conversation = self.conversations.entry(journey.conversation);
        conversation.or_default().push_back(*number);
        for step in &journey.steps {
            let points = slot(&mut self.points, step.node);
            let here = slot(points, step.point);
            // A journey may pass a point twice.
            if here.back() != Some(number) {
                here.push_back(*number);
            }
        }
        if !journey.drops.is_empty() {
            self.dropped.push_back(*number);
        }
        self.times.insert((journey.start(), *number));
        self.ids.insert(journey.id, *number);
    }

    /// Forgets the oldest entry.
    pub(super) fn forget(&mut self, entry: &Entry) {
        let Entry {
            number,
            journey,
            verdict,
            ..
        } = entry;
        forget(&mut self.verdicts[verdict.kind as usize], *number);
        if let hash_map::Entry::Occupied(mut of) = self.conversations.entry(journey.conversation) {
            forget(of.get_mut(), *number);
            if of.get().is_empty() {
                of.remove();
            }
        }
        for step in &journey.steps {
            forget(&mut self.points[step.node][step.point], *number);
        }
        forget(&mut self.dropped, *number);
        self.times.remove(&(journey.start(), *number));
        self.ids.remove(&journey.id);
    }

    pub(super) const fn of_verdict(&self, kind: Kind) -> &Numbers {
        &self.verdicts[kind as usize]
    }

    pub(super) fn of_conversation(&self, conversation: u64) -> Option<&Numbers> {
        self.conversations.get(&conversation)
    }

    /// Entries with hops at a point of a node.
    pub(super) fn at(&self, node: usize, point: usize) -> Option<&Numbers> {
        self.points.get(node)?.get(point)
    }

    /// Entries with drops anywhere.
    pub(super) const fn dropped(&self) -> &Numbers {
        &self.dropped
    }

    /// Entries that began within a period, both ends included, by time.
    pub(super) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = u64> {
        let bounds = (Bound::Included((from, 0)), Bound::Included((to, u64::MAX)));
        // A range whose end comes first would panic.
        let period = (from <= to).then(|| self.times.range(bounds));
        period.into_iter().flatten().map(|(_, number)| *number)
    }

    /// Entry of a journey, by the journey's own number.
    pub(super) fn with_id(&self, id: u64) -> Option<u64> {
        self.ids.get(&id).copied()
    }

    /// Number of numbers in all lists.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let lists = self.verdicts.iter().chain(self.conversations.values());
        let lists = lists
            .chain(self.points.iter().flatten())
            .chain([&self.dropped]);
        lists.map(Numbers::len).sum::<usize>() + self.times.len() + self.ids.len()
    }
}

/// An element of a list, which grows if necessary.
fn slot<T: Default>(list: &mut Vec<T>, at: usize) -> &mut T {
    if list.len() <= at {
        list.resize_with(at + 1, T::default);
    }
    &mut list[at]
}

/// Takes the oldest number out of a list, if it is `number`.
fn forget(list: &mut Numbers, number: u64) {
    list.pop_front_if(|first| *first == number);
}
