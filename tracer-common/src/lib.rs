//! Types and code that tracer's kernel programs and user space share.
//!
//! Everything here is pure and `no_std`: the same header walk and the same
//! filter run inside the kernel, on a frame in a unit test, and under a fuzzer.
//!
//! | module | contents |
//! |---|---|
//! | [`packet`] | reads the bytes of a packet: [`packet::Packet`] |
//! | [`layers`] | the result of a walk: [`layers::Layers`] |
//! | [`walk`] | from the first byte to the innermost packet: [`walk::walk`] |
//! | [`tunnel`] | tunnel headers, and the packets in them |
//! | [`mod@glance`] | finds nearly every miss quickly: [`glance::is_miss`] |
//! | [`filter`] | which packets belong to a follow: [`filter::Tables`] |
//! | [`flow`] | a cache of decisions per flow |
//! | [`headers`] | copies headers into an event: [`headers::fill_headers`] |
//! | [`event`] | the record that crosses the ring buffer: [`event::HopEvent`] |
//! | [`mod@drop`] | the event of a packet that the kernel freed: [`drop::DropEvent`] |
//! | [`counters`] | what became of every packet and event: [`counters::Counter`] |
//! | [`elsewhere`] | unmatched traffic of followed addresses |
//! | [`hash`] | the keyed hash of payload bytes, and the hash for sampling |
//! | [`config`] | settings that user space gives a program: [`config::Config`] |
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
    //! These types consist of integers, so any bytes are a valid value.

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
