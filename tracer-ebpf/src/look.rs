//! How a packet is looked at that a glance has not told to be a miss: in stages, of
//! which each one says what is next.
//!
//! The stages are programs of their own, called one after the other: nested, they
//! would need more stack than there is. What one finds goes to the next through the
//! scratch memory, for the verifier: what it reads from a map it takes for any value,
//! so that it checks a stage once and not for every path that leads there.

use tracer_common::{
    layers::{Layers, Unparsed},
    packet::Packet,
    walk::quoted,
};

use crate::{
    maps::{self, Found},
    why,
};

/// It certainly does not belong to the follow.
pub(crate) const MISS: u32 = 0;
/// It may belong; what was found is in the scratch memory.
pub(crate) const FOUND: u32 = 1;
/// No answer can be given.
pub(crate) const UNPARSED: u32 = 2;
/// It was walked: what was found is still to be asked about.
pub(crate) const WALKED: u32 = 3;

/// As [`FOUND`], of a packet that a stage has come to an end with.
#[inline(always)]
pub(crate) fn told(looked: Result<u32, Unparsed>, at: impl FnOnce() -> u32) -> u32 {
    looked.unwrap_or_else(|unparsed| {
        why::unparsed(at, unparsed);
        UNPARSED
    })
}

/// Leaves what a walk has found for the stage that asks about it.
#[inline(always)]
pub(crate) fn walked(layers: Layers) -> u32 {
    let Some(found) = maps::found() else {
        return MISS;
    };
    found.layers.leave(layers);
    WALKED
}

/// Looks whether a packet that was walked is an ICMP error. What it quotes is left for
/// the stages that come.
#[inline(always)]
pub(crate) fn quote<P: Packet>(packet: &P) -> Result<(), Unparsed> {
    let Some(found) = maps::found() else {
        return Ok(());
    };
    // SAFETY: the walk has written it in this run.
    let layers = unsafe { found.layers.get() };
    found.quotes.set(0);
    if let Some(quote) = quoted(packet, layers)? {
        found.quote.leave(quote);
        found.quotes.set(1);
    }
    Ok(())
}

/// What [`quote`] has found.
#[inline(always)]
pub(crate) fn quote_of(found: &Found) -> Option<&Layers> {
    if found.quotes.get() == 0 {
        return None;
    }
    // SAFETY: it was left in this run.
    Some(unsafe { found.quote.get() })
}
