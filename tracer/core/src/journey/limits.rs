//! Limits of the engine.

/// Limits of the engine's time and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time without an event after which a journey is closed, ns. A reported journey is remembered
    /// for the same time again.
    pub hold: i64,
    /// Time without an event after which a journey with a known fate is closed, ns. Such events
    /// are a drop inside the pod, another copy that arrives, and the error to the sender. All of
    /// them follow within the same system call or interrupt, or within the receiver's next system
    /// call. Hops of other nodes may come as much later as the clocks differ.
    pub settle: i64,
    /// Maximum number of open journeys, and of remembered ones.
    pub open: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hold: 5_000_000_000,
            settle: 100_000_000,
            open: 65_536,
        }
    }
}
