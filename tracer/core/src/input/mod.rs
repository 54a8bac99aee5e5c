//! What agents send, live or recorded: batches of hops and drops, what became of
//! the others, and what changes on their nodes.

mod batch;
mod change;
mod health;
mod order;

pub use batch::{Batch, DropReport, Elsewhere, Report};
pub use change::{Change, MAX_POINTS};
pub use health::{DeviceHealth, Health, SocketHealth};
pub(crate) use order::{Order, Sight, Sights};
