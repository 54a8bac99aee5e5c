//! Places in the kernel.

use std::sync::Arc;

/// Prefix of an address whose function is not known.
const RAW: &str = "0x";

/// Where in the kernel something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The function, without suffixes that a compiler appends to parts and clones (`.isra.0`).
    /// The raw address if the function is not known.
    pub function: Arc<str>,
    /// Offset from the function's beginning, bytes; 0 for a raw address.
    pub offset: u64,
}

impl Place {
    /// The place of an address whose function is not known.
    #[must_use]
    pub fn raw(address: u64) -> Self {
        Self {
            function: Arc::from(format!("{RAW}{address:x}")),
            offset: 0,
        }
    }

    /// Stands for a raw address in anonymized recordings. A raw address tells where that kernel
    /// is in memory.
    pub const NAMELESS: &str = "unknown";

    /// The function's name; `None` for a raw address.
    #[must_use]
    pub fn known_function(&self) -> Option<&str> {
        let is_known = !self.function.starts_with(RAW) && *self.function != *Self::NAMELESS;
        is_known.then_some(&*self.function)
    }
}
