//! Pauses between the tries of something that fails, each twice as long as the one before.

use std::time::Duration;

/// The pauses of one series of tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    /// Pauses that grow from `first` to `longest`.
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The pause before the next try.
    pub(crate) fn grow(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Begins anew, after a try that worked.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(5));
        let seconds = |pauses: &mut Pauses| [(); 5].map(|()| pauses.grow().as_secs());
        assert_eq!(seconds(&mut pauses), [1, 2, 4, 5, 5]);
        pauses.reset();
        assert_eq!(seconds(&mut pauses), [1, 2, 4, 5, 5]);
    }
}
