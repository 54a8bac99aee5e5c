//! Facts that only the running kernel knows: the layout of its structures, the names of its
//! drop reasons, and the functions at its addresses.
//!
//! They differ from build to build, so nothing is compiled in. If the kernel lacks something,
//! tracer says so and never guesses.

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
