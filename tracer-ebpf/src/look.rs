//! The stages that parse a packet if a glance has not settled it. Each stage says what comes next.
//!
//! Each stage is a subprogram, and a program calls one after the other, because nested calls would
//! need more stack than there is. A stage passes its results to the next through the scratch
//! memory, for the verifier's sake. The verifier assumes that a value from a map can be anything.
//! It therefore checks each stage once, and not once for every path that leads there.

use tracer_common::{
    layers::{Layers, Unparsed},
    packet::Packet,
    walk::quoted,
};

use crate::{
    maps::{self, Found},
    why,
};

/// The packet certainly does not belong to the follow.
pub(crate) const MISS: u32 = 0;
/// The packet may belong to the follow. The results are in the scratch memory.
pub(crate) const FOUND: u32 = 1;
/// The packet cannot be parsed, so there is no answer.
pub(crate) const UNPARSED: u32 = 2;
/// A walk has found the packet's headers. The filter has not answered yet.
pub(crate) const WALKED: u32 = 3;

/// The answer of a stage: its result, or [`UNPARSED`] if the packet cannot be parsed.
#[inline(always)]
pub(crate) fn told(looked: Result<u32, Unparsed>, at: impl FnOnce() -> u32) -> u32 {
    looked.unwrap_or_else(|unparsed| {
        why::unparsed(at, unparsed);
        UNPARSED
    })
}

/// Leaves the result of a walk for the stage that asks the filter.
#[inline(always)]
pub(crate) fn walked(layers: Layers) -> u32 {
    let Some(found) = maps::found() else {
        return MISS;
    };
    found.layers.leave(layers);
    WALKED
}

/// Parses the quote of an ICMP error, if the walked packet is one, and leaves it for later stages.
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

/// The quote that [`quote`] has left.
#[inline(always)]
pub(crate) fn quote_of(found: &Found) -> Option<&Layers> {
    if found.quotes.get() == 0 {
        return None;
    }
    // SAFETY: `quote` has left it in this run.
    Some(unsafe { found.quote.get() })
}
