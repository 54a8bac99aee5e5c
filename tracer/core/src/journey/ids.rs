//! Lists of numbers that have hardly ever more than one in them.

use std::collections::VecDeque;

/// Numbers in the order in which they came.
#[derive(Debug, Default)]
pub(super) enum Ids {
    #[default]
    None,
    One(u64),
    Many(VecDeque<u64>),
}

impl Ids {
    pub(super) const fn one(id: u64) -> Self {
        Self::One(id)
    }

    pub(super) fn push(&mut self, id: u64) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(first) => *self = Self::Many([*first, id].into()),
            Self::Many(ids) => ids.push_back(id),
        }
    }

    /// Removes one, which is usually near the front.
    pub(super) fn remove(&mut self, id: u64) {
        match self {
            Self::One(only) if *only == id => *self = Self::None,
            Self::None | Self::One(_) => {}
            Self::Many(ids) => {
                // They are mostly in order of their numbers.
                let at = ids.binary_search(&id).ok();
                let at = at.or_else(|| ids.iter().position(|other| *other == id));
                at.and_then(|at| ids.remove(at));
            }
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u64> {
        let (first, more) = match self {
            Self::None => (None, None),
            Self::One(id) => (Some(*id), None),
            Self::Many(ids) => (None, Some(ids.iter().copied())),
        };
        first.into_iter().chain(more.into_iter().flatten())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(ids) => ids.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
