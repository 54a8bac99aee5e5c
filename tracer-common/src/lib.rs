//! What tracer's kernel programs and its user space agree on.
//!
//! Everything here is pure and `no_std`: the same header walk and the same
//! filter run inside the kernel, on a frame in a unit test, and under a fuzzer.
//!
//! | module | what is agreed |
//! |---|---|
//! | [`packet`] | how bytes of a packet are read: [`packet::Packet`] |
//! | [`layers`] | what a walk finds: [`layers::Layers`] |
//! | [`walk`] | from the first byte to the innermost packet: [`walk::walk`] |
//! | [`tunnel`] | which packets carry others |
//! | [`mod@glance`] | whether nobody asked for it: [`glance::is_miss`] |
//! | [`filter`] | which packets belong to a follow: [`filter::Tables`] |
//! | [`flow`] | what was decided about the packets before |
//! | [`headers`] | what is copied from a packet: [`headers::fill_headers`] |
//! | [`event`] | the record that crosses the ring buffer: [`event::HopEvent`] |
//! | [`mod@drop`] | that of a packet the kernel freed: [`drop::DropEvent`] |
//! | [`counters`] | where every packet and event went: [`counters::Counter`] |
//! | [`elsewhere`] | where followed addresses send what nobody asked about |
//! | [`hash`] | the keyed hash of payload bytes, and the one for sampling |
//! | [`config`] | what user space tells a program: [`config::Config`] |
#![no_std]

pub mod config;
pub mod counters;
pub mod drop;
pub mod elsewhere;
pub mod event;
pub mod filter;
pub mod flow;
pub mod glance;
pub mod hash;
pub mod headers;
pub mod layers;
pub mod packet;
pub mod tunnel;
pub mod walk;

#[cfg(feature = "user")]
mod pod {
    //! Any bytes are a value of these types: they consist of integers.

    use crate::{config, counters, drop, elsewhere, filter, flow};

    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for config::Load {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for config::Config {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for counters::Counters {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for drop::DropLoad {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for drop::DropCounters {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for elsewhere::Elsewhere {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for filter::Prefilters {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for filter::AddressKey {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for filter::Identity {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for filter::PairKey {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for filter::RuleSet {}
    // SAFETY: integers only, `repr(C)`, no implicit padding.
    unsafe impl aya::Pod for flow::Flows {}
}
