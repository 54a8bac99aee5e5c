//! What agents send, live or recorded: batches of hops and drops, counters, and changes on
//! their nodes and in the cluster. [`Record`] is the core's only input.

mod batch;
mod change;
mod epoch;
mod health;
mod order;
mod owners;
mod record;

pub use batch::{Batch, DropReport, Elsewhere, Report};
pub use change::{Change, MAX_POINTS};
pub use epoch::Epoch;
pub use health::{DeviceHealth, Health, SocketHealth};
pub(crate) use order::{Order, Sight, Sights};
pub use owners::{Gained, Lost, OwnersChange};
pub use record::Record;
