//! The table: what each reason means in each function. Every entry names the place in the kernel's
//! source (Linux 6.12 to 6.18) that shows this.
//!
//! The first entry that fits decides, so entries for particular functions stand before those for
//! all functions. Functions have their names in the symbol table, without the compiler's suffixes.
//! If one function is inlined into another, the entry names both.

mod devices;
mod network;
mod older;
mod sockets;

use crate::{
    journey::{Class, Judgement},
    model::Cause,
};

/// One entry of the table.
#[derive(Clone, Copy, Debug)]
pub(in crate::verdict::drops) struct Entry {
    pub(in crate::verdict::drops) reasons: &'static [&'static str],
    /// Functions that the entry is for. Empty for all functions.
    pub(in crate::verdict::drops) functions: &'static [&'static str],
    pub(in crate::verdict::drops) of: Of,
    pub(in crate::verdict::drops) judgement: Judgement,
}

/// The packets that an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verdict::drops) enum Of {
    Any,
    /// Multicast and broadcast packets.
    ToMany,
    /// TCP segments with data.
    Data,
    /// First packets of TCP connections.
    Syn,
    /// Packets in a tunnel. The outer packet is the one that was freed.
    Wrapped,
}

impl Entry {
    /// Whether the entry is for this reason and this kind of packet.
    pub(in crate::verdict::drops) fn is_of(&self, reason: &str, kind: Of) -> bool {
        self.reasons.contains(&reason) && (self.of == Of::Any || self.of == kind)
    }

    /// Whether the entry is for this function.
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

/// All entries, in the order in which they are searched.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    let tables = [sockets::TABLE, network::TABLE, devices::TABLE, older::TABLE];
    tables.into_iter().flatten()
}
