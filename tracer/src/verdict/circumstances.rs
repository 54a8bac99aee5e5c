//! What is known of the agents while a journey was on its way.

use std::time::Duration;

use super::Rises;

/// Whether what was not seen did not happen. Times are Unix time, ns.
pub trait Circumstances {
    /// Whether hops were lost on their way to the collector while a journey
    /// lasted that was heard of from `from` to `last`: it may have passed
    /// points unseen.
    fn hops_lost(&self, from: i64, last: i64) -> bool;

    /// Whether, at some time since `from`, not every packet was taken: an answer
    /// need not be in the sample that its question is in.
    fn sampled(&self, from: i64) -> bool;

    /// How long a packet is waited for after it was last heard of.
    fn hold(&self) -> Duration;

    /// Whether drops were: it may have been dropped unseen.
    fn drops_lost(&self, from: i64, last: i64) -> bool;

    /// How many packets of any kind a point has seen since the beginning, as
    /// its agent said after `last`; `None` if the agent was not heard of since.
    fn packets(&self, node: usize, point: usize, last: i64) -> Option<u64>;

    /// Which of a node's counters rose between `from` and now, as far as that
    /// is known.
    fn rises(&self, node: usize, from: i64) -> Option<Rises>;

    /// If packets of `len` bytes and more vanish on the leg from one node's
    /// uplink to another's while smaller ones arrive: the largest, in bytes,
    /// that arrived.
    fn black_hole(&self, from: usize, to: usize, len: u32) -> Option<u32>;
}
