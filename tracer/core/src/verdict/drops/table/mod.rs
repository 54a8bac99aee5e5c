//! The table: reasons, functions, and what they mean, each with the place in
//! the kernel's source (Linux 6.12 to 6.18) that says so.
//!
//! The first entry that fits counts: those for a function stand before those
//! for all. Functions are named as the symbol table names them, without a
//! compiler's suffixes; where one is inlined into another, both stand here.

mod devices;
mod network;
mod older;
mod sockets;

use crate::{
    journey::{Class, Judgement},
    model::Cause,
};

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(in crate::verdict::drops) struct Entry {
    pub(in crate::verdict::drops) reasons: &'static [&'static str],
    /// Empty for any.
    pub(in crate::verdict::drops) functions: &'static [&'static str],
    pub(in crate::verdict::drops) of: Of,
    pub(in crate::verdict::drops) judgement: Judgement,
}

/// Which packets an entry holds of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict::drops) enum Of {
    Any,
    /// Multicast and broadcast.
    ToMany,
    /// TCP segments with data.
    Data,
    /// First packets of TCP connections.
    Syn,
    /// Packets inside a tunnel's packet, which is what was freed.
    Wrapped,
}

impl Entry {
    /// Whether it holds of what is freed for this reason, of a packet that is this kind
    /// of packet.
    pub(in crate::verdict::drops) fn is_of(&self, reason: &str, kind: Of) -> bool {
        self.reasons.contains(&reason) && (self.of == Of::Any || self.of == kind)
    }

    /// Whether it holds in this function.
    pub(in crate::verdict::drops) fn is_in(&self, function: &str) -> bool {
        self.functions.is_empty() || self.functions.contains(&function)
    }
}

const fn entry(
    reasons: &'static [&'static str],
    functions: &'static [&'static str],
    class: Class,
    cause: Cause,
    why: &'static str,
    source: &'static str,
) -> Entry {
    Entry {
        reasons,
        functions,
        of: Of::Any,
        judgement: Judgement {
            class,
            cause: Some(cause),
            why,
            source,
        },
    }
}

const fn to_many(entry: Entry) -> Entry {
    Entry {
        of: Of::ToMany,
        ..entry
    }
}

const fn of_syn(entry: Entry) -> Entry {
    Entry {
        of: Of::Syn,
        ..entry
    }
}

const fn wrapped(entry: Entry) -> Entry {
    Entry {
        of: Of::Wrapped,
        ..entry
    }
}

const fn of_data(entry: Entry) -> Entry {
    Entry {
        of: Of::Data,
        ..entry
    }
}

/// All entries, in the order in which they count.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    let tables = [sockets::TABLE, network::TABLE, devices::TABLE, older::TABLE];
    tables.into_iter().flatten()
}
