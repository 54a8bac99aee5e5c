//! Places in the kernel.

use std::sync::Arc;

/// What an address that is not known begins with.
const RAW: &str = "0x";

/// Where in the kernel something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The function, without what a compiler appends to the names of parts
    /// and clones (`.isra.0`); the raw address where that is all there is.
    pub function: Arc<str>,
    /// Bytes from its beginning; 0 for a raw address.
    pub offset: u64,
}

impl Place {
    /// That of an address of which the function is not known.
    #[must_use]
    pub fn raw(address: u64) -> Self {
        Self {
            function: Arc::from(format!("{RAW}{address:x}")),
            offset: 0,
        }
    }

    /// What stands for a raw address in recordings that are to tell nothing of the
    /// machine: it says where that kernel is in memory.
    pub const NAMELESS: &str = "unknown";

    /// The function, if it is known.
    #[must_use]
    pub fn known_function(&self) -> Option<&str> {
        let is_known = !self.function.starts_with(RAW) && *self.function != *Self::NAMELESS;
        is_known.then_some(&*self.function)
    }
}
