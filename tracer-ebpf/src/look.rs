//! How a packet is looked at: in stages, of which each one says what is next.
//!
//! The stages are programs of their own, called one after the other: nested, they
//! would need more stack than there is. What one finds goes to the next through the
//! scratch memory, for the verifier: what it reads from a map it takes for any value,
//! so that it checks a stage once and not for every path that leads there.

use tracer_common::{
    packet::Packet,
    walk::{Layers, quoted},
};

use crate::maps;

/// It certainly does not belong to the follow.
pub(crate) const MISS: u32 = 0;
/// It may belong; what was found is in the scratch memory.
pub(crate) const FOUND: u32 = 1;
/// No answer can be given.
pub(crate) const UNPARSED: u32 = 2;
/// It has rare headers, or some where the first look does not reach.
pub(crate) const SHORT: u32 = 3;
/// It was walked: what was found is still to be asked about.
pub(crate) const WALKED: u32 = 4;

/// The first look, and if that does not suffice, `whole`, which walks everything, and
/// `ask`. What comes of it is one of the first three.
#[inline(always)]
pub(crate) fn in_stages(plain: u32, whole: impl FnOnce() -> u32, ask: impl FnOnce() -> u32) -> u32 {
    let looked = if plain == SHORT { whole() } else { plain };
    if looked == WALKED { ask() } else { looked }
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

/// Whether a packet that was found is an ICMP error; what it quotes is in the scratch
/// memory.
#[inline(always)]
pub(crate) fn find_quote<P: Packet>(packet: &P) -> bool {
    let Some(found) = maps::found() else {
        return false;
    };
    // SAFETY: the look that has found the packet has written it in this run.
    let layers = unsafe { found.layers.get() };
    let Ok(Some(quote)) = quoted(packet, layers) else {
        return false;
    };
    found.quote.leave(quote);
    true
}
