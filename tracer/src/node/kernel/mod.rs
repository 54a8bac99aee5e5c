//! What only the running kernel can tell: the layout of its structures, the
//! names of its drop reasons, and which function an address is in.
//!
//! All of it differs from build to build, so none of it is compiled in. What
//! the kernel does not tell is said to be missing, never guessed.

mod btf;
mod layout;
mod lockdown;
mod reasons;
mod symbols;

pub use btf::{Btf, BtfError};
pub use layout::{KFREE_SKB, WITHOUT_REASON, drop_program};
pub use lockdown::hides_its_memory;
pub use reasons::Reasons;
pub use symbols::{Symbols, hidden_symbols};
