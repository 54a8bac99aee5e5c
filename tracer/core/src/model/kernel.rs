//! The kernel of a node.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kernel that an agent runs on. Which drop reasons and hooks exist depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// Release, as `uname -r` prints it.
    pub release: String,
    /// Architecture of the machine, as `uname -m` prints it, such as `x86_64`.
    pub architecture: String,
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            release,
            architecture,
        } = self;
        write!(f, "Linux {release} ({architecture})")
    }
}
